"""What the reference says of the machine's speed, on machines whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from fake_host import FakeClock, FakeSession, Unsteady

from proxyless_hw.profilers.base import Visit, Workload
from proxyless_hw.profilers.protocol.drift import (
    CLEAN,
    Round,
    Samples,
    Segment,
    collect,
    drift_of,
    reference_values,
)
from proxyless_hw.profilers.protocol.estimates import (
    PREEMPTED,
    disturbed_share,
    estimates,
    reference_drift,
)
from proxyless_hw.profilers.protocol.plan import Plan, SessionPlace
from proxyless_hw.profilers.protocol.timing import Measurements, TimingConfig, measure

COSTS = [0.1 * 1.3**index for index in range(16)]
REFERENCE = 5
# Close references, as on a CPU; every workload reacts to a disturbance in its own way.
CLOSE = TimingConfig(segment=2, neighbours=3, min_rounds=24, max_rounds=24)
SESSIONS = 6
SENSITIVITY = np.linspace(0.6, 1.3, len(COSTS)).tolist()


def visit(value: float) -> Visit:
    return Visit(value, value, value, 1)


def segments(*references: float) -> list[Segment]:
    """One visit to workload `a` between each two references."""
    return [
        Segment(("a",), (visit(after),), before, after) for before, after in pairwise(references)
    ]


def measured(slowdown: Callable[[float], float], seed: int) -> Measurements:
    """Six sessions of seven seconds."""
    clock = FakeClock()
    session = FakeSession(
        clock,
        COSTS,
        slowdown=slowdown,
        noise=0.01,
        visit_s=0.012,
        sensitivity=SENSITIVITY,
        seed=seed,
    )
    workloads = [Workload(f"op {index}") for index in range(len(COSTS))]
    plan = Plan(workloads=workloads, reference=REFERENCE, config=CLOSE)
    found = measure(session, plan, clock=clock)
    for part in range(1, SESSIONS):
        place = SessionPlace(part=part, earlier=found.rounds)
        found = measure(session, plan, place, clock=clock)
    return found


def test_a_restless_machine_and_a_quiet_one_give_the_same_costs() -> None:
    """Speed by a factor of up to two, changing within a second; ops react differently to it."""
    quiet = measured(lambda _: 1.0, 0).estimates
    raw, found, overlap = [], [], []
    for seed in range(5):
        restless = measured(Unsteady(seed), seed).estimates
        for one, two in zip(quiet, restless, strict=True):
            raw.append(abs(two.raw / one.raw - 1))
            found.append(abs(two.interval.estimate / one.interval.estimate - 1))
            overlap.append(
                one.interval.low <= two.interval.high and two.interval.low <= one.interval.high
            )
    assert np.median(raw) > 0.05
    assert np.median(found) < 0.01
    assert np.mean(overlap) > 0.8


def test_the_undisturbed_speed_is_the_lower_fifth_and_not_the_middle() -> None:
    """Half of a session was disturbed: what was not is where it would be in a quiet one."""
    drift = drift_of(segments(*[1.0] * 11, *[1.5] * 11), neighbours=1)
    assert drift[:10] == pytest.approx(np.zeros(10), abs=1e-9)
    assert drift[-10:] == pytest.approx(np.full(10, np.log(1.5)), abs=1e-9)


def test_a_single_disturbed_reference_says_nothing_about_its_neighbours() -> None:
    """The median of several references around a segment, not the two beside it."""
    drift = drift_of(segments(*[1.0] * 6, 3.0, *[1.0] * 6), neighbours=3)
    assert np.abs(drift).max() < 1e-9


def test_a_session_without_a_reference_has_no_drift() -> None:
    alone = [Segment(("a",), (visit(value),)) for value in (1.0, 2.0)]
    assert drift_of(alone, 3).tolist() == [0.0, 0.0]
    assert reference_values([Round(tuple(alone))]) == []


def test_a_session_of_one_segment_has_no_drift() -> None:
    assert drift_of(segments(1.0, 1.4), 3) == pytest.approx([0.0], abs=1e-9)


def test_each_session_has_an_undisturbed_speed_of_its_own() -> None:
    """The reference of the second session lies elsewhere in memory: no error of the others."""
    rounds = [Round(tuple(segments(1.0, 1.0, 1.0)), 0), Round(tuple(segments(1.3, 1.3, 1.3)), 1)]
    (found,) = collect(rounds, ["a"], 1)
    assert found.drift == pytest.approx(np.zeros(4), abs=1e-9)
    assert found.parts.tolist() == [0, 0, 1, 1]


def test_a_stretch_that_was_dropped_is_not_bridged() -> None:
    """Segment's own reference before, where the one before that is not its neighbour."""
    broken = [*segments(1.0, 1.0), *segments(2.0, 2.0)]
    assert reference_values([Round(tuple(broken))]) == [1.0, 1.0, 2.0, 2.0]
    assert drift_of(broken, 1) == pytest.approx([0.0, np.log(2)], abs=0.2)


def samples(drift: list[float], parts: list[int] | None = None) -> Samples:
    return Samples(
        tuple(visit(1.0) for _ in drift),
        np.ones(len(drift)),
        np.array(drift),
        np.array(parts or [0] * len(drift)),
    )


def test_disturbed_visits_give_way_to_the_others() -> None:
    found = samples([0.0, 0.01, CLEAN, CLEAN + 0.01, 0.5])
    assert found.clean.tolist() == [True, True, True, False, False]
    assert [len(values) for values in found.log_values(True).values()] == [3]
    assert [len(values) for values in found.log_values(False).values()] == [5]


@pytest.mark.parametrize(("visits", "kept"), [(2, 2), (3, 3), (8, 3), (12, 3), (13, 4), (40, 10)])
def test_at_least_a_quarter_is_kept_of_a_session_that_was_disturbed_throughout(
    visits: int, kept: int
) -> None:
    drift = np.linspace(1.0, 0.3, visits)
    found = samples(drift.tolist())
    assert found.clean.sum() == kept
    assert found.clean[-kept:].all()  # the least disturbed ones


def test_a_quarter_is_kept_of_each_session_by_itself() -> None:
    found = samples([0.0] * 8 + [0.4] * 8, [0] * 8 + [1] * 8)
    assert found.clean[:8].all()
    assert found.clean[8:].sum() == 3


def test_values_are_corrected_to_undisturbed_speed() -> None:
    found = Samples((visit(3.0),), np.array([3.0]), np.array([np.log(1.5)]), np.array([0]))
    assert found.corrected == pytest.approx([2.0])


def test_drift_and_disturbed_share_say_how_restless_the_machine_was() -> None:
    quiet, restless = measured(lambda _: 1.0, 3), measured(Unsteady(3), 3)
    assert reference_drift(quiet.rounds, 3) < 0.05
    assert reference_drift(restless.rounds, 3) > 0.3
    assert disturbed_share(quiet.rounds, CLOSE) < 0.02
    assert 0.2 < disturbed_share(restless.rounds, CLOSE) < 0.75
    assert reference_drift([], 3) == disturbed_share([], CLOSE) == 0.0


def test_the_drift_of_a_level_is_not_counted_between_sessions() -> None:
    rounds = [Round(tuple(segments(1.0, 1.0, 1.0)), 0), Round(tuple(segments(2.0, 2.0, 2.0)), 1)]
    assert reference_drift(rounds, 1) == pytest.approx(0.0, abs=1e-9)


def test_uncorrected_estimates_are_the_raw_ones() -> None:
    rounds = [record for record in measured(Unsteady(1), 1).rounds if record.part == 0]
    names = [f"op {index}" for index in range(len(COSTS))]
    plain = TimingConfig(segment=2, neighbours=3, correct_drift=False)
    for item in estimates(rounds, names, plain):
        assert item.interval.estimate == pytest.approx(item.raw, rel=1e-3)


def test_a_workload_that_always_lost_its_processor_is_known_no_better_than_that() -> None:
    """Its visits may agree with each other: what ran in between used the caches in each of them."""
    lost = Visit(2.0, 2.0, 2.0, 1, preempted=True)
    rounds = [
        Round((Segment(("kept", "lost"), (visit(1.0), lost), 1.0, 1.0),) * 4, part)
        for part in range(4)
    ]
    kept, found = estimates(rounds, ["kept", "lost"], CLOSE)
    assert kept.interval.relative < 0.01
    assert found.interval.estimate == pytest.approx(2.0)
    assert found.interval.relative == pytest.approx(PREEMPTED, rel=0.1)
    assert not found.converged
