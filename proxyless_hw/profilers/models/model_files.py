"""Model files for devices that run files: one .onnx or .tflite per workload."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.file_forms import ModelFormat
from proxyless_hw.profilers.models.building import build_module
from proxyless_hw.profilers.models.file_shapes import copy_weights, model_with_weights
from proxyless_hw.profilers.models.random_inputs import calibration_inputs


def write_model_files(
    workloads: Sequence[Workload], settings: ProfilerSettings, form: ModelFormat, folder: Path
) -> list[Path]:
    """Writes one model file per workload into a folder.

    The files are named ``m0000``, ``m0001``, ... in order: nothing of a workload's own name
    reaches a file system or a shell. A file whose weights lie beside it is copied with them, into
    a folder of its own.

    Args:
        workloads: ops and networks are converted; files of the same form are copied.
        settings: batch size and precision.
        form: ``onnx``, ``tflite``, or ``pte``, in which an op has its surroundings.
        folder: an existing folder.

    Raises:
        ProfilingError: a workload is a file of another form, cannot be read, or cannot be
            converted; or its weights are missing.
        BackendUnavailableError: the converter is not installed.
        ExportError: a workload cannot be written in this form.
    """
    for workload in workloads:
        if workload.file is not None and workload.file.suffix.lower() != f".{form}":
            raise ProfilingError(
                f"this device runs .{form} files here: received {workload.file}. Convert it: "
                f"proxyless-hw export ... --format {form}"
            )
    contents = (
        [_onnx_content(workload, settings) for workload in workloads]
        if form == "onnx"
        else _converted_files(workloads, settings, form)
    )
    paths = []
    for index, content in enumerate(contents):
        path = folder / f"m{index:04d}.{form}"
        if isinstance(content, Path):
            weights = model_with_weights(content)[1:] if form == "onnx" else []
            if weights:
                # The model holds the names of its weights, so they keep them, in a folder of its
                # own.
                path = folder / path.stem / path.name
                path.parent.mkdir()
                copy_weights(content, weights, path.parent)
            shutil.copyfile(content, path)
        else:
            path.write_bytes(content)
        paths.append(path)
    return paths


def _onnx_content(workload: Workload, settings: ProfilerSettings) -> bytes | Path:
    if workload.file is not None:
        return workload.file
    from proxyless_hw.export.onnx_file import onnx_bytes
    from proxyless_hw.export.quantise import quantise_onnx

    module, shape = build_module(workload, settings.batch_size)
    content = onnx_bytes(module, shape)
    if settings.precision == "fp32":
        return content
    return quantise_onnx(content, settings.precision, calibration_inputs(shape))


def _converted_files(
    workloads: Sequence[Workload], settings: ProfilerSettings, form: ModelFormat
) -> list[bytes | Path]:
    from proxyless_hw.profilers.models.pte_cache import pte_models
    from proxyless_hw.profilers.models.tflite_cache import tflite_models

    built = [workload for workload in workloads if workload.file is None]
    converted = iter((pte_models if form == "pte" else tflite_models)(built, settings))
    return [workload.file or next(converted) for workload in workloads]
