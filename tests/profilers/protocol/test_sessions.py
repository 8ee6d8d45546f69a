"""Measuring in several sessions on a made-up device: budgets, sessions that do not fit, gaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from fake_host import FakeClock, FakeProfiler, FakeSession

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.protocol.drift import Round
from proxyless_hw.profilers.protocol.sessions import (
    LEAST_SESSIONS,
    MeasurementJob,
    fine_timing,
    measure_sessions,
)
from proxyless_hw.profilers.protocol.stopping import visit_counts
from proxyless_hw.profilers.protocol.timing import TimingConfig, estimates
from proxyless_hw.space.specs import OpSpec

OPS = [OpSpec("conv", 8, 8, index + 1, 8, 8, 8 + 4 * index) for index in range(20)]
WORKLOADS = [Workload(op.key, op=op) for op in OPS]
NAMES = [workload.name for workload in WORKLOADS]


def job_of(profiler: FakeProfiler, timing: TimingConfig, **more: object) -> MeasurementJob:
    base = MeasurementJob(
        profiler=profiler,
        workloads=WORKLOADS,
        targets=NAMES,
        reference=4,
        timing=timing,
        sessions=8,
        started=0.0,
        clock=profiler.clock,
    )
    return replace(base, **more)  # type: ignore[arg-type]


def visits_by_part(rounds: Sequence[Round]) -> dict[int, int]:
    found: dict[int, int] = {}
    for record in rounds:
        found[record.part] = found.get(record.part, 0) + sum(
            len(segment.names) for segment in record.segments
        )
    return found


@pytest.mark.parametrize("budget", [10.0, 25.0, 60.0])
@pytest.mark.parametrize("build_s", [0.0, 0.02, 0.1])
def test_a_budget_is_kept_however_long_building_takes(budget: float, build_s: float) -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=0.01, build_s=build_s)
    rounds = measure_sessions(job_of(profiler, TimingConfig(budget_s=budget)))
    assert clock.now <= budget + 0.02
    assert clock.now > 0.8 * budget or 20 * build_s > 0.1 * budget
    assert all(visit_counts(rounds, NAMES).values())


def test_sessions_share_a_budget() -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=0.01)
    found = visits_by_part(measure_sessions(job_of(profiler, TimingConfig(budget_s=40.0))))
    assert sorted(found) == list(range(8))
    assert min(found.values()) > 0.8 * max(found.values())


def test_there_are_fewer_sessions_where_building_takes_long() -> None:
    """Building 20 ops takes 3 s; measuring has to have most of 20 s."""
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=0.01, build_s=0.15)
    rounds = measure_sessions(job_of(profiler, TimingConfig(budget_s=20.0)))
    assert 2 <= len(profiler.opened) < 8
    assert clock.now <= 20.02
    assert min(visit_counts(rounds, NAMES).values()) >= 3


def test_the_last_session_is_used_in_part() -> None:
    """The time ends in its first pass: what it has seen counts, and the rest is no error."""
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=0.05)
    timing = TimingConfig(budget_s=9.0, segment=2, min_rounds=1)
    rounds = measure_sessions(job_of(profiler, timing))
    last = max(record.part for record in rounds)
    in_last = visit_counts([record for record in rounds if record.part == last], NAMES)
    assert 0 in in_last.values()
    assert any(in_last.values())
    assert all(visit_counts(rounds, NAMES).values())
    assert len(estimates(rounds, NAMES, timing)) == len(NAMES)


def test_a_first_pass_may_take_more_than_a_sessions_share() -> None:
    """A pass over 20 ops takes 3 s, a session's share of 16 s is 2 s."""
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=0.1)
    rounds = measure_sessions(job_of(profiler, TimingConfig(budget_s=16.0, segment=2)))
    first = [record for record in rounds if record.part == 0]
    assert all(visit_counts(first, NAMES).values())
    assert len(profiler.opened) > 1
    assert clock.now <= 16.2


def test_only_a_workload_that_nobody_saw_is_an_error_and_it_says_what_is_left() -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=1.0)
    kept: list[Round] = []
    with pytest.raises(ProfilingError) as caught:
        measure_sessions(job_of(profiler, TimingConfig(budget_s=15.0, segment=2)), keep=kept.append)
    seen = sum(count > 0 for count in visit_counts(kept, NAMES).values())
    assert 0 < seen < len(NAMES)
    message = str(caught.value)
    assert "budget of 15 s" in message
    assert f"{len(NAMES) - seen} of {len(NAMES)} workloads not measured yet" in message
    assert "take about" in message
    assert "--resume" in message


def test_the_time_that_the_rest_takes_is_told_from_what_was_measured() -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, visit_s=1.0)
    with pytest.raises(ProfilingError) as caught:
        measure_sessions(job_of(profiler, TimingConfig(budget_s=15.0, segment=2), sessions=1))
    seconds = float(str(caught.value).split("take about ")[1].split(" s")[0])
    # 20 ops, a reference for every two: 1.5 s an op; 9 or 10 of them fit into 15 s.
    assert 14 <= seconds <= 19


def test_a_measurement_that_ran_out_of_time_goes_on_where_it_ended() -> None:
    clock = FakeClock()
    kept: list[Round] = []
    short = job_of(FakeProfiler(clock, visit_s=1.0), TimingConfig(budget_s=15.0, segment=2))
    with pytest.raises(ProfilingError, match="--resume"):
        measure_sessions(short, keep=kept.append)
    again: list[Round] = []
    more = TimingConfig(budget_s=40.0, segment=2, min_rounds=1)
    job = job_of(FakeProfiler(clock, visit_s=1.0), more, started=clock.now)
    rounds = measure_sessions(job, kept, again.append)
    assert rounds == kept + again
    assert all(visit_counts(rounds, NAMES).values())
    # What was measured before is not measured first again.
    fresh = {name for name, count in visit_counts(kept, NAMES).items() if count == 0}
    first = [name for segment in again[0].segments for name in segment.names]
    assert set(first[: len(fresh)]) == fresh


def test_resuming_a_finished_measurement_adds_nothing_to_its_sessions() -> None:
    clock = FakeClock()
    timing = TimingConfig(max_rounds=8, min_rounds=8)
    rounds = measure_sessions(job_of(FakeProfiler(clock), timing, sessions=2))
    again = measure_sessions(job_of(FakeProfiler(clock), timing, sessions=2), rounds)
    assert again == rounds


def test_repeats_share_the_budget_and_each_is_complete() -> None:
    clock = FakeClock()
    job = job_of(
        FakeProfiler(clock, visit_s=0.01), TimingConfig(budget_s=40.0), repeat=2, sessions=3
    )
    found = visits_by_part(measure_sessions(job))
    assert sorted(found) == list(range(6))
    first, second = (sum(found[3 * repeat + part] for part in range(3)) for repeat in (0, 1))
    assert 0.7 < first / second < 1.4
    assert clock.now <= 40.02


def test_measuring_ends_early_when_the_goal_is_met_and_the_budget_is_a_limit() -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, noise=0.001, visit_s=0.01)
    timing = TimingConfig(goal=0.02, budget_s=300.0, spend=False)
    rounds = measure_sessions(job_of(profiler, timing))
    assert clock.now < 60
    assert len(profiler.opened) == LEAST_SESSIONS
    assert all(item.converged for item in estimates(rounds, NAMES, timing))


def test_a_budget_that_is_a_wish_is_spent() -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, noise=0.001, visit_s=0.01)
    measure_sessions(job_of(profiler, TimingConfig(goal=0.02, budget_s=30.0)))
    assert clock.now > 29
    assert len(profiler.opened) == 8


def test_sessions_that_differ_are_all_needed_before_the_goal_counts_as_met() -> None:
    clock = FakeClock()
    profiler = FakeProfiler(clock, noise=0.001, visit_s=0.01, offset=0.02)
    timing = TimingConfig(goal=0.01, budget_s=60.0, spend=False)
    rounds = measure_sessions(job_of(profiler, timing))
    assert len(profiler.opened) == 8
    widths = [item.interval.relative for item in estimates(rounds, NAMES, timing)]
    assert np.median(widths) > 0.01


def test_the_intervals_of_several_sessions_hold_the_true_costs() -> None:
    """What building changes, a percent and a half for each op and for all together, is in them."""
    inside = []
    for seed in range(12):
        clock = FakeClock()
        profiler = FakeProfiler(clock, noise=0.005, visit_s=0.01, offset=0.015, seed=100 * seed)
        timing = TimingConfig(min_rounds=24, max_rounds=24)
        rounds = measure_sessions(job_of(profiler, timing))
        for workload, item in zip(WORKLOADS, estimates(rounds, NAMES, timing), strict=True):
            truth = profiler.cost_ms(workload)
            inside.append(item.interval.low <= truth <= item.interval.high)
    assert np.mean(inside) >= 0.92


class _Sleepy(FakeProfiler):
    """Its machine sleeps for 100 s once, in the third session."""

    def open(self, workloads: Sequence[Workload]) -> FakeSession:
        session = super().open(workloads)
        if len(self.opened) == 3:
            session.jumps = [70]
        return session


def test_a_machine_that_slept_gives_the_same_costs() -> None:
    clock = FakeClock()
    timing = TimingConfig(min_rounds=24, max_rounds=24, segment=2)
    rounds = measure_sessions(job_of(_Sleepy(clock, visit_s=0.01), timing))
    for workload, item in zip(WORKLOADS, estimates(rounds, NAMES, timing), strict=True):
        assert item.interval.estimate == pytest.approx(cost(workload), rel=0.01)


def cost(workload: Workload) -> float:
    return FakeProfiler(FakeClock()).cost_ms(workload)


def test_a_cpu_is_followed_closely_and_other_devices_as_asked() -> None:
    asked = TimingConfig(segment=10, neighbours=1)
    close = fine_timing(asked, {"device_kind": "cpu", "metric": "latency"})
    assert (close.segment, close.neighbours) == (2, 3)
    assert close.round_s > 0
    for kind, metric in (("mobile", "latency"), ("gpu", "latency"), ("cpu", "energy")):
        assert fine_timing(asked, {"device_kind": kind, "metric": metric}) == asked
