"""LiteRT (TensorFlow Lite) on the CPU, with or without XNNPACK."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from numpy.typing import NDArray

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import LiteRtOptions
from proxyless_hw.profilers.host.conditioning import cache_line, network_conditioning
from proxyless_hw.profilers.host.environment import cpu_header, package_version
from proxyless_hw.profilers.host.precision import refuse_precision
from proxyless_hw.profilers.host.scheduling import scheduled
from proxyless_hw.profilers.host.session import HostSession, Runner, thread_clock
from proxyless_hw.profilers.model_inputs import FileShape, Shape, shape_text
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.shape_filling import fill_shapes
from proxyless_hw.profilers.models.tflite_reader import read_tflite
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.terminal.quiet import quiet_native_output

CONVERSION_S = 0.8
"""Seconds that converting an op takes with two processes, for the announcement."""
CONVERTER_START_S = 4.0
"""Seconds that loading the converter takes."""

REFUSED: Final[dict[Precision, str]] = {
    "fp16": "LiteRT's CPU kernels expand fp16 weights to fp32 when a model is loaded, so fp16 "
    "would be fp32 under another name. Use --precision fp32 or int8."
}


class LiteRtProfiler:
    """Times ops, networks and .tflite files with the LiteRT interpreter."""

    def __init__(self, settings: ProfilerSettings) -> None:
        options = parse_options(LiteRtOptions, settings.options)
        self.delegate = options.delegate
        self.settings = replace(settings, options=options)

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: LiteRT is missing, or lacks what the setting asks for.
        """
        import_interpreter()
        refuse_precision(self.settings, REFUSED)
        runtime = "litert" if self.delegate == "xnnpack" else "litert without xnnpack"
        version = package_version("ai-edge-litert", "tflite-runtime")
        header = cpu_header(self.settings, runtime, version, cache_line(self.settings))
        return {**header, "delegate": self.delegate}

    def open(self, workloads: Sequence[Workload]) -> HostSession:
        """Converts what the cache lacks, then builds and warms up one interpreter per workload.

        Raises:
            BackendUnavailableError: LiteRT or its converter is missing.
            ProfilingError, ExportError: a workload cannot be built; the message names it.
        """
        refuse_precision(self.settings, REFUSED)
        listed = list(workloads) if IDENTITY in workloads else [*workloads, IDENTITY]
        models = self._models(listed)
        with ExitStack() as stack:
            stack.enter_context(scheduled(self.settings))
            runners = [
                replace(self.runner(workload, model), whole=workload.op is None)
                for workload, model in zip(listed, models, strict=True)
            ]
            idle = runners[listed.index(IDENTITY)].call
            return HostSession(
                runners,
                conditioning=network_conditioning(self.settings, idle),
                worked=thread_clock(self.settings),
                resources=stack.pop_all(),
            )

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        """Converts what the cache lacks (see `PreparingProfiler`)."""
        from proxyless_hw.profilers.models.tflite_cache import missing_models, tflite_models

        built = [item for item in (*workloads, IDENTITY) if item.file is None]
        missing = len(missing_models(built, self.settings))
        if missing:
            say(
                f"converting {missing} models to TFLite, about "
                f"{CONVERTER_START_S + missing * CONVERSION_S:.0f} s, once: they are kept in the "
                "cache. The budget counts from then on."
            )
            tflite_models(built, self.settings)
        return missing > 0

    def _models(self, workloads: Sequence[Workload]) -> list[bytes]:
        from proxyless_hw.profilers.models.tflite_cache import tflite_models

        # Files first: what is wrong with one shows before anything is converted.
        files = {item.name: _read_file(item) for item in workloads if item.file is not None}
        built = [workload for workload in workloads if workload.file is None]
        converted = dict(
            zip((item.name for item in built), tflite_models(built, self.settings), strict=True)
        )
        models = {**files, **converted}
        return [models[workload.name] for workload in workloads]

    def runner(self, workload: Workload, model: bytes) -> Runner:
        """Builds one workload from its model.

        Raises:
            ProfilingError: LiteRT refuses the model, or its shape is not known; the message names
                it.
        """
        name, batch_size = workload.name, self.settings.batch_size
        if workload.file is not None:
            setting = file_setting(workload.file, workload.shape, batch_size)
            declared, shapes, batch = setting.inputs, setting.shapes, setting.batch_size
        else:
            declared = read_tflite(model, name).inputs
            shapes, batch = fill_shapes(declared, FileShape(), name).shapes, batch_size
        arrays = random_arrays(declared, shapes, name)
        return model_runner(model, self.settings.threads, self.delegate, name, arrays, batch)


def _read_file(workload: Workload) -> bytes:
    file = workload.file
    if file is None or model_suffix(file) != ".tflite":
        raise ProfilingError(
            f"LiteRT runs .tflite files: received {file}. For .onnx files: --runtime onnxruntime"
        )
    try:
        return file.read_bytes()
    except OSError as cause:
        raise ProfilingError(f"cannot read {file}: {cause.strerror}.") from cause


def import_interpreter() -> ModuleType:
    """Imports LiteRT's interpreter, or its predecessor's.

    Raises:
        BackendUnavailableError: neither is installed.
    """
    try:
        import ai_edge_litert.interpreter as module
    except ImportError as cause:
        try:
            import tflite_runtime.interpreter as module
        except ImportError:
            raise BackendUnavailableError(
                f"LiteRT cannot be imported ({cause}). Install it: "
                "pip install 'proxyless-hw[tflite]'"
            ) from cause
    return module  # type: ignore[no-any-return]


def model_runner(
    model: bytes,
    threads: int,
    delegate: str,
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    batch_size: int | None = None,
) -> Runner:
    """A runner with its inputs set beforehand.

    Args:
        model, threads, delegate, name: as `make_interpreter`.
        arrays: one per input, in the model's order; the model is resized to their shapes.
        batch_size: what the runner says of its batch.

    Raises:
        ProfilingError: LiteRT cannot open or run the model; the message names it.
    """
    shapes = {key: array.shape for key, array in arrays.items()}
    interpreter = make_interpreter(model, threads, delegate, name, list(shapes.values()))
    details = interpreter.get_input_details()
    inputs = {
        detail["index"]: array for detail, array in zip(details, arrays.values(), strict=True)
    }

    def touch() -> None:
        for index, array in inputs.items():
            interpreter.set_tensor(index, array)

    call: Callable[[], object] = interpreter.invoke
    try:
        touch()
        call()
    except (RuntimeError, ValueError) as cause:
        raise ProfilingError(
            f"LiteRT cannot run {name} with {shape_text(shapes)}: {str(cause).splitlines()[0]}"
        ) from cause
    held = {
        key: tuple(int(size) for size in detail["shape"])
        for key, detail in zip(arrays, interpreter.get_input_details(), strict=True)
    }
    return Runner(name, call, touch, inputs=held, batch_size=batch_size)


def make_interpreter(
    model: bytes,
    threads: int,
    delegate: str,
    name: str,
    shapes: Sequence[Shape] | None = None,
) -> Any:
    """Opens a model with its tensors allocated.

    Args:
        model: the file's content.
        threads: of the kernels.
        delegate: ``xnnpack`` or ``none``.
        name: what it is called in messages.
        shapes: shape of every input, in order; None leaves them as the model stores them.

    Raises:
        ProfilingError: the model is broken, or cannot take these shapes; the message names it.
    """
    module = import_interpreter()
    resolver = module.OpResolverType.AUTO
    if delegate == "none":
        resolver = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    try:
        with quiet_native_output():
            interpreter = module.Interpreter(
                model_content=model, num_threads=threads, experimental_op_resolver_type=resolver
            )
            if shapes is not None:
                _resize(interpreter, shapes)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as cause:
        raise ProfilingError(f"LiteRT cannot open {name}: {str(cause).splitlines()[0]}") from cause
    return interpreter


def _resize(interpreter: Any, shapes: Sequence[Shape]) -> None:
    for detail, shape in zip(interpreter.get_input_details(), shapes, strict=True):
        if tuple(detail["shape"]) != shape:
            # Strict: only what the file leaves open; a file without a rank has no such sizes.
            strict = len(detail["shape_signature"]) == len(shape)
            interpreter.resize_tensor_input(detail["index"], list(shape), strict=strict)
