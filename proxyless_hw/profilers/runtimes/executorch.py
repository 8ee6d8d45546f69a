"""ExecuTorch on the CPU, its layers run by XNNPACK.

A program takes and gives maps with channels first, and XNNPACK computes with channels last. So ops
are called between two convolutions, whose cost is taken off (`models.surroundings`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from numpy.typing import NDArray

from proxyless_hw.errors import ExportError, ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import CpuOptions
from proxyless_hw.profilers.host.conditioning import cache_line
from proxyless_hw.profilers.host.environment import cpu_header, package_version
from proxyless_hw.profilers.host.precision import refuse_precision
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.host.surrounded import SurroundedSession
from proxyless_hw.profilers.model_inputs import ModelInput, shape_text
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix, read_model
from proxyless_hw.profilers.models.pte_cache import missing_programs, pte_models
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.surroundings import Surroundings, surroundings_of
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.profilers.runtimes.surrounded import open_surrounded
from proxyless_hw.terminal.quiet import quiet_native_output

CONVERSION_S: Final = 1.0
"""Seconds that converting an op takes with two processes, for the announcement."""

_ONLY_FP32: Final = (
    "ExecuTorch programs are written in fp32 alone here. Use --precision fp32, or --runtime litert "
    "or openvino with --precision int8."
)
REFUSED: Final[dict[Precision, str]] = {"fp16": _ONLY_FP32, "int8": _ONLY_FP32}


class ExecuTorchProfiler:
    """Times ops, networks and .pte files with ExecuTorch and XNNPACK."""

    def __init__(self, settings: ProfilerSettings) -> None:
        self.settings = replace(settings, options=parse_options(CpuOptions, settings.options))

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: ExecuTorch is missing, or lacks what the setting asks for.
        """
        from proxyless_hw.export.pte_file import import_executorch

        refuse_precision(self.settings, REFUSED)
        import_executorch()
        version = package_version("executorch")
        return cpu_header(self.settings, "executorch", version, cache_line(self.settings))

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        """Converts what the cache lacks (see `PreparingProfiler`)."""
        items = _to_convert(workloads)
        missing = missing_programs(items, self.settings)
        if missing:
            say(
                f"converting {missing} models to ExecuTorch programs, about "
                f"{missing * CONVERSION_S:.0f} s, once: they are kept in the cache. The budget "
                "counts from then on."
            )
            pte_models(items, self.settings)
        return missing > 0

    def open(self, workloads: Sequence[Workload]) -> SurroundedSession:
        """Converts what the cache lacks, then opens and warms up one program per workload.

        Raises:
            BackendUnavailableError: ExecuTorch is missing.
            ProfilingError, ExportError: a workload cannot be built or run; the message names it.
        """
        refuse_precision(self.settings, REFUSED)
        for item in workloads:
            _require_program(item)
        items = _to_convert(workloads)
        models = dict(zip(items, pte_models(items, self.settings), strict=True))
        return open_surrounded(
            self.settings, workloads, lambda item: self._runner(item, models.get(item))
        )

    def _runner(self, item: Workload | Surroundings, model: bytes | None) -> Runner:
        threads, batch_size = self.settings.threads, self.settings.batch_size
        if model is not None:
            return program_runner(model, threads, item.name, batch_size=batch_size)
        assert isinstance(item, Workload)
        assert item.file is not None
        setting = file_setting(item.file, item.shape, batch_size)
        arrays = random_arrays(setting.inputs, setting.shapes, item.name)
        content = item.file.read_bytes()
        return program_runner(content, threads, item.name, arrays, setting.batch_size)


def _require_program(workload: Workload) -> None:
    """Refuses files of other forms and damaged ones before anything is converted."""
    file = workload.file
    if file is None:
        return
    if model_suffix(file) != ".pte":
        raise ProfilingError(
            f"ExecuTorch runs .pte files: received {file}. For .onnx files: --runtime onnxruntime "
            "or openvino; for .tflite files: --runtime litert"
        )
    read_model(file)


def _to_convert(workloads: Sequence[Workload]) -> list[Workload | Surroundings]:
    """What is converted: ops and networks, what surrounds the ops, and the model of nothing."""
    built: list[Workload | Surroundings] = [item for item in workloads if item.file is None]
    around = [kind for kind in map(surroundings_of, workloads) if kind is not None]
    return list(dict.fromkeys([*built, *around, IDENTITY]))


def program_runner(
    model: bytes,
    threads: int,
    name: str,
    arrays: Mapping[str, NDArray[Any]] | None = None,
    batch_size: int | None = None,
) -> Runner:
    """A runner of a program. A call sets the inputs, as an app does, and executes it.

    Args:
        model: the program.
        threads: of XNNPACK's pool, which the process has one of: it is made anew where it has
            another number.
        name: what it is called in messages.
        arrays: one per input, in order; by default random ones.
        batch_size: what the runner says of its batch.

    Raises:
        ProfilingError: it cannot be opened or run.
    """
    import torch

    from proxyless_hw.export.pte_file import import_executorch, open_pte

    runtime = import_executorch()
    with quiet_native_output():
        if runtime._threadpool_get_thread_count() != threads:
            runtime._unsafe_reset_threadpool(threads)
    try:
        method = open_pte(model, name)
    except ExportError as cause:
        raise ProfilingError(str(cause)) from cause
    sizes = method.input_sizes
    if arrays is None:
        declared = [
            ModelInput(name=f"input_{index}", sizes=size, dtype="float32")
            for index, size in enumerate(sizes)
        ]
        shapes = {item.name: size for item, size in zip(declared, sizes, strict=True)}
        arrays = random_arrays(declared, shapes, name)
    inputs = [torch.from_numpy(array) for array in arrays.values()]
    set_inputs, execute = method.method.set_inputs, method.method.execute

    def call(keep: Any = method) -> None:
        set_inputs(inputs)
        execute()

    try:
        call()
    except RuntimeError as cause:
        given = shape_text({key: array.shape for key, array in arrays.items()})
        raise ProfilingError(
            f"ExecuTorch cannot run {name} with {given}: {str(cause).splitlines()[0]}"
        ) from cause
    return Runner(
        name,
        call,
        lambda: [tensor.max() for tensor in inputs],
        inputs=dict(zip(arrays, sizes, strict=True)),
        batch_size=batch_size,
    )
