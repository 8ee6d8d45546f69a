"""ONNX Runtime on an NVIDIA GPU: its CUDA and TensorRT providers.

The host's clock is read around calls that return once the device is done; inputs and outputs stay
in the GPU's memory. Options: `CudaOptions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import CudaOptions
from proxyless_hw.profilers.gpu.no_gpu import no_gpu
from proxyless_hw.profilers.host.environment import fingerprint, package_version
from proxyless_hw.profilers.host.session import HostSession, Runner
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.building import build_module
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.shape_filling import fill_shapes
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.profilers.runtimes.onnxruntime_session import (
    import_onnxruntime,
    onnxruntime_errors,
    session_inputs,
)

BLOCK_S: Final = 0.005
BLOCKS: Final = 5


class CudaOnnxRuntimeProfiler:
    """Times ops, networks and .onnx files with ONNX Runtime's CUDA provider.

    Args:
        settings: batch size, precision (fp32 or fp16), options.
        onnxruntime: the module, or what stands in for it; imported when None.
    """

    provider = "CUDAExecutionProvider"
    runtime = "onnxruntime-cuda"
    memory = "cuda"

    def __init__(self, settings: ProfilerSettings, onnxruntime: Any = None) -> None:
        self.settings = settings
        self.index = parse_options(CudaOptions, settings.options).gpu
        self._onnxruntime = onnxruntime

    @property
    def onnxruntime(self) -> Any:
        """The module, imported on first use.

        Raises:
            BackendUnavailableError: it is absent, or built without this provider.
        """
        if self._onnxruntime is None:
            self._onnxruntime = import_onnxruntime("onnxruntime-gpu")
        if self.provider not in self._onnxruntime.get_available_providers():
            raise no_gpu(
                f"this ONNX Runtime has no {self.provider}; pip install onnxruntime-gpu in the "
                "place of onnxruntime"
            )
        return self._onnxruntime

    def provider_options(self) -> dict[str, str]:
        """The provider's own settings."""
        return {"device_id": str(self.index)}

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`)."""
        settings = self.settings
        _ = self.onnxruntime
        return {
            "device": gpu_name(self.index),
            "device_kind": "gpu",
            "runtime": self.runtime,
            "runtime_version": package_version("onnxruntime-gpu", "onnxruntime"),
            "threads": str(settings.threads),
            "batch_size": str(settings.batch_size),
            "precision": settings.precision,
            "metric": settings.metric,
            "unit": "ms",
            "statistic": "median",
            "fingerprint": fingerprint(),
        }

    def open(self, workloads: Sequence[Workload]) -> HostSession:
        """Builds and warms up one session per workload.

        Raises:
            BackendUnavailableError: there is no GPU, or the provider lacks what is asked for.
            ProfilingError: a workload cannot be built, or would run partly on the CPU.
        """
        self._check_settings()
        runners = [self._runner(item) for item in workloads]
        return HostSession(runners, block_s=BLOCK_S, blocks=BLOCKS)

    def _check_settings(self) -> None:
        if self.settings.precision == "int8":
            raise BackendUnavailableError(
                f"{self.runtime} is profiled in fp32 and fp16; int8 needs a calibrated engine. "
                "Use --precision fp16, or time your own engine with --device command."
            )

    def _model(self, workload: Workload) -> bytes | str:
        if workload.file is not None:
            if model_suffix(workload.file) != ".onnx":
                raise ProfilingError(
                    f"ONNX Runtime runs .onnx files: received {workload.file}. Convert it: "
                    "proxyless-hw export ... --format onnx"
                )
            return str(workload.file)
        from proxyless_hw.export.onnx_file import onnx_bytes

        module, shape = build_module(workload, self.settings.batch_size)
        return self._as_precision(onnx_bytes(module, shape))

    def _as_precision(self, model: bytes) -> bytes:
        """The CUDA provider computes in the number format that the model is written in."""
        return half_precision(model) if self.settings.precision == "fp16" else model

    def _runner(self, workload: Workload) -> Runner:
        batch: int | None = self.settings.batch_size
        if workload.file is not None:
            setting = file_setting(workload.file, workload.shape, self.settings.batch_size)
            inputs, shapes, batch = setting.inputs, setting.shapes, setting.batch_size
        session = self._session(self._model(workload), workload.name)
        if workload.file is None:
            inputs = tuple(session_inputs(session))
            shapes = fill_shapes(inputs, FileShape(), workload.name).shapes
        binding = session.io_binding()
        for name, array in random_arrays(inputs, shapes, workload.name).items():
            value = self.onnxruntime.OrtValue.ortvalue_from_numpy(array, self.memory, self.index)
            binding.bind_ortvalue_input(name, value)
        for item in session.get_outputs():
            binding.bind_output(item.name, self.memory, self.index)

        # The run returns after the device is done: providers are synchronised at its end.
        def call() -> None:
            session.run_with_iobinding(binding)

        return Runner(workload.name, call, inputs=shapes, batch_size=batch)

    def _session(self, model: bytes | str, name: str) -> Any:
        runtime = self.onnxruntime
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self.settings.threads
        options.log_severity_level = 3
        # A node on the CPU would be timed together with two copies, as if it were the GPU's.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        providers = [(self.provider, self.provider_options())]
        errors = onnxruntime_errors(runtime)
        try:
            session = runtime.InferenceSession(model, options, providers=providers)
        except errors as cause:
            reason = str(cause).splitlines()[0]
            if "fallback" in reason:
                raise ProfilingError(
                    f"{name} has nodes that {self.provider} cannot run: {reason}"
                ) from cause
            raise no_gpu(reason) from cause
        if session.get_providers()[0] != self.provider:
            raise no_gpu(f"ONNX Runtime fell back from {self.provider}")
        return session


class TensorRtProfiler(CudaOnnxRuntimeProfiler):
    """Times ops, networks and .onnx files with ONNX Runtime's TensorRT provider."""

    provider = "TensorrtExecutionProvider"
    runtime = "onnxruntime-tensorrt"

    def provider_options(self) -> dict[str, str]:
        """The provider's own settings; fp16 is TensorRT's choice per layer."""
        half = self.settings.precision == "fp16"
        return {**super().provider_options(), "trt_fp16_enable": "1" if half else "0"}

    def _as_precision(self, model: bytes) -> bytes:
        return model


def half_precision(model: bytes) -> bytes:
    """Converts an ONNX model's weights, activations, input and output to half precision."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    converted = convert_float_to_float16(onnx.load_from_string(model))
    return bytes(converted.SerializeToString())


def gpu_name(index: int) -> str:
    """Name of a GPU from the driver; a plain one if NVML is not installed."""
    from proxyless_hw.profilers.host.nvml import Nvml

    nvml = Nvml.find()
    return f"NVIDIA GPU {index}" if nvml is None else nvml.name(index)
