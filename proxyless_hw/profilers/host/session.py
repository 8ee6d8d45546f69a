"""The in-process session of runtimes that are called from Python."""

from __future__ import annotations

import gc
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from proxyless_hw.profilers.base import ProfilerSession, ProfilerSettings, Visit
from proxyless_hw.profilers.host.conditioning import Conditioning, network_conditioning

WARM_UP_CALLS = 3
WARM_UP_SECONDS = 0.02
CALIBRATION_CALLS = 3
PREEMPTION_RETRIES = 3
STEADY_CALLS = 4
"""Untimed calls before the first sample, and samples, at least: see `HostSession`."""
STEADY_S = 0.002
"""Seconds for which short calls are repeated."""
MOST_STEADY_CALLS = 12
"""Largest number of these calls."""
NETWORK_SAMPLES = 12
NETWORK_VISIT_S = 0.03


@dataclass(frozen=True, slots=True)
class Runner:
    """One workload, built: a call runs it once on inputs made beforehand.

    Attributes:
        name: the workload's name.
        call: runs it once.
        touch: brings its inputs back into the caches, for `Conditioning`.
        whole: a whole network, whose own calls leave the caches as it finds them.
        inputs: shape of every input, as the runtime holds it.
        batch_size: images per call; None where the inputs do not agree on one.
    """

    name: str
    call: Callable[[], object]
    touch: Callable[[], object] | None = None
    whole: bool = False
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    batch_size: int | None = None

    @property
    def block(self) -> Callable[[], object]:
        """Runs it `calls` times: here a call is a block of one."""
        return self.call

    @property
    def calls(self) -> int:
        """Inferences in a block."""
        return 1


@dataclass(frozen=True, slots=True)
class VisitSize:
    """What a visit of a runner holds.

    Attributes:
        calls: calls in a sample.
        warm_up: untimed calls before the first sample.
        samples: samples.
    """

    calls: int
    warm_up: int
    samples: int


def _steady_calls(seconds: float, least: int) -> int:
    """How many calls make a workload steady when one takes `seconds`."""
    return min(MOST_STEADY_CALLS, max(least, math.ceil(STEADY_S / max(seconds, 1e-9))))


def milliseconds() -> float:
    """The host's monotonic clock in ms."""
    return time.perf_counter_ns() / 1e6


def milliseconds_on_processor() -> float:
    """How long the calling thread has run on a processor, in ms."""
    return time.thread_time_ns() / 1e6


def thread_clock(settings: ProfilerSettings) -> Callable[[], float] | None:
    """The clock of the calling thread where it does all the work; None with several threads."""
    return milliseconds_on_processor if settings.threads == 1 else None


def preemptions() -> int:
    """How often the kernel took the processor away from this thread."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class HostSession(ProfilerSession):
    """Times runners in this process; implements `Session`.

    With a conditioning each sample of an op is one call, in the cache state of a network. The first
    calls after another workload was visited are not timed: they cost more, and how
    much depends on what was visited before, whereas an op of a network that runs again and again
    has been called a moment ago (benchmarks/first_calls.py). A whole network is called untimed
    likewise, then again and again, each call a sample. Without a conditioning a sample of an op is
    a block that repeats the call until it lasts long enough for the meter's resolution.
    A sample during which the kernel took the processor away is taken again, at most three times.
    Where that never succeeds and all work is done by the calling thread, the sample is the time for
    which that thread ran. A long call on a busy machine is never undisturbed, and its length on the
    clock would say how busy the machine is.

    Args:
        runners: what can be visited.
        meter: reading in the metric's unit that only grows (ms for latency, mJ for energy); a
            sample's value is the difference of two readings.
        block_s: least length of a block in seconds.
        blocks: samples in a visit of hot blocks.
        conditioning: what comes before each timed call of an op; None times hot blocks.
        clock: seconds, monotonic; used to warm up and to size the blocks.
        preempted: count that grows when the processor was taken away.
        worked: reading of how long the calling thread has run, in the meter's unit; None where it
            does not do all the work, or where the metric is no time.
        resources: closed together with the session.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        *,
        meter: Callable[[], float] = milliseconds,
        block_s: float = 0.002,
        blocks: int = 3,
        conditioning: Conditioning | None = None,
        clock: Callable[[], float] = time.perf_counter,
        preempted: Callable[[], int] = preemptions,
        worked: Callable[[], float] | None = None,
        resources: ExitStack | None = None,
    ) -> None:
        self.runners = list(runners)
        self.meter = meter
        self.block_s = block_s
        self.blocks = blocks
        self.conditioning = conditioning
        self.clock = clock
        self.preempted = preempted
        self.worked = worked or meter
        self.resources = resources or ExitStack()
        self.sizes = [self._calibrate(runner) for runner in self.runners]

    def _calibrate(self, runner: Runner) -> VisitSize:
        """Warms a runner up and says what a visit of it holds."""
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
        if runner.whole:
            samples = min(NETWORK_SAMPLES, int(NETWORK_VISIT_S / max(fastest, 1e-9)))
            return VisitSize(1, _steady_calls(fastest, least=1), max(1, samples))
        if self.conditioning is not None:
            start = self.clock()
            self._call_as_in_a_network(runner)
            steady = _steady_calls(self.clock() - start, least=STEADY_CALLS)
            return VisitSize(1, steady, steady)
        return VisitSize(max(1, math.ceil(self.block_s / max(fastest, 1e-9))), 1, self.blocks)

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Visits runners in order; the garbage collector is off meanwhile."""
        with _without_gc():
            return [self._visit(index) for index in order]

    def _visit(self, index: int) -> Visit:
        runner = self.runners[index]
        size = self.sizes[index]
        self._warm_up(runner, size)
        taken = [self._undisturbed(runner, size) for _ in range(size.samples)]
        samples = [value for value, _ in taken]
        ordered = sorted(samples)
        middle = len(ordered) // 2
        return Visit(
            value=(ordered[middle] + ordered[-1 - middle]) / 2,
            min=ordered[0],
            p90=ordered[math.ceil(0.9 * len(ordered)) - 1],
            calls=size.calls * len(samples),
            samples=tuple(samples),
            preempted=any(disturbed for _, disturbed in taken),
        )

    def _warm_up(self, runner: Runner, size: VisitSize) -> None:
        """Makes a runner's calls steady; starts again if the processor was taken away."""
        for _ in range(PREEMPTION_RETRIES):
            before = self.preempted()
            for _ in range(size.warm_up):
                self._call_as_in_a_network(runner)
            if self.preempted() == before:
                return

    def _undisturbed(self, runner: Runner, size: VisitSize) -> tuple[float, bool]:
        """A sample during which the processor was not taken away, or else the smallest of four.

        What ran meanwhile has used the caches, so the runner is made steady again before another
        try.

        Returns:
            The sample, and whether the processor was taken away during it.
        """
        smallest = math.inf
        for _ in range(PREEMPTION_RETRIES + 1):
            before = self.preempted()
            elapsed, worked = self._sample(runner, size.calls)
            if self.preempted() == before:
                return elapsed, False
            smallest = min(smallest, elapsed, worked)
            self._warm_up(runner, size)
        return smallest, True

    def _sample(self, runner: Runner, calls: int) -> tuple[float, float]:
        """What a call took by the meter, and of that the time the calling thread ran."""
        call, meter, worked = runner.call, self.meter, self.worked
        conditioning = self._conditions(runner)
        if conditioning is not None:
            conditioning.prepare(runner.touch)
        ran = worked()
        start = meter()
        for _ in range(calls):
            call()
        elapsed = meter() - start
        return elapsed / calls, (worked() - ran) / calls

    def _call_as_in_a_network(self, runner: Runner) -> None:
        """One untimed call, in the cache state of the timed ones."""
        conditioning = self._conditions(runner)
        if conditioning is not None:
            conditioning.prepare(runner.touch)
        runner.call()

    def _conditions(self, runner: Runner) -> Conditioning | None:
        """What comes before each timed call of a runner."""
        if runner.whole and self.conditioning is not None and not self.conditioning.cold:
            return None
        return self.conditioning

    def synchronise(self) -> None:
        """Returns at once: on the host a call returns when its work is done."""

    def close(self) -> None:
        """Releases the runners and restores what was set for the session."""
        self.runners = []
        self.resources.close()


def host_session(
    runners: Sequence[Runner],
    settings: ProfilerSettings,
    idle_call: Callable[[], object],
    resources: ExitStack,
) -> HostSession:
    """The session of a runtime that works in this process, under a setting.

    Args:
        runners: what can be visited.
        settings: its caches and threads are used.
        idle_call: runs the runtime on a model that does nothing.
        resources: closed together with the session.

    Raises:
        ProfilingError: an option has a value that it cannot have.
    """
    return HostSession(
        runners,
        conditioning=network_conditioning(settings, idle_call),
        worked=thread_clock(settings),
        resources=resources,
    )


@contextmanager
def _without_gc() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
