"""ONNX Runtime on the CPU."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.building import build_module
from proxyless_hw.profilers.environment import fingerprint, host_device, package_version
from proxyless_hw.profilers.host import HostSession, Runner, pin

if TYPE_CHECKING:
    from types import ModuleType

INPUT_SEED = 0


class OnnxRuntimeProfiler:
    """Times ops, networks and .onnx files with ONNX Runtime's CPU provider."""

    def __init__(self, settings: ProfilerSettings) -> None:
        self.settings = settings

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`)."""
        import_onnxruntime()
        return {
            "device": host_device(),
            "device_kind": "cpu",
            "runtime": "onnxruntime",
            "runtime_version": package_version("onnxruntime", "onnxruntime-gpu"),
            "threads": str(self.settings.threads),
            "batch_size": str(self.settings.batch_size),
            "precision": self.settings.precision,
            "metric": self.settings.metric,
            "unit": "ms",
            "statistic": "median",
            "fingerprint": fingerprint(),
        }

    def open(self, workloads: Sequence[Workload]) -> HostSession:
        """Builds and warms up one ONNX Runtime session per workload.

        Raises:
            BackendUnavailableError: ONNX Runtime lacks what the setting asks for.
            ProfilingError: a workload cannot be built or run; the message names it.
        """
        check_settings(self.settings)
        if self.settings.cpus is not None:
            pin(self.settings.cpus)
        runners = [self._runner(workload) for workload in workloads]
        return HostSession(runners, clock=time.perf_counter, cpus=self.settings.cpus)

    def _runner(self, workload: Workload) -> Runner:
        model = self.model(workload)
        session = make_session(model, self.settings.threads, workload.name)
        return Runner(workload.name, bound_call(session, workload.name, self.settings.batch_size))

    def model(self, workload: Workload) -> bytes | Path:
        """The model of a workload: a file as it is, an op or network written as ONNX.

        Raises:
            ProfilingError: the file is not an ONNX file.
            ExportError: an op or network cannot be written.
        """
        if workload.file is not None:
            if workload.file.suffix != ".onnx":
                raise ProfilingError(
                    f"ONNX Runtime runs .onnx files: received {workload.file}. "
                    "For .tflite files: --runtime litert"
                )
            return workload.file
        from proxyless_hw.export.onnx_file import onnx_bytes

        module, shape = build_module(workload, self.settings.batch_size)
        return onnx_bytes(module, shape)


def import_onnxruntime() -> ModuleType:
    """Imports ONNX Runtime.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as cause:
        raise BackendUnavailableError(
            f"ONNX Runtime cannot be imported ({cause}). Install it: pip install onnxruntime"
        ) from cause
    return onnxruntime  # type: ignore[no-any-return]


def check_settings(settings: ProfilerSettings) -> None:
    """Refuses what ONNX Runtime's CPU provider does not really do.

    Raises:
        BackendUnavailableError: names the setting and the way on.
    """
    if settings.precision == "fp16":
        raise BackendUnavailableError(
            "ONNX Runtime's CPU provider has no fp16 kernels: it would cast to fp32 and time that. "
            "Use --precision fp32 or int8, or --runtime torch."
        )
    if settings.metric != "latency":
        raise BackendUnavailableError(
            f"this profiler measures latency: received --metric {settings.metric}."
        )


def make_session(model: bytes | Path, threads: int, name: str) -> Any:
    """Opens a model with all graph optimisations on.

    Raises:
        ProfilingError: the model is broken; the message names it.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except (RuntimeError, ValueError, *_onnxruntime_errors()) as cause:
        raise ProfilingError(
            f"ONNX Runtime cannot open {name}: {str(cause).splitlines()[0]}"
        ) from cause


def bound_call(session: Any, name: str, batch_size: int) -> Any:
    """A call that runs a session on fixed random inputs, with inputs and outputs bound beforehand.

    Raises:
        ProfilingError: the model's inputs are unusual, or its first run fails.
    """
    generator = np.random.default_rng(INPUT_SEED)
    binding = session.io_binding()
    for item in session.get_inputs():
        shape = tuple(
            size if isinstance(size, int) else batch_size if place == 0 else _no_size(name, item)
            for place, size in enumerate(item.shape)
        )
        binding.bind_ortvalue_input(item.name, _random_value(item.type, shape, name, generator))
    for item in session.get_outputs():
        binding.bind_output(item.name)
    try:
        session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
    except (RuntimeError, *_onnxruntime_errors()) as cause:
        raise ProfilingError(
            f"ONNX Runtime cannot run {name}: {str(cause).splitlines()[0]}"
        ) from cause
    # Bound to the buffers of the first run, so that no call allocates.
    for item, value in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_ortvalue_output(item.name, value)
    run = session._sess.run_with_iobinding
    bound = binding._iobinding
    return lambda: run(bound, None)


def _no_size(name: str, item: Any) -> int:
    raise ProfilingError(
        f"{name}: input '{item.name}' has the open size {item.shape}; only the batch may be open."
    )


def _random_value(kind: str, shape: tuple[int, ...], name: str, generator: Any) -> Any:
    onnxruntime = import_onnxruntime()
    match kind:
        case "tensor(float)":
            array = generator.standard_normal(shape, dtype=np.float32)
        case "tensor(float16)":
            array = generator.standard_normal(shape, dtype=np.float32).astype(np.float16)
        case "tensor(uint8)":
            array = generator.integers(0, 256, shape, dtype=np.uint8)
        case "tensor(int8)":
            array = generator.integers(-128, 128, shape, dtype=np.int8)
        case _:
            raise ProfilingError(f"{name}: inputs of type {kind} are not supported.")
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "NoSuchFile", "InvalidProtobuf", "InvalidGraph")
    names += ("NotImplemented", "RuntimeException", "ModelLoaded", "EPFail")
    return tuple(getattr(state, name) for name in names if hasattr(state, name))
