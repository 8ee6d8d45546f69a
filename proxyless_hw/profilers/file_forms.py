"""Which runtime runs which form of model file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.registry import runtimes

ModelFormat = Literal["onnx", "tflite", "pte"]

RUNTIME_FORM: Final[Mapping[str, ModelFormat]] = {
    "onnxruntime": "onnx",
    "tensorrt": "onnx",
    "openvino": "onnx",
    "executorch": "pte",
    "litert": "tflite",
    "tflite": "tflite",
    "vela": "tflite",
}
"""Runtime to the form of the files that it runs. Other runtimes run no file."""

CPU_RUNTIMES: Final[Mapping[ModelFormat, tuple[str, ...]]] = {
    "onnx": ("onnxruntime", "openvino"),
    "tflite": ("litert",),
    "pte": ("executorch",),
}
"""Form to the runtimes of a CPU that run it. The first one runs a file where none is named."""


def form_of_runtime(runtime: str | None, device: str) -> ModelFormat | None:
    """The form of the files that a runtime runs; None if it runs no file.

    Args:
        runtime: its name; the device's default when None.
        device: the device kind.
    """
    default = next(iter(runtimes(device)), "")
    return RUNTIME_FORM.get(default if runtime is None else runtime)


def form_of_file(file: Path) -> ModelFormat:
    """The form of a model file, by its suffix.

    Raises:
        ProfilingError: the suffix is unknown.
    """
    for form in CPU_RUNTIMES:
        if file.suffix.lower() == f".{form}":
            return form
    raise ProfilingError(f"model files end in .onnx, .tflite or .pte: received {file}.")


def by_form(files: Iterable[Path]) -> dict[ModelFormat, list[Path]]:
    """Model files grouped by their form.

    Raises:
        ProfilingError: a suffix is unknown.
    """
    groups: dict[ModelFormat, list[Path]] = {}
    for file in files:
        groups.setdefault(form_of_file(file), []).append(file)
    return groups
