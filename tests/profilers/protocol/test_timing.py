"""The measurement protocol on a made-up device with a made-up clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from fake_host import FakeClock, FakeSession

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Visit, Workload
from proxyless_hw.profilers.protocol.drift import Round, reference_values
from proxyless_hw.profilers.protocol.plan import ALONE, Plan, SessionPlace
from proxyless_hw.profilers.protocol.stopping import visit_counts
from proxyless_hw.profilers.protocol.timing import Measurements, Progress, TimingConfig, measure
from proxyless_hw.space.specs import OpSpec

COSTS = [0.1 * 1.3**index for index in range(24)]
WORKLOADS = [
    Workload(f"op {index}", op=OpSpec("conv", 8, 8, index + 1, 8, 8, 8))
    for index in range(len(COSTS))
]
REFERENCE = 7


def run(
    session: FakeSession,
    clock: FakeClock,
    config: TimingConfig,
    place: SessionPlace = ALONE,
    *,
    importance: Sequence[float] | None = None,
    turns: Mapping[str, int] | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_round: Callable[[Round], None] | None = None,
) -> Measurements:
    plan = Plan(
        workloads=WORKLOADS[: len(session.costs_ms)],
        reference=REFERENCE,
        config=config,
        importance=importance,
        turns=turns or {},
    )
    return measure(session, plan, place, clock=clock, progress=progress, on_round=on_round)


def errors(measured: Measurements, costs: list[float]) -> np.ndarray:
    values = np.array([estimate.interval.estimate for estimate in measured.estimates])
    return values / np.array(costs) - 1


def test_costs_are_recovered_without_noise() -> None:
    clock = FakeClock()
    measured = run(FakeSession(clock, COSTS), clock, TimingConfig())
    assert np.abs(errors(measured, COSTS)).max() < 1e-12
    assert all(estimate.converged for estimate in measured.estimates)


def test_each_round_has_an_order_of_its_own_and_a_reference_every_ten_ops() -> None:
    clock = FakeClock()
    session = FakeSession(clock, COSTS)
    run(session, clock, TimingConfig(min_rounds=3, max_rounds=3))
    sizes = [len(order) for order in session.orders]
    # Each reference stands after one stretch and before the next.
    assert sizes == [12, 11, 5, 11, 11, 5, 11, 11, 5]
    assert all(order[-1] == REFERENCE for order in session.orders)
    visited = []
    for start in (0, 3, 6):
        first, second, third = session.orders[start : start + 3]
        leading = 1 if start == 0 else 0
        assert first[:leading] == [REFERENCE] * leading
        visited.append(first[leading:-1] + second[:-1] + third[:-1])
    assert all(sorted(order) == list(range(len(COSTS))) for order in visited)
    assert visited[0] != visited[1] != visited[2]


def test_what_has_several_turns_is_visited_so_often_once_all_were_seen() -> None:
    clock = FakeClock()
    config = TimingConfig(goal=1e-6, goal_absolute=1e-9, min_rounds=3, max_rounds=9)
    noisy = FakeSession(clock, COSTS, noise=0.1)
    measured = run(noisy, clock, config, turns={"op 3": 4})
    first, second, *_ = measured.rounds
    assert visit_counts([first], ["op 3", "op 4"]) == {"op 3": 1, "op 4": 1}
    assert visit_counts([second], ["op 3", "op 4"]) == {"op 3": 4, "op 4": 1}


def test_a_slow_drift_is_taken_out_and_the_raw_values_stay() -> None:
    """The machine gets 40% slower; ops keep their ratios to each other."""

    def slowdown(now: float) -> float:
        return 1.0 + 0.4 * min(1.0, now / 3.0)

    outcomes = {}
    for corrects in (True, False):
        clock = FakeClock()
        session = FakeSession(clock, COSTS, slowdown=slowdown, noise=0.002)
        config = TimingConfig(correct_drift=corrects, min_rounds=12, max_rounds=12)
        measured = run(session, clock, config)
        ratios = errors(measured, COSTS)
        outcomes[corrects] = (
            ratios.max() - ratios.min(),
            np.median([estimate.interval.relative for estimate in measured.estimates]),
        )
        assert all(estimate.raw > 0 for estimate in measured.estimates)
    assert outcomes[True][0] < 0.01
    assert outcomes[True][1] < 0.01
    assert outcomes[False][1] > 0.05


def test_a_disturbed_segment_is_kept_and_counts_less() -> None:
    """Nothing is measured again and nothing pauses: on a restless machine most of it would be."""
    clock = FakeClock()
    slow = FakeSession(clock, COSTS, slowdown=lambda now: 1.5 if 0.3 < now < 0.9 else 1.0)
    config = TimingConfig(min_rounds=8, max_rounds=8)
    measured = run(slow, clock, config)
    assert len(slow.orders) == 8 * 3
    assert clock.now == pytest.approx(0.01 * sum(map(len, slow.orders)))
    assert sum(len(s.names) for record in measured.rounds for s in record.segments) == 8 * 24
    assert np.abs(errors(measured, COSTS)).max() < 0.01


def test_a_visit_in_the_middle_of_a_disturbance_that_the_reference_missed_is_outvoted() -> None:
    clock = FakeClock()
    session = FakeSession(clock, COSTS, slowdown=lambda now: 3.0 if 0.315 < now < 0.345 else 1.0)
    measured = run(session, clock, TimingConfig(min_rounds=7, max_rounds=7))
    assert np.abs(errors(measured, COSTS)).max() < 0.01


def test_quiet_ops_stop_early_and_noisy_ones_go_on() -> None:
    clock = FakeClock()
    noise = [0.002] * 12 + [0.05] * 12
    session = FakeSession(clock, COSTS, noise=noise)
    measured = run(session, clock, TimingConfig(goal=0.02, max_rounds=200, segment=2))
    rounds = [estimate.rounds for estimate in measured.estimates]
    assert np.median(rounds[12:]) > 2 * np.median(rounds[:12])
    assert all(estimate.interval.relative <= 0.02 for estimate in measured.estimates)


def test_two_microseconds_are_close_enough() -> None:
    clock = FakeClock()
    costs = [0.005] * 8
    session = FakeSession(clock, costs, noise=[0.2] * 7 + [0.0])
    measured = run(session, clock, TimingConfig(goal=0.001, max_rounds=60))
    assert all(estimate.converged for estimate in measured.estimates)
    assert any(estimate.interval.relative > 0.001 for estimate in measured.estimates)


def test_an_op_that_never_converges_is_flagged_and_kept() -> None:
    clock = FakeClock()
    noise = [0.001] * 23 + [0.8]
    measured = run(FakeSession(clock, COSTS, noise=noise), clock, TimingConfig(max_rounds=20))
    assert [estimate.converged for estimate in measured.estimates] == [True] * 23 + [False]
    assert measured.estimates[-1].rounds == 20


def test_the_budget_is_kept_and_left_over_time_is_used() -> None:
    clock = FakeClock()
    session = FakeSession(clock, COSTS, noise=0.004)
    measured = run(session, clock, TimingConfig(budget_s=20.0, max_rounds=1000))
    assert 19.0 < clock.now <= 20.0 + 1e-9
    assert measured.seconds == clock.now


def test_the_budget_counts_from_the_start_it_is_given() -> None:
    clock = FakeClock()
    clock.now = 8.0
    session = FakeSession(clock, COSTS, noise=0.004)
    run(session, clock, TimingConfig(budget_s=10.0), SessionPlace(started=0.0))
    assert clock.now <= 10.0 + 1e-9


def test_left_over_budget_goes_where_the_space_gains_most() -> None:
    clock = FakeClock()
    importance = [0.0] * 23 + [10.0]
    session = FakeSession(clock, COSTS, noise=0.01)
    config = TimingConfig(budget_s=30.0, max_rounds=1000)
    measured = run(session, clock, config, importance=importance)
    rounds = [estimate.rounds for estimate in measured.estimates]
    assert rounds[-1] > 3 * np.median(rounds[:-1])


def test_workloads_that_the_budget_did_not_reach_are_left_out() -> None:
    """The caller knows what its other sessions have seen, and whether that is an error."""
    clock = FakeClock()
    session = FakeSession(clock, COSTS, visit_s=1.0)
    measured = run(session, clock, TimingConfig(budget_s=13.0))
    assert clock.now <= 13.0
    assert [len(record.segments) for record in measured.rounds] == [1]
    assert len(measured.estimates) == 10
    assert {item.interval.relative for item in measured.estimates} == {1.0}


def test_what_no_session_has_seen_comes_first_and_may_take_the_whole_budget() -> None:
    """A session's share of the budget is over; the op that is missing everywhere is measured."""
    clock = FakeClock()
    config = TimingConfig(segment=2, min_rounds=1, max_rounds=1, budget_s=10.0)
    first = run(FakeSession(clock, COSTS, visit_s=0.4), clock, config)
    seen = {item.name for item in first.estimates}
    assert 0 < len(seen) < len(COSTS)
    session = FakeSession(clock, COSTS, visit_s=0.4)
    place = SessionPlace(part=1, earlier=first.rounds, started=0.0, hard_deadline=60.0)
    second = run(session, clock, config, place)
    assert len(second.estimates) == len(COSTS)
    own = [segment.names for segment in second.rounds[-1].segments]
    order = [name for names in own for name in names]
    assert set(order[: len(COSTS) - len(seen)]) == {f"op {i}" for i in range(24)} - seen


def test_what_was_seen_once_has_a_deadline_of_its_own_for_the_second_visit() -> None:
    def visits(place: SessionPlace) -> tuple[int, float]:
        clock = FakeClock()
        measured = run(FakeSession(clock, COSTS, visit_s=0.1), clock, config, place)
        return min(item.rounds for item in measured.estimates), clock.now

    config = TimingConfig(segment=2, min_rounds=3, max_rounds=9, budget_s=0.5)
    late = SessionPlace(started=0.0, hard_deadline=20.0, second_deadline=4.0)
    assert visits(SessionPlace(started=0.0, hard_deadline=20.0))[0] == 1
    assert visits(late)[0] == 1  # a second one does not fit
    enough = SessionPlace(started=0.0, hard_deadline=20.0, second_deadline=10.0)
    found, seconds = visits(enough)
    assert found == 2
    assert seconds < 10


def test_measuring_ends_early_when_all_are_known_and_the_budget_is_a_limit() -> None:
    clock = FakeClock()
    config = TimingConfig(budget_s=500.0, spend=False, goal=0.02)
    measured = run(FakeSession(clock, COSTS, noise=0.002), clock, config)
    assert clock.now < 15
    assert all(item.converged for item in measured.estimates)
    whole = FakeClock()
    wish = TimingConfig(budget_s=20.0, goal=0.02)
    run(FakeSession(whole, COSTS, noise=0.002), whole, wish)
    assert whole.now > 19


def test_a_round_holds_several_passes_where_one_is_shorter_than_it() -> None:
    """The journal is synced to disk once a round; a pass over small ops takes milliseconds."""
    clock = FakeClock()
    session = FakeSession(clock, COSTS, visit_s=0.001)
    kept: list[Round] = []
    config = TimingConfig(min_rounds=40, max_rounds=40, round_s=0.2)
    run(session, clock, config, on_round=kept.append)
    visits = [sum(len(segment.names) for segment in record.segments) for record in kept]
    assert sum(visits) == 40 * 24
    assert visits[0] == 24  # the first pass is on disk at once
    assert max(visits) > 5 * 24


def test_a_measurement_goes_on_from_earlier_rounds() -> None:
    clock = FakeClock()
    config = TimingConfig(min_rounds=6, max_rounds=6)
    kept: list[Round] = []
    run(
        FakeSession(clock, COSTS),
        clock,
        TimingConfig(min_rounds=2, max_rounds=2),
        on_round=kept.append,
    )
    session = FakeSession(clock, COSTS)
    measured = run(session, clock, config, SessionPlace(earlier=kept))
    assert measured.rounds[:2] == tuple(kept)
    assert len(measured.rounds) == 6
    assert sum(len(order) for order in session.orders) < 6 * 28


def test_going_on_gives_what_an_unbroken_measurement_gives() -> None:
    clock = FakeClock()
    config = TimingConfig(min_rounds=6, max_rounds=6)
    unbroken = run(FakeSession(clock, COSTS), clock, config)
    place = SessionPlace(earlier=unbroken.rounds[:2])
    again = run(FakeSession(clock, COSTS), clock, config, place)
    assert again.rounds == unbroken.rounds


def test_progress_counts_up_and_time_left_runs_out() -> None:
    clock = FakeClock()
    seen: list[Progress] = []
    session = FakeSession(clock, COSTS, noise=0.01)
    run(session, clock, TimingConfig(budget_s=15.0), progress=seen.append)
    assert seen[0].rounds < seen[-1].rounds
    assert seen[0].left_s > seen[-1].left_s
    assert seen[-1].total == len(COSTS)


class _Broken(FakeSession):
    value = 0.0

    def _visit(self, index: int) -> Visit:
        visit = super()._visit(index)
        if index != 3:
            return visit
        return Visit(self.value, visit.min, visit.p90, visit.calls)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_value_that_is_no_time_is_refused_by_name(value: float) -> None:
    clock = FakeClock()
    session = _Broken(clock, COSTS)
    session.value = value
    with pytest.raises(ProfilingError, match="op 3 gave"):
        run(session, clock, TimingConfig())


def test_without_a_reference_nothing_is_corrected() -> None:
    clock = FakeClock()
    session = FakeSession(clock, COSTS[:4])
    plan = Plan(workloads=WORKLOADS[:4], reference=None, config=TimingConfig())
    measured = measure(session, plan, clock=clock)
    assert np.abs(errors(measured, COSTS[:4])).max() < 1e-12
    assert reference_values(measured.rounds) == []


def test_p90_and_minimum_come_from_single_samples() -> None:
    clock = FakeClock()
    measured = run(FakeSession(clock, COSTS), clock, TimingConfig())
    first = measured.estimates[0]
    assert first.min == pytest.approx(COSTS[0] * 0.99)
    assert first.p90 == pytest.approx(COSTS[0] * 1.02)


def test_p90_and_minimum_are_on_the_scale_of_the_estimate() -> None:
    """An op seen only while the machine was slow: its smallest sample is no more than its value."""
    clock = FakeClock()
    session = FakeSession(clock, COSTS, slowdown=lambda now: 1.0 + min(1.0, now / 0.2))
    config = TimingConfig(min_rounds=1, max_rounds=1)
    measured = run(session, clock, config)
    raw = np.array([estimate.raw for estimate in measured.estimates])
    assert max(raw / COSTS) > 1.5
    for estimate in measured.estimates:
        assert estimate.min <= estimate.interval.estimate <= estimate.p90
        assert estimate.min == pytest.approx(0.99 * estimate.interval.estimate)
        assert estimate.p90 == pytest.approx(1.02 * estimate.interval.estimate, rel=0.01)


@pytest.mark.parametrize(
    ("field", "value"), [("goal", 0.0), ("goal", 1.5), ("budget_s", -1.0), ("budget_s", math.inf)]
)
def test_a_setting_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(ProfilingError, match="received"):
        TimingConfig(**{field: value})  # type: ignore[arg-type]
