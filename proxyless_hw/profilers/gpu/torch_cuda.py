"""PyTorch on an NVIDIA GPU, timed with device events. Options: `TorchCudaOptions`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSession, ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.device_options import TorchCudaOptions
from proxyless_hw.profilers.gpu.torch_cuda_device import Work
from proxyless_hw.profilers.host.environment import fingerprint, package_version
from proxyless_hw.profilers.options import parse_options

BLOCK_MS: Final = 2.0
BLOCKS: Final = 5
COLD_CALLS: Final = 15
WARM_UP_CALLS: Final = 5
GRAPH_BELOW_MS: Final = 0.2
MAX_CALLS: Final = 1000


class CudaDevice(Protocol):
    """What is needed of a GPU; `torch_cuda_device.TorchCudaDevice` is the real one."""

    def name(self) -> str:
        """The GPU's name, compute capability and driver's runtime version in one line."""
        ...

    def load(self, workload: Workload, settings: ProfilerSettings) -> Work:
        """Puts a workload on the GPU with a fixed input; a call enqueues one inference."""
        ...

    def timed_ms(self, works: Sequence[Work]) -> list[float]:
        """Runs works in order; device time of each between two events, in ms."""
        ...

    def capture(self, work: Work, calls: int) -> Work:
        """A CUDA graph of `calls` inferences; a call replays it."""
        ...

    def flush_l2(self) -> None:
        """Enqueues writes that push everything else out of the L2 cache."""
        ...

    def peak_mb(self, work: Work) -> float:
        """Peak of allocated device memory while a work runs, in MB."""
        ...

    def synchronise(self) -> None:
        """Waits for everything enqueued."""
        ...


@dataclass(frozen=True, slots=True)
class CudaRunner:
    """One workload on the GPU.

    Attributes:
        name: the workload's name.
        call: enqueues one inference.
        block: enqueues `calls` inferences, as a graph where one was captured.
        calls: inferences in a block.
    """

    name: str
    call: Work
    block: Work
    calls: int


class TorchCudaProfiler:
    """Times ops and networks on a GPU.

    Args:
        settings: batch size, precision (fp32 or fp16), metric (latency or memory), options.
        device: the GPU; the one that the options name when None.

    Raises:
        ProfilingError: an option is wrong.
    """

    def __init__(self, settings: ProfilerSettings, device: CudaDevice | None = None) -> None:
        self.settings = settings
        self.options = parse_options(TorchCudaOptions, settings.options)
        self._device = device

    @property
    def device(self) -> CudaDevice:
        """The GPU, found on first use.

        Raises:
            BackendUnavailableError: torch finds no GPU here.
        """
        if self._device is None:
            from proxyless_hw.profilers.gpu.torch_cuda_device import TorchCudaDevice

            self._device = TorchCudaDevice.find(self.options.gpu)
        return self._device

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`)."""
        settings = self.settings
        memory = settings.metric == "memory"
        parts = ["torch"]
        parts += ["cold-l2"] if self.options.l2 == "cold" else []
        graphs = self.options.graphs
        parts += [] if graphs == "auto" else [f"graphs-{graphs}"]
        return {
            "device": self.device.name(),
            "device_kind": "gpu",
            "runtime": "-".join(parts),
            "runtime_version": package_version("torch"),
            "threads": str(settings.threads),
            "batch_size": str(settings.batch_size),
            "precision": settings.precision,
            "metric": settings.metric,
            "unit": "MB" if memory else "ms",
            "statistic": "median",
            "fingerprint": fingerprint(),
            "l2": self.options.l2,
            "cuda_graphs": f"auto (below {GRAPH_BELOW_MS} ms)" if graphs == "auto" else graphs,
        }

    def open(self, workloads: Sequence[Workload]) -> CudaSession:
        """Puts the workloads on the GPU and warms them up.

        Raises:
            BackendUnavailableError: there is no GPU, or it lacks what the setting asks for.
            ProfilingError: a workload cannot be built or run.
        """
        if self.settings.precision == "int8":
            raise BackendUnavailableError(
                "torch has no int8 convolutions on the GPU. Use --precision fp32 or fp16."
            )
        for workload in workloads:
            if workload.file is not None:
                raise ProfilingError(
                    f"torch times ops and networks, not files: received {workload.file}. For "
                    ".onnx files: --runtime onnxruntime"
                )
        device = self.device
        runners = [
            _runner(device, item.name, device.load(item, self.settings), self.options.graphs)
            for item in workloads
        ]
        return CudaSession(device, runners, self.options.l2, self.settings.metric)


def _runner(device: CudaDevice, name: str, call: Work, graphs: str) -> CudaRunner:
    device.timed_ms([call] * WARM_UP_CALLS)
    fastest = max(min(device.timed_ms([call] * 3)), 1e-6)
    if graphs == "on" or (graphs == "auto" and fastest < GRAPH_BELOW_MS):
        # Launching from Python is slower than a small op runs; a graph shows the op itself.
        single = device.capture(call, 1)
        fastest = max(min(device.timed_ms([single] * 3)), 1e-6)
        calls = _calls(fastest)
        return CudaRunner(name, single, device.capture(call, calls), calls)
    calls = _calls(fastest)

    def block() -> None:
        for _ in range(calls):
            call()

    return CudaRunner(name, call, block, calls)


def _calls(fastest_ms: float) -> int:
    return min(MAX_CALLS, max(1, math.ceil(BLOCK_MS / fastest_ms)))


class CudaSession(ProfilerSession):
    """Workloads on a GPU.

    Attributes:
        runners: the workloads, each with a `call` that enqueues one inference.
    """

    def __init__(
        self, device: CudaDevice, runners: Sequence[CudaRunner], l2: str, metric: str
    ) -> None:
        self.device = device
        self.runners = list(runners)
        self.l2 = l2
        self.metric = metric

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Times workloads in order: blocks of calls, or single calls after a flush."""
        return [self._visit(self.runners[index]) for index in order]

    def _visit(self, runner: CudaRunner) -> Visit:
        if self.metric == "memory":
            peak = self.device.peak_mb(runner.call)
            return Visit(value=peak, min=peak, p90=peak, calls=1, samples=(peak,))
        if self.l2 == "cold":
            works = [
                work for _ in range(COLD_CALLS) for work in (self.device.flush_l2, runner.call)
            ]
            samples, calls = self.device.timed_ms(works)[1::2], 1
        else:
            # The first block brings clocks and caches to this workload; it is not counted.
            blocks = self.device.timed_ms([runner.block] * (BLOCKS + 1))[1:]
            samples, calls = [block / runner.calls for block in blocks], runner.calls
        ordered = sorted(samples)
        return Visit(
            value=statistics.median(ordered),
            min=ordered[0],
            p90=ordered[math.ceil(0.9 * len(ordered)) - 1],
            calls=calls * len(ordered),
            samples=tuple(samples),
        )

    def synchronise(self) -> None:
        """Waits for everything enqueued."""
        self.device.synchronise()

    def close(self) -> None:
        """Lets go of the workloads."""
        self.runners = []
