"""The GPU as PyTorch gives it: events, graphs, memory. The `torch.cuda` module is a parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.gpu.no_gpu import no_gpu

DEFAULT_L2_BYTES: Final = 128 * 2**20
"""Assumed where the driver does not tell: more than any L2 cache so far."""
INPUT_SEED: Final = 0

Work = Callable[[], None]
"""What a GPU is given to do."""


class TorchCudaDevice:
    """One GPU.

    Args:
        cuda: the module `torch.cuda`, or what stands in for it.
        device: where tensors go (``cuda:0``).
    """

    def __init__(self, cuda: Any, device: str) -> None:
        self.cuda = cuda
        self.device = device
        self._flush_buffer: Any = None

    @classmethod
    def find(cls, index: int) -> TorchCudaDevice:
        """The GPU with a number.

        Raises:
            BackendUnavailableError: torch sees no such GPU.
        """
        try:
            import torch
        except ImportError as cause:
            raise BackendUnavailableError(
                f"torch cannot be imported ({cause}). Install it: pip install torch"
            ) from cause
        if not torch.cuda.is_available():
            built = "torch sees none" if torch.version.cuda else "this torch is built without CUDA"
            raise no_gpu(built)
        if index >= torch.cuda.device_count():
            raise no_gpu(f"there are {torch.cuda.device_count()}, number {index} was asked for")
        return cls(torch.cuda, f"cuda:{index}")

    def name(self) -> str:
        """The GPU's name and compute capability."""
        properties = self.cuda.get_device_properties(self.device)
        return f"{properties.name} (compute capability {properties.major}.{properties.minor})"

    def load(self, workload: Workload, settings: ProfilerSettings) -> Work:
        """Puts a workload on the GPU, channels last, with a fixed random input.

        Raises:
            ProfilingError: it cannot be built, or does not fit into the GPU's memory.
        """
        import torch

        from proxyless_hw.profilers.models.building import build_module

        module, shape = build_module(workload, settings.batch_size)
        dtype = torch.float16 if settings.precision == "fp16" else torch.float32
        generator = torch.Generator().manual_seed(INPUT_SEED)
        try:
            module = module.to(device=self.device, dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
            images = torch.randn(shape, generator=generator).to(device=self.device, dtype=dtype)
            images = images.contiguous(memory_format=torch.channels_last)
        except torch.OutOfMemoryError as cause:
            raise ProfilingError(
                f"{workload.name} does not fit into the GPU's memory; lower --batch-size."
            ) from cause

        def call() -> None:
            with torch.inference_mode():
                module(images)

        return call

    def timed_ms(self, works: Sequence[Work]) -> list[float]:
        """Runs works in order; device time of each between two events, in ms."""
        pairs = []
        self.cuda.synchronize(self.device)
        for work in works:
            start = self.cuda.Event(enable_timing=True)
            end = self.cuda.Event(enable_timing=True)
            start.record()
            work()
            end.record()
            pairs.append((start, end))
        self.cuda.synchronize(self.device)
        return [float(start.elapsed_time(end)) for start, end in pairs]

    def capture(self, work: Work, calls: int) -> Work:
        """A CUDA graph of `calls` inferences; a call replays it.

        Raises:
            ProfilingError: the workload does something that cannot be captured.
        """
        # Libraries set themselves up on a side stream before a capture, as CUDA demands.
        stream = self.cuda.Stream(self.device)
        stream.wait_stream(self.cuda.current_stream(self.device))
        with self.cuda.stream(stream):
            work()
        self.cuda.current_stream(self.device).wait_stream(stream)
        graph = self.cuda.CUDAGraph()
        try:
            with self.cuda.graph(graph):
                for _ in range(calls):
                    work()
        except RuntimeError as cause:
            raise ProfilingError(
                f"an op cannot be captured as a CUDA graph ({str(cause).splitlines()[0]}). "
                "Go on with --option graphs=off."
            ) from cause

        def replay() -> None:
            graph.replay()

        return replay

    def flush_l2(self) -> None:
        """Overwrites a buffer of twice the L2 cache's size."""
        if self._flush_buffer is None:
            import torch

            properties = self.cuda.get_device_properties(self.device)
            size = 2 * (getattr(properties, "L2_cache_size", 0) or DEFAULT_L2_BYTES)
            self._flush_buffer = torch.empty(size, dtype=torch.uint8, device=self.device)
        self._flush_buffer.zero_()

    def peak_mb(self, work: Work) -> float:
        """Peak of allocated device memory while a work runs, in MB (2**20 bytes)."""
        self.cuda.synchronize(self.device)
        self.cuda.reset_peak_memory_stats(self.device)
        before = self.cuda.memory_allocated(self.device)
        work()
        self.cuda.synchronize(self.device)
        return float(self.cuda.max_memory_allocated(self.device) - before) / 2**20

    def synchronise(self) -> None:
        """Waits for everything enqueued."""
        self.cuda.synchronize(self.device)
