"""GPU profilers with a made-up GPU: a device clock for torch, a module for ONNX Runtime."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from fake_gpu import COLD_PENALTY_MS, CUDA, LAUNCH_MS, TENSORRT, FakeGpu, FakeOnnxRuntime
from small_ops import SMALL_OPS, small_workloads

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.gpu.cuda_onnxruntime import (
    CudaOnnxRuntimeProfiler,
    TensorRtProfiler,
    half_precision,
)
from proxyless_hw.profilers.gpu.torch_cuda import COLD_CALLS, TorchCudaProfiler
from proxyless_hw.profilers.gpu.torch_cuda_device import TorchCudaDevice, Work


def profiler(gpu: FakeGpu, metric: Any = "latency", **options: str) -> TorchCudaProfiler:
    return TorchCudaProfiler(ProfilerSettings(metric=metric, options=options), gpu)


def test_small_ops_are_captured_so_that_launches_do_not_count() -> None:
    gpu = FakeGpu(op_ms=0.02)
    with profiler(gpu).open(small_workloads()[:1]) as session:
        visit = session.visit([0])[0]
    assert visit.value == pytest.approx(0.02)
    assert gpu.captured == [1, 100]
    assert visit.calls == 500


def test_large_ops_are_timed_as_they_are_launched() -> None:
    gpu = FakeGpu(op_ms=0.5)
    with profiler(gpu).open(small_workloads()[:1]) as session:
        visit = session.visit([0])[0]
    assert gpu.captured == []
    assert visit.value == pytest.approx(0.5 + LAUNCH_MS)


@pytest.mark.parametrize(("graphs", "expected"), [("on", 0.5), ("off", 0.5 + LAUNCH_MS)])
def test_graphs_can_be_forced_and_forbidden(graphs: str, expected: float) -> None:
    with profiler(FakeGpu(op_ms=0.5), graphs=graphs).open(small_workloads()[:1]) as session:
        assert session.visit([0])[0].value == pytest.approx(expected)


def test_a_cold_cache_is_flushed_before_each_call_and_the_flush_does_not_count() -> None:
    gpu = FakeGpu(op_ms=0.5)
    with profiler(gpu, l2="cold").open(small_workloads()[:1]) as session:
        visit = session.visit([0])[0]
    assert gpu.flushes == COLD_CALLS
    assert visit.calls == COLD_CALLS
    assert visit.value == pytest.approx(0.5 + LAUNCH_MS + COLD_PENALTY_MS)


def test_the_setting_tells_cache_graphs_and_batch() -> None:
    settings = ProfilerSettings(batch_size=8, options={"l2": "cold", "graphs": "off"})
    described = TorchCudaProfiler(settings, FakeGpu(1.0)).describe()
    assert described["runtime"] == "torch-cold-l2-graphs-off"
    assert described["batch_size"] == "8"
    assert described["device"] == "made-up GPU"


def test_memory_is_the_peak_of_the_allocator() -> None:
    with profiler(FakeGpu(1.0), metric="memory").open(small_workloads()[:1]) as session:
        assert session.visit([0])[0].value == 12.5


def test_int8_and_files_are_refused(tmp_path: Any) -> None:
    int8 = TorchCudaProfiler(ProfilerSettings(precision="int8"), FakeGpu(1.0))
    with pytest.raises(BackendUnavailableError, match="no int8 convolutions"):
        int8.open(small_workloads())
    with pytest.raises(ProfilingError, match="not files"):
        profiler(FakeGpu(1.0)).open([Workload("f", file=tmp_path / "f.onnx")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"l2": "luke"}, "l2 must be one of warm, cold"),
        ({"graphs": "onn"}, "Did you mean 'on'"),
        ({"gpu": "-1"}, "gpu must be a whole number from 0"),
    ],
)
def test_bad_gpu_options_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ProfilingError, match=message):
        TorchCudaProfiler(ProfilerSettings(options=options), FakeGpu(1.0))


class FakeCuda:
    """What is used of the module `torch.cuda`; time moves with `now_ms`."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.now_ms = 0.0
        self.allocated = 100 * 2**20
        self.peak = self.allocated
        cuda = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing
                self.at = -1.0

            def record(self) -> None:
                self.at = cuda.now_ms

            def elapsed_time(self, other: Event) -> float:
                assert cuda.log[-1] == "synchronize", "events are read once they have happened"
                return other.at - self.at

        class Recording:
            def __init__(self, text: str) -> None:
                self.text = text

            def __enter__(self) -> None:
                cuda.log.append(f"begin {self.text}")

            def __exit__(self, *_: object) -> None:
                cuda.log.append(f"end {self.text}")

        class Stream:
            def __init__(self, device: str) -> None:
                pass

            def wait_stream(self, other: object) -> None:
                cuda.log.append("wait")

        class Graph:
            def replay(self) -> None:
                cuda.log.append("replay")

        self.Event = Event
        self.Stream = Stream
        self.CUDAGraph = Graph
        self.stream = lambda stream: Recording("side stream")
        self.graph = lambda graph: Recording("capture")
        self.current_stream = Stream

    def synchronize(self, device: str) -> None:
        self.log.append("synchronize")

    def reset_peak_memory_stats(self, device: str) -> None:
        self.peak = self.allocated

    def memory_allocated(self, device: str) -> int:
        return self.allocated

    def max_memory_allocated(self, device: str) -> int:
        return self.peak

    def get_device_properties(self, device: str) -> SimpleNamespace:
        return SimpleNamespace(name="NVIDIA Made-up", major=9, minor=0, L2_cache_size=1024)


def test_works_are_timed_between_events_that_have_happened() -> None:
    cuda = FakeCuda()

    def advance(ms: float) -> Work:
        def work() -> None:
            cuda.now_ms += ms

        return work

    device = TorchCudaDevice(cuda, "cpu")
    assert device.timed_ms([advance(1.5), advance(2.0)]) == [1.5, 2.0]
    assert cuda.log == ["synchronize", "synchronize"]


def test_a_capture_warms_up_on_a_side_stream_first() -> None:
    cuda = FakeCuda()
    calls: list[str] = []
    replay = TorchCudaDevice(cuda, "cpu").capture(lambda: calls.append(cuda.log[-1]), 3)
    assert calls == ["begin side stream", *["begin capture"] * 3]
    assert calls.count("begin capture") == 3
    replay()
    assert cuda.log[-1] == "replay"


def test_an_op_that_cannot_be_captured_says_what_to_do() -> None:
    cuda = FakeCuda()

    def fail() -> None:
        if cuda.log[-1] == "begin capture":
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    with pytest.raises(ProfilingError, match=r"not permitted .*graphs=off"):
        TorchCudaDevice(cuda, "cpu").capture(fail, 1)


def test_peak_memory_leaves_out_what_was_there_before() -> None:
    cuda = FakeCuda()

    def work() -> None:
        cuda.peak = cuda.allocated + 3 * 2**20

    assert TorchCudaDevice(cuda, "cpu").peak_mb(work) == 3.0


def test_flushing_overwrites_twice_the_cache() -> None:
    device = TorchCudaDevice(FakeCuda(), "cpu")
    device.flush_l2()
    assert device._flush_buffer.numel() == 2048


def test_a_workload_is_loaded_and_runs() -> None:
    device = TorchCudaDevice(FakeCuda(), "cpu")
    for workload in small_workloads():
        device.load(workload, ProfilerSettings(batch_size=2))()
    assert device.name() == "NVIDIA Made-up (compute capability 9.0)"


def test_without_a_gpu_there_is_one_message() -> None:
    for profiler_class in (TorchCudaProfiler, CudaOnnxRuntimeProfiler, TensorRtProfiler):
        with pytest.raises(BackendUnavailableError, match=r"no NVIDIA GPU .*--device cpu"):
            profiler_class(ProfilerSettings()).describe()


def test_the_cuda_provider_keeps_data_on_the_gpu_and_nothing_on_the_cpu() -> None:
    runtime = FakeOnnxRuntime(CUDA)
    settings = ProfilerSettings(batch_size=4, options={"gpu": "1"})
    with CudaOnnxRuntimeProfiler(settings, runtime).open(small_workloads()) as session:
        visits = session.visit([0, 1, 2])
    assert all(visit.value > 0 for visit in visits)
    assert runtime.opened[0]["providers"] == [("CUDAExecutionProvider", {"device_id": "1"})]
    assert runtime.opened[0]["session.disable_cpu_ep_fallback"] == "1"
    assert runtime.placed == [("cuda", 1)] * len(SMALL_OPS)


def test_tensorrt_chooses_half_precision_itself() -> None:
    runtime = FakeOnnxRuntime(TENSORRT)
    with TensorRtProfiler(ProfilerSettings(precision="fp16"), runtime).open(small_workloads()[:1]):
        pass
    assert runtime.opened[0]["providers"][0][1]["trt_fp16_enable"] == "1"


def test_a_silent_fallback_to_the_cpu_is_noticed() -> None:
    runtime = FakeOnnxRuntime(CUDA, falls_back=True)
    with pytest.raises(BackendUnavailableError, match="fell back from CUDAExecutionProvider"):
        CudaOnnxRuntimeProfiler(ProfilerSettings(), runtime).open(small_workloads())


def test_int8_on_a_gpu_names_the_ways_on() -> None:
    runtime = FakeOnnxRuntime(CUDA)
    with pytest.raises(BackendUnavailableError, match="--precision fp16"):
        CudaOnnxRuntimeProfiler(ProfilerSettings(precision="int8"), runtime).open([])


def test_half_precision_models_are_half_throughout() -> None:
    from proxyless_hw.export.onnx_file import onnx_bytes
    from proxyless_hw.profilers.models.building import build_module

    module, shape = build_module(small_workloads()[1], 1)
    model = onnx.load_from_string(half_precision(onnx_bytes(module, shape)))
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT not in kinds
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    weights = [onnx.numpy_helper.to_array(item) for item in model.graph.initializer]
    assert any(np.abs(weight.astype(np.float64)).sum() > 0 for weight in weights)
