"""OpenVINO on the CPU.

Ops are called between two convolutions, whose cost is taken off (`models.surroundings`), after a
network has run (`models.passing_network`). OpenVINO's own times per node are no way to an op's
cost: they are averages since a model was compiled, and each is cut to whole microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import OpenVinoOptions
from proxyless_hw.profilers.host.conditioning import cache_line
from proxyless_hw.profilers.host.environment import cpu_header, package_version
from proxyless_hw.profilers.host.precision import refuse_precision
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.host.surrounded import SurroundedSession
from proxyless_hw.profilers.model_inputs import FileShape, ModelInput, Shape, shape_text
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix
from proxyless_hw.profilers.models.onnx_models import KeptModels, onnx_model
from proxyless_hw.profilers.models.passing_network import passing_network
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.shape_filling import fill_shapes
from proxyless_hw.profilers.models.surroundings import Surroundings
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.profilers.own_profilers import options_line
from proxyless_hw.profilers.runtimes.surrounded import open_surrounded
from proxyless_hw.terminal.quiet import quiet_native_output

if TYPE_CHECKING:
    from types import ModuleType

REFUSED: Final[dict[Precision, str]] = {
    "fp16": "OpenVINO computes fp16 models on a CPU in the precision that it is told to. Use "
    "--precision fp32 with --option inference_precision=f16 or bf16, where the processor has it."
}

CAPABILITY: Final = {"bf16": "BF16", "f16": "FP16"}
"""Inference precision to what OpenVINO lists for a processor that computes in it."""


class OpenVinoProfiler:
    """Times ops, networks and .onnx files with OpenVINO's CPU plugin, under its latency hint."""

    def __init__(self, settings: ProfilerSettings) -> None:
        self.options = parse_options(OpenVinoOptions, settings.options)
        self.settings = replace(settings, options=self.options)
        self._models = KeptModels()

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: OpenVINO is missing, or lacks what the setting asks for.
        """
        self._require()
        version = package_version("openvino")
        header = cpu_header(self.settings, "openvino", version, cache_line(self.settings))
        computes = {"inference_precision": self.options.inference_precision}
        return {**header, "options": options_line(computes)}

    def open(self, workloads: Sequence[Workload]) -> SurroundedSession:
        """Compiles and warms up one model per workload, and one per kind of surroundings.

        Raises:
            BackendUnavailableError: OpenVINO is missing, or lacks what the setting asks for.
            ProfilingError, ExportError: a workload cannot be built or run; the message names it.
        """
        self._require()
        return open_surrounded(self.settings, workloads, self.runner, self._passing)

    def runner(self, item: Workload | Surroundings) -> Runner:
        """Compiles one workload, or surroundings alone.

        Raises:
            ProfilingError, ExportError: it cannot be built or run; the message names it.
        """
        name = item.name
        if isinstance(item, Workload) and item.file is not None:
            file = _onnx_file(item.file)
            setting = file_setting(file, item.shape, self.settings.batch_size)
            arrays = random_arrays(setting.inputs, setting.shapes, name)
            compiled = self._compile(file, name, setting.shapes)
            return bound_runner(compiled, name, arrays, setting.batch_size)
        return self._built(self._models.surrounded(item, self.settings), name)

    def _passing(self, megabytes: float) -> Runner:
        """The network that runs before each call of an op."""
        name, batch_size = "the passing network", self.settings.batch_size
        model = self._models.get(
            (name, megabytes),
            lambda: onnx_model(
                *passing_network(megabytes, batch_size), self.settings.precision, name
            ),
        )
        return self._built(model, name)

    def _built(self, model: bytes, name: str) -> Runner:
        """The runner of a model that was written here."""
        compiled = self._compile(model, name, {})
        inputs = [_declared(port) for port in compiled.inputs]
        arrays = random_arrays(inputs, fill_shapes(inputs, FileShape(), name).shapes, name)
        return bound_runner(compiled, name, arrays, self.settings.batch_size)

    def _compile(self, model: bytes | Path, name: str, shapes: Mapping[str, Shape]) -> Any:
        return compile_model(
            model, self.settings.threads, name, self.options.inference_precision, shapes
        )

    def _require(self) -> None:
        refuse_precision(self.settings, REFUSED)
        needed = CAPABILITY.get(self.options.inference_precision)
        found = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if needed is not None and needed not in found:
            raise BackendUnavailableError(
                f"--option inference_precision={self.options.inference_precision} needs a "
                f"processor that computes in it: OpenVINO lists {', '.join(found)} here. Leave the "
                "option out."
            )


def import_openvino() -> ModuleType:
    """Imports OpenVINO.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import openvino
    except ImportError as cause:
        raise BackendUnavailableError(
            f"OpenVINO cannot be imported ({cause}). Install it: "
            "pip install 'proxyless-hw[openvino]'"
        ) from cause
    return openvino  # type: ignore[no-any-return]


def compile_model(
    model: bytes | Path,
    threads: int,
    name: str,
    inference_precision: str = "f32",
    shapes: Mapping[str, Shape] | None = None,
) -> Any:
    """Compiles a model for the CPU, under the latency hint and with one stream.

    Args:
        model: a serialised ONNX model, or the path of a file.
        threads: of the kernels.
        name: what it is called in messages.
        inference_precision: number format that float kernels compute in: f32, bf16 or f16. Without
            it OpenVINO takes bf16 or f16 by itself where the processor has it.
        shapes: shape of every input where the file leaves it open.

    Raises:
        ProfilingError: OpenVINO cannot read or compile it.
    """
    core = import_openvino().Core()
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": inference_precision,
        "ENABLE_CPU_PINNING": False,  # the session pins, where that is asked for
    }
    try:
        with quiet_native_output():
            network = core.read_model(model)
            if shapes:
                network.reshape({key: list(shape) for key, shape in shapes.items()})
            return core.compile_model(network, "CPU", properties)
    except RuntimeError as cause:
        raise ProfilingError(f"OpenVINO cannot open {name}: {_reason(cause)}") from cause


def bound_runner(
    compiled: Any,
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    batch_size: int | None = None,
) -> Runner:
    """A runner with its inputs set beforehand; the calling thread runs the model.

    Args:
        compiled: as `compile_model` gives it.
        name: what it is called in messages.
        arrays: one per input, by name.
        batch_size: what the runner says of its batch.

    Raises:
        ProfilingError: a run fails.
    """
    openvino = import_openvino()
    request = compiled.create_infer_request()
    given = shape_text({key: array.shape for key, array in arrays.items()})
    infer = request.infer

    def call() -> None:
        infer(share_outputs=True)  # outputs stay where they are

    try:
        for key, array in arrays.items():
            request.set_tensor(key, openvino.Tensor(array, shared_memory=True))
        call()
    except RuntimeError as cause:
        raise ProfilingError(
            f"OpenVINO cannot run {name} with {given}: {_reason(cause)}"
        ) from cause
    held = {key: tuple(request.get_tensor(key).shape) for key in arrays}
    views = [array.reshape(-1).view(np.uint8) for array in arrays.values() if array.size]
    return Runner(
        name, call, lambda: [view.max() for view in views], inputs=held, batch_size=batch_size
    )


def _declared(port: Any) -> ModelInput:
    """An input of a model that was written here: every size is fixed."""
    dtype = port.get_element_type().to_dtype().name
    return ModelInput(name=port.get_any_name(), sizes=tuple(port.shape), dtype=dtype)


def _reason(cause: RuntimeError) -> str:
    """The line of OpenVINO's message that says what is wrong: it begins with places in its code."""
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check "))]
    return (told or lines or ["no reason given"])[-1][:300]


def _onnx_file(path: Path) -> Path:
    if model_suffix(path) != ".onnx":
        raise ProfilingError(
            f"OpenVINO runs .onnx files here: received {path}. For .tflite files: --runtime litert"
        )
    return path
