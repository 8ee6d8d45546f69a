"""The in-process session of runtimes that are called from Python."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from proxyless_hw.errors import ProfilingError

if TYPE_CHECKING:
    from collections.abc import Iterator

from proxyless_hw.profilers.base import Visit

WARM_UP_CALLS = 3
WARM_UP_SECONDS = 0.02
CALIBRATION_CALLS = 3


@dataclass(frozen=True, slots=True)
class Runner:
    """One workload, built: a call runs it once on inputs made beforehand."""

    name: str
    call: Callable[[], object]


def milliseconds() -> float:
    """The host's monotonic clock in ms."""
    return time.perf_counter_ns() / 1e6


class HostSession:
    """Times runners in this process; implements `Session`.

    A visit makes one call that is not counted (the caches hold the workload before), then times
    blocks. A block repeats the call until it lasts long enough for the meter's resolution.

    Args:
        runners: what can be visited.
        meter: reading in the metric's unit that only grows (ms for latency, mJ for energy); a
            block's value is the difference of two readings.
        block_s: least length of a block in seconds.
        blocks: blocks in a visit.
        clock: seconds, monotonic; used to warm up and to size the blocks.
        cpus: processors that the calling thread is pinned to while the session is open.
        on_close: releases what the runners hold.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        *,
        meter: Callable[[], float] = milliseconds,
        block_s: float = 0.002,
        blocks: int = 3,
        clock: Callable[[], float] = time.perf_counter,
        cpus: tuple[int, ...] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.runners = list(runners)
        self.meter = meter
        self.block_s = block_s
        self.blocks = blocks
        self.clock = clock
        self.on_close = on_close
        self._previous_cpus: set[int] | None = None
        if cpus is not None:
            self._previous_cpus = os.sched_getaffinity(0)
            pin(cpus)
        self.calls_per_block = [self._calibrate(runner) for runner in self.runners]

    def _calibrate(self, runner: Runner) -> int:
        """Warms a runner up and returns the calls that fill a block."""
        begin = self.clock()
        calls = 0
        while calls < WARM_UP_CALLS or self.clock() - begin < WARM_UP_SECONDS:
            runner.call()
            calls += 1
        fastest = math.inf
        for _ in range(CALIBRATION_CALLS):
            start = self.clock()
            runner.call()
            fastest = min(fastest, self.clock() - start)
        return max(1, math.ceil(self.block_s / max(fastest, 1e-9)))

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Visits runners in order; the garbage collector is off during blocks."""
        with _without_gc():
            return [self._visit(index) for index in order]

    def _visit(self, index: int) -> Visit:
        call = self.runners[index].call
        calls = self.calls_per_block[index]
        meter = self.meter
        call()
        samples = []
        for _ in range(self.blocks):
            start = meter()
            for _ in range(calls):
                call()
            samples.append((meter() - start) / calls)
        ordered = sorted(samples)
        middle = len(ordered) // 2
        value = (ordered[middle] + ordered[-1 - middle]) / 2
        return Visit(
            value=value,
            min=ordered[0],
            p90=ordered[min(len(ordered) - 1, math.ceil(0.9 * len(ordered)) - 1)],
            calls=calls * self.blocks,
            samples=tuple(samples),
        )

    def close(self) -> None:
        """Lets go of the runners and undoes the pinning."""
        self.runners = []
        if self.on_close is not None:
            self.on_close()
            self.on_close = None
        if self._previous_cpus is not None:
            os.sched_setaffinity(0, self._previous_cpus)
            self._previous_cpus = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


@contextmanager
def _without_gc() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def pin(cpus: Sequence[int]) -> None:
    """Pins the calling thread, and the threads it starts from now on, to processors.

    Raises:
        ProfilingError: a processor is not one this process may use.
    """
    allowed = os.sched_getaffinity(0)
    foreign = sorted(set(cpus) - allowed)
    if foreign or not cpus:
        raise ProfilingError(
            f"--cpus must name processors this process may use "
            f"({', '.join(map(str, sorted(allowed)))}): received {', '.join(map(str, cpus))}."
        )
    os.sched_setaffinity(0, set(cpus))
