"""A clock that jumps while something is measured: the machine slept, or the process was stopped."""

from __future__ import annotations

import numpy as np
import pytest
from fake_host import FakeClock, FakeSession
from test_timing import COSTS, errors, run

from proxyless_hw.profilers.base import Visit, Workload
from proxyless_hw.profilers.protocol.plan import Plan
from proxyless_hw.profilers.protocol.timing import TimingConfig, measure


@pytest.mark.parametrize("place", [40, 60, 95])
def test_a_clock_that_jumps_is_noticed_and_the_stretch_dropped(place: int) -> None:
    """The machine slept for 100 s during one visit, in a later pass."""
    clock = FakeClock()
    session = FakeSession(clock, COSTS, noise=0.002, jumps=[place])
    config = TimingConfig(min_rounds=6, max_rounds=6, segment=3)
    measured = run(session, clock, config)
    assert measured.jumps == 1
    assert np.abs(errors(measured, COSTS)).max() < 0.01
    assert {item.rounds for item in measured.estimates} == {6}


def test_a_clock_that_jumps_at_a_first_visit_is_noticed_too() -> None:
    clock = FakeClock()
    session = FakeSession(clock, COSTS, jumps=[9])
    measured = run(session, clock, TimingConfig(min_rounds=2, max_rounds=2, segment=3))
    assert measured.jumps == 1
    assert np.abs(errors(measured, COSTS)).max() < 1e-9
    assert len(measured.estimates) == len(COSTS)


def test_a_jump_does_not_end_the_measurement_of_a_single_workload() -> None:
    """Its pass is one stretch: none is left of it, and the next one goes on."""
    clock = FakeClock()
    session = FakeSession(clock, [2.0, 1.0], jumps=[11])
    workloads = [Workload("net"), Workload("reference")]
    config = TimingConfig(min_rounds=20, max_rounds=20, segment=1)
    plan = Plan(workloads=workloads, reference=1, config=config, targets=["net"])
    measured = measure(session, plan, clock=clock)
    assert measured.jumps == 1
    assert [item.rounds for item in measured.estimates] == [20]
    assert measured.estimates[0].interval.estimate == pytest.approx(2.0)


class _Slower(FakeSession):
    """The last workload takes a minute a visit, the others hardly any time."""

    def _visit(self, index: int) -> Visit:
        if index == len(self.costs_ms) - 1:
            self.clock.now += 60.0
        return super()._visit(index)


def test_a_workload_that_takes_long_is_not_taken_for_a_jump_for_ever() -> None:
    clock = FakeClock()
    session = _Slower(clock, COSTS[:8])
    measured = run(session, clock, TimingConfig(min_rounds=3, max_rounds=3, segment=2))
    assert measured.jumps <= 1
    assert {item.rounds for item in measured.estimates} == {3}
