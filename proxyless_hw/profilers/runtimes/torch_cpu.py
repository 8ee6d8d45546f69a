"""PyTorch itself on the CPU: eager mode, BatchNorm folded, channels-last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import CpuOptions
from proxyless_hw.profilers.host.conditioning import cache_line
from proxyless_hw.profilers.host.environment import cpu_header, package_version
from proxyless_hw.profilers.host.precision import refuse_precision
from proxyless_hw.profilers.host.scheduling import scheduled
from proxyless_hw.profilers.host.session import HostSession, Runner, host_session
from proxyless_hw.profilers.models.building import IDENTITY, build_module
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.threads import WAITING

INPUT_SEED: Final = 0

REFUSED: Final[dict[Precision, str]] = {
    "int8": "torch's eager CPU kernels have no int8 convolutions here. Use --runtime onnxruntime "
    "or litert with --precision int8."
}


class TorchCpuProfiler:
    """Times ops and networks with torch's CPU kernels, fp32 or fp16."""

    def __init__(self, settings: ProfilerSettings) -> None:
        self.settings = replace(settings, options=parse_options(CpuOptions, settings.options))

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: torch has no kernels for the precision.
        """
        refuse_precision(self.settings, REFUSED)
        version = package_version("torch")
        description = cpu_header(self.settings, "torch", version, cache_line(self.settings))
        if self.settings.threads > 1:
            description["waiting"] = WAITING
        return description

    def open(self, workloads: Sequence[Workload]) -> HostSession:
        """Builds and warms up one module per workload; torch's threads are set meanwhile.

        Raises:
            BackendUnavailableError: torch has no kernels for the precision.
            ProfilingError: a workload is a file.
        """
        refuse_precision(self.settings, REFUSED)
        with ExitStack() as stack:
            stack.enter_context(scheduled(self.settings))
            stack.enter_context(_threads(self.settings.threads))
            runners = [self.runner(workload) for workload in workloads]
            idle = self.runner(IDENTITY).call
            return host_session(runners, self.settings, idle, stack.pop_all())

    def runner(self, workload: Workload) -> Runner:
        """Builds one workload.

        Raises:
            ProfilingError: it is a file.
        """
        import torch

        from proxyless_hw.export.prepare import deployment_copy

        if workload.file is not None:
            raise ProfilingError(
                f"torch times ops and networks, not files: received {workload.file}. "
                "Use --runtime onnxruntime or litert."
            )
        module, shape = build_module(workload, self.settings.batch_size)
        kind = torch.float16 if self.settings.precision == "fp16" else torch.float32
        folded = deployment_copy(module).to(dtype=kind).to(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(INPUT_SEED)
        image = torch.randn(shape, generator=generator).to(kind)
        image = image.to(memory_format=torch.channels_last)

        def run() -> None:
            with torch.inference_mode():
                folded(image)

        def touch() -> None:
            image.max()

        call: Callable[[], object] = run
        return Runner(workload.name, call, touch, whole=workload.arch is not None)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
