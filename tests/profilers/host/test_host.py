"""The in-process session: warm-up, calibrated blocks, cache conditioning, preempted samples."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

import numpy as np
import pytest
from fake_host import FakeClock

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.host.conditioning import Conditioning, network_conditioning
from proxyless_hw.profilers.host.scheduling import scheduled
from proxyless_hw.profilers.host.session import HostSession, Runner, thread_clock


class Work:
    """A call that takes a known time on a made-up clock."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.clock.now += self.seconds


def session(clock: FakeClock, *works: Work, **more: object) -> HostSession:
    runners = [Runner(f"work {index}", work) for index, work in enumerate(works)]
    settings: dict[str, object] = {"preempted": lambda: 0, **more}
    return HostSession(
        runners, clock=clock, meter=lambda: clock.now * 1e3, **settings  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_hot_block_lasts_at_least_two_milliseconds() -> None:
    clock = FakeClock()
    short, long = Work(clock, 0.0003), Work(clock, 0.005)
    opened = session(clock, short, long)
    assert [size.calls for size in opened.sizes] == [7, 1]
    visits = opened.visit([0, 1])
    assert [visit.value for visit in visits] == pytest.approx([0.3, 5.0])
    assert [visit.calls for visit in visits] == [21, 3]


def test_runners_are_warmed_up_for_three_calls_and_20_ms() -> None:
    clock = FakeClock()
    quick, slow = Work(clock, 0.001), Work(clock, 0.1)
    session(clock, quick, slow, conditioning=Conditioning(np.ones(4, np.float32)))
    assert quick.calls >= 20
    assert slow.calls == 3 + 3 + 1  # the last one shows how long a conditioned call takes


def test_conditioning_comes_before_every_timed_call_and_is_not_timed() -> None:
    clock = FakeClock()
    work = Work(clock, 0.0004)
    touched: list[float] = []
    idle = Work(clock, 0.01)

    def touch() -> None:
        touched.append(clock.now)
        clock.now += 0.002

    opened = HostSession(
        [Runner("work", work, touch)],
        clock=clock,
        meter=lambda: clock.now * 1e3,
        blocks=5,
        preempted=lambda: 0,
        conditioning=Conditioning(np.ones(8, np.float32), idle),
    )
    touched.clear()
    idle.calls = 0
    (visit,) = opened.visit([0])
    assert visit.value == pytest.approx(0.4)
    assert visit.calls == len(visit.samples) == 4
    assert len(touched) == idle.calls == 4 + 4  # untimed and timed


@pytest.mark.parametrize(("seconds", "calls"), [(1e-5, 12), (0.00025, 8), (0.0009, 4), (0.3, 4)])
def test_the_first_calls_of_a_visit_are_dear_and_not_timed(seconds: float, calls: int) -> None:
    """Another workload was visited before: calls become steady only after a few."""
    clock = FakeClock()
    times = iter(())

    def call() -> None:
        clock.now += next(times, seconds)

    opened = HostSession(
        [Runner("work", call)],
        clock=clock,
        meter=lambda: clock.now * 1e3,
        preempted=lambda: 0,
        conditioning=Conditioning(np.ones(4, np.float32)),
    )
    times = iter([seconds * factor for factor in (1.2, 1.1, 1.05, 1.02)])
    (visit,) = opened.visit([0])
    assert visit.value == pytest.approx(1e3 * seconds)
    assert (visit.p90, visit.calls) == (pytest.approx(1e3 * seconds), calls)


class Disturbed:
    """A call of 5 ms; the processor is taken away during those whose numbers are given."""

    def __init__(self, clock: FakeClock, at: dict[int, float]) -> None:
        self.clock, self.at = clock, at
        self.calls = self.away = 0

    def __call__(self) -> None:
        self.clock.now += self.at.get(self.calls, 0.005)
        self.away += self.calls in self.at
        self.calls += 1

    def session(self) -> HostSession:
        opened = session(self.clock, Work(self.clock, 0.005), blocks=1, preempted=lambda: self.away)
        opened.runners[0] = Runner("work", self)
        return opened


def test_a_sample_is_taken_again_when_the_processor_was_taken_away() -> None:
    """An untimed call makes it steady again: something else has used the caches."""
    work = Disturbed(FakeClock(), {1: 0.050})
    (visit,) = work.session().visit([0])
    assert visit.value == pytest.approx(5.0)
    assert not visit.preempted
    assert work.calls == 1 + 1 + 1 + 1  # untimed, disturbed, untimed, the sample


def test_untimed_calls_are_made_again_when_the_processor_was_taken_away() -> None:
    work = Disturbed(FakeClock(), {0: 0.050})
    (visit,) = work.session().visit([0])
    assert visit.value == pytest.approx(5.0)
    assert work.calls == 1 + 1 + 1


def test_a_processor_that_is_always_taken_away_gives_the_time_that_the_thread_ran() -> None:
    """The call runs for 5 ms and waits for 4 to 20 ms more each time."""
    clock = FakeClock()
    work = Disturbed(clock, {number: 0.009 + 0.001 * (number % 12) for number in range(100)})
    opened = work.session()
    opened.worked = lambda: 5.0 * work.calls
    (visit,) = opened.visit([0])
    assert visit.preempted
    assert visit.value == pytest.approx(5.0)


def test_the_thread_that_calls_has_a_clock_of_its_own_where_it_works_alone() -> None:
    clock = thread_clock(ProfilerSettings(threads=1))
    assert clock is not None
    before = clock()
    time.sleep(0.05)
    assert clock() - before < 25  # ms: it waited
    assert thread_clock(ProfilerSettings(threads=2)) is None


def test_a_processor_that_is_always_taken_away_gives_the_smallest_sample() -> None:
    clock = FakeClock()
    work = Disturbed(clock, {number: 0.009 - 0.0001 * (number % 7) for number in range(100)})
    (visit,) = work.session().visit([0])
    assert visit.preempted
    # Three tries to become steady, then four samples with such tries after each.
    sampled = [3, 7, 11, 15]
    assert visit.value == pytest.approx(1e3 * min(work.at[number] for number in sampled))


def test_the_garbage_collector_is_off_while_timing_and_on_again_after() -> None:
    clock = FakeClock()
    seen: list[bool] = []
    opened = session(clock, Work(clock, 0.01))
    opened.runners[0] = Runner("work", lambda: seen.append(gc.isenabled()))
    opened.visit([0])
    assert not any(seen)
    assert gc.isenabled()


def test_median_minimum_and_percentile_of_a_visit() -> None:
    clock = FakeClock()
    times = iter([0.0, 0.004, 0.003, 0.009, 0.005, 0.006])

    def call() -> None:
        clock.now += next(times, 0.001)

    opened = session(clock, Work(clock, 0.01), blocks=5)
    opened.runners[0] = Runner("work", call)
    (visit,) = opened.visit([0])
    assert (visit.value, visit.min, visit.p90) == pytest.approx((5.0, 3.0, 9.0))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cache": "warm"}, "--cache must be one of network, hot"),
        ({"cache": "hot", "cache_mb": "22"}, "--cache hot reads none"),
        ({"cache_mb": "0"}, "cache_mb"),
        ({"cache_mb": "-3"}, "cache_mb"),
        ({"cache_mb": "99999999999"}, "cache_mb"),
    ],
)
def test_an_unknown_cache_state_is_refused(options: dict[str, str], match: str) -> None:
    with pytest.raises(ProfilingError, match=match):
        network_conditioning(ProfilerSettings(options=options))


def test_hot_means_no_conditioning() -> None:
    assert network_conditioning(ProfilerSettings(options={"cache": "hot"})) is None
    assert network_conditioning(ProfilerSettings()) is not None


def test_cold_brings_no_inputs_back_before_a_call() -> None:
    cold = network_conditioning(ProfilerSettings(options={"cache": "cold", "cache_mb": "1"}))
    assert cold is not None
    assert cold.buffer.nbytes == 2**20
    called: list[str] = []
    cold.prepare(lambda: called.append("touched"))
    assert called == []


def whole(clock: FakeClock, seconds: float, conditioning: Conditioning | None) -> HostSession:
    """A session over one whole network."""
    return HostSession(
        [Runner("net", Work(clock, seconds), whole=True)],
        clock=clock,
        meter=lambda: clock.now * 1e3,
        preempted=lambda: 0,
        conditioning=conditioning,
    )


def condition(clock: FakeClock, cold: bool = False) -> tuple[Conditioning, Work]:
    idle = Work(clock, 0.0)
    return Conditioning(np.ones(4, np.float32), idle, cold), idle


def test_a_whole_network_is_called_again_and_again_after_an_untimed_call() -> None:
    """As a camera calls it: its own calls leave the caches as it finds them."""
    clock = FakeClock()
    conditioning, idle = condition(clock)
    opened = whole(clock, 0.004, conditioning)
    before = opened.runners[0].call.calls  # type: ignore[attr-defined]
    (visit,) = opened.visit([0])
    assert visit.value == pytest.approx(4.0)
    assert visit.calls == len(visit.samples) == 7
    assert opened.runners[0].call.calls - before == 8  # type: ignore[attr-defined]
    assert idle.calls == 0


@pytest.mark.parametrize(("seconds", "samples"), [(1e-4, 12), (0.011, 2), (0.5, 1)])
def test_a_visit_to_a_whole_network_is_short(seconds: float, samples: int) -> None:
    clock = FakeClock()
    (visit,) = whole(clock, seconds, condition(clock)[0]).visit([0])
    assert visit.calls == samples


def test_cold_conditions_whole_networks_too() -> None:
    clock = FakeClock()
    conditioning, idle = condition(clock, cold=True)
    opened = whole(clock, 0.004, conditioning)
    (visit,) = opened.visit([0])
    assert idle.calls == visit.calls + opened.sizes[0].warm_up


def test_hot_calls_a_whole_network_in_a_loop() -> None:
    clock = FakeClock()
    (visit,) = whole(clock, 0.004, None).visit([0])
    assert visit.value == pytest.approx(4.0)


def test_pinning_holds_for_the_session_and_is_undone() -> None:
    before = os.sched_getaffinity(0)
    first = min(before)
    with scheduled(ProfilerSettings(cpus=(first,))):
        assert os.sched_getaffinity(0) == {first}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("cpus", [(), (4095,)])
def test_a_processor_that_is_not_ours_is_refused(cpus: tuple[int, ...]) -> None:
    with (
        pytest.raises(ProfilingError, match="--cpus must name"),
        scheduled(ProfilerSettings(cpus=cpus)),
    ):
        pass


def test_the_right_to_raise_priorities_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with (
        pytest.raises(ProfilingError, match="CAP_SYS_NICE"),
        scheduled(ProfilerSettings(options={"priority": "realtime"})),
    ):
        pass


def test_closing_runs_what_the_session_holds() -> None:
    from contextlib import ExitStack

    closed: list[str] = []
    stack = ExitStack()
    note: Callable[[str], None] = closed.append
    stack.callback(note, "closed")
    clock = FakeClock()
    with session(clock, Work(clock, 0.01), resources=stack):
        assert closed == []
    assert closed == ["closed"]
