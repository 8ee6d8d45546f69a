"""The time of every op of a model, where a runtime tells it."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.inspection import write_model
from proxyless_hw.profilers.models.file_shapes import model_suffix
from proxyless_hw.profilers.node_time import NodeTime
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.storage.files import scratch_folder


def check_per_op(path: Path | None, settings: ProfilerSettings, device: str) -> None:
    """Refuses settings under which the times of ops cannot be measured.

    Args:
        path: a model file; None for a network, which is written in its runtime's form.
        settings: the runtime.
        device: device kind.

    Raises:
        BackendUnavailableError: says what can be asked instead, or what is missing.
    """
    if device not in ("cpu", "mobile", "npu"):
        raise BackendUnavailableError(
            f"--per-op is measured with --device cpu, mobile and npu: received --device {device}, "
            "which reports a model's time as one number. Run the device's own tool for its ops."
        )
    if device != "cpu":
        return
    if settings.runtime not in (None, "onnxruntime", "litert"):
        raise BackendUnavailableError(
            "--per-op needs a runtime that tells the time of its ops, and those are ONNX Runtime "
            f"and LiteRT: received --runtime {settings.runtime}. Choose one of them."
        )
    is_tflite = settings.runtime == "litert" if path is None else model_suffix(path) == ".tflite"
    if is_tflite:
        from proxyless_hw.profilers.runtimes.litert_nodes import require_profiler

        require_profiler()


def node_times(workload: Workload, settings: ProfilerSettings, device: str) -> list[NodeTime]:
    """Times every op of a network or file.

    Args:
        workload: a network or a file, with what the user says about its shape.
        settings: runtime, threads, batch size, options.
        device: ``cpu``, ``mobile`` or ``npu``.

    Raises:
        BackendUnavailableError: the runtime or device is not there, or tells no times of ops.
        ProfilingError: the model cannot be run, or its profile has an unknown form.
    """
    check_per_op(workload.file, settings, device)
    if device == "npu":
        from proxyless_hw.profilers.npu.profiler import NpuProfiler

        profiler = get_profiler(device, settings)
        assert isinstance(profiler, NpuProfiler), "every runtime of an NPU is one"
        return profiler.nodes(workload)
    if device == "mobile":
        from proxyless_hw.profilers.android.phone_nodes import phone_node_times

        return phone_node_times(workload, settings)
    with scratch_folder(ProfilingError) as folder:
        file = workload.file or write_model(workload, settings, folder)
        assert file is not None, "torch is refused"
        if model_suffix(file) == ".tflite":
            from proxyless_hw.profilers.runtimes.litert_nodes import litert_node_times

            return litert_node_times(file, settings, workload.shape)
        from proxyless_hw.profilers.runtimes.onnxruntime_nodes import onnx_node_times

        return onnx_node_times(file, settings, workload.shape)
