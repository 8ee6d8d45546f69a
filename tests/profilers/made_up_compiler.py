"""A compiler that nobody sells: what it says follows from a file's size alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxyless_hw.profilers.base import Metric, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import NpuOptions
from proxyless_hw.profilers.models.building import build_module, gives_output, takes_input
from proxyless_hw.profilers.npu.compiler import ModelEstimate, OperatorEstimate
from proxyless_hw.profilers.npu.profiler import NpuProfiler
from proxyless_hw.space.counting import op_macs, op_parameters

HZ: Final = 1e9
AROUND: Final = 1000
"""Cycles of each of the two layers around an op."""


def made_up_files(workloads: Sequence[Workload], settings: ProfilerSettings) -> list[bytes]:
    """Files that are TFLite by their mark alone; they hold multiply-accumulates, parameters, and
    which ends there are."""
    files = []
    for item in workloads:
        build_module(item, settings.batch_size)
        ops = [item.op] if item.op is not None else list(item.arch.ops() if item.arch else ())
        counts = [sum(map(count, ops)) for count in (op_macs, op_parameters)]
        ends = item.between * (1 + 2 * takes_input(item) + 4 * gives_output(item))
        words = " ".join(map(str, (*counts, ends)))
        files.append(b"\0\0\0\0TFL3 " + words.encode())
    return files


class MadeUpCompiler:
    """A cycle per multiply-accumulate, a byte of flash per parameter.

    Args:
        cpu_kinds: operators that it would leave to the CPU in every file.
        keeps_flash: whether it tells the flash.
    """

    runtime = "made-up"
    version = "1.0"
    device = "an NPU that nobody sells"
    setting = (("clock", "1 GHz"),)

    def __init__(self, cpu_kinds: Sequence[str] = (), keeps_flash: bool = True) -> None:
        self.cpu_kinds = cpu_kinds
        self.keeps_flash = keeps_flash
        self.compiled: list[str] = []

    def compile(self, model: Path, name: str) -> ModelEstimate:
        self.compiled.append(name)
        macs, parameters, ends = map(int, model.read_bytes()[8:].split())
        before = [OperatorEstimate(name="before", kind="Conv2D", cycles=AROUND)]
        after = [OperatorEstimate(name="after", kind="Conv2D", cycles=AROUND)]
        operators = (
            *(before if ends and not ends & 2 else []),
            OperatorEstimate(name="op", kind="Conv2D", cycles=macs),
            *(
                OperatorEstimate(name=kind, kind=kind, cycles=0, on_cpu=True)
                for kind in self.cpu_kinds
            ),
            *(after if ends and not ends & 4 else []),
        )
        cycles = sum(item.cycles for item in operators)
        return ModelEstimate(
            seconds=cycles / HZ,
            cycles=cycles,
            sram_bytes=float(2 * macs),
            flash_bytes=float(parameters) if self.keeps_flash else None,
            operators=operators,
        )


def made_up_npu(
    compiler: MadeUpCompiler | None = None,
    *,
    metric: Metric = "latency",
    options: NpuOptions | None = None,
) -> NpuProfiler:
    return NpuProfiler(
        ProfilerSettings(precision="int8", metric=metric),
        options or NpuOptions(),
        compiler or MadeUpCompiler(),
        convert=made_up_files,
    )
