"""Networks measured beside a table's anchors, on a made-up machine that has changed its speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fake_host import FakeClock, FakeProfiler, Unsteady, called_ms

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors import measured
from proxyless_hw.predictors.measured import at_table_speed, measuring_for
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.networks import measure_workloads
from proxyless_hw.profilers.protocol.measurement import Anchors, Measurement, Measuring
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.anchors import ANCHORS_KEY, choose_anchors, format_anchors
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE = SearchSpace.load("cifar-mbconv")
ARCHS = [Architecture.from_choices(SPACE, [index] * len(SPACE.slots)) for index in (0, 1)]
WORKLOADS = [Workload(f"net {index}", arch=arch) for index, arch in enumerate(ARCHS)]
ENTRIES = {op: Entry(called_ms(Workload("x", op=op))) for op in SPACE.ops()}
TABLE = LatencyTable(
    ENTRIES,
    {
        **FakeProfiler(FakeClock()).describe(),
        ANCHORS_KEY: format_anchors(choose_anchors(ENTRIES)),
    },
    "mine.csv",
)
TIMING = TimingConfig(goal=0.01, budget_s=30.0, spend=False)


def measure(profiler: FakeProfiler, **changes: object) -> list[Measurement]:
    how = replace(Measuring(timing=TIMING, anchors=Anchors.of(TABLE)), **changes)  # type: ignore[arg-type]
    return measure_workloads(WORKLOADS, how, profiler=profiler, clock=profiler.clock)


@pytest.mark.parametrize("slowdown", [2.0, 1.0, 0.8])
def test_values_come_out_at_the_tables_speed(slowdown: float) -> None:
    profiler = FakeProfiler(FakeClock(), noise=0.01, slowdown=lambda _: slowdown)
    for workload, item in zip(WORKLOADS, measure(profiler), strict=True):
        truth = called_ms(workload)
        assert item.table_speed is not None
        assert item.table_speed.machine_speed == pytest.approx(1 / slowdown, rel=0.01)
        assert item.table_speed.median == pytest.approx(truth, rel=0.01)
        assert item.median == pytest.approx(slowdown * truth, rel=0.01)
        assert item.table_speed.ci_low <= truth <= item.table_speed.ci_high
        assert at_table_speed(item)[0] == item.table_speed.median


def test_table_speed_holds_on_a_restless_machine_too() -> None:
    """Its undisturbed speed is half the table's, and it is disturbed more than half of the time."""
    wandering = Unsteady(3)
    profiler = FakeProfiler(
        FakeClock(), noise=0.01, visit_s=0.01, slowdown=lambda now: 2 * wandering(now)
    )
    timing = replace(TIMING, budget_s=60.0, spend=True)
    for workload, item in zip(WORKLOADS, measure(profiler, timing=timing), strict=True):
        assert item.table_speed is not None
        assert item.table_speed.median == pytest.approx(called_ms(workload), rel=0.02)


def test_intervals_hold_the_truth_where_every_building_moves_costs() -> None:
    """Between runs and processes: the anchors' own placement is in the interval."""
    inside, widths = [], []
    for seed in range(50):
        profiler = FakeProfiler(
            FakeClock(), noise=0.005, offset=0.01, visit_s=0.02, seed=100 * seed
        )
        for workload, item in zip(WORKLOADS, measure(profiler), strict=True):
            speed = item.table_speed
            assert speed is not None
            inside.append(speed.ci_low <= called_ms(workload) <= speed.ci_high)
            widths.append((speed.ci_high - speed.ci_low) / 2 / speed.median)
    assert np.mean(inside) >= 0.9
    assert np.median(widths) < 0.015


def test_the_reference_and_the_anchors_are_measured_and_not_reported() -> None:
    profiler = FakeProfiler(FakeClock())
    found = measure(profiler)
    assert [item.name for item in found] == [workload.name for workload in WORKLOADS]
    beside = [name for name in profiler.opened[0] if name.startswith("anchor ")]
    assert len(beside) >= 5
    assert any(name.startswith("reference ") for name in profiler.opened[0])


def test_without_anchors_there_is_only_the_raw_value() -> None:
    for item in measure(FakeProfiler(FakeClock()), anchors=None):
        assert item.table_speed is None
        assert at_table_speed(item) == (item.median, item.ci_low, item.ci_high)


def test_little_time_gives_wide_intervals_and_no_failure() -> None:
    profiler = FakeProfiler(FakeClock(), visit_s=0.2)
    for item in measure(profiler, timing=replace(TIMING, budget_s=8.0)):
        assert item.table_speed is not None
        assert item.table_speed.ci_low <= item.table_speed.median <= item.table_speed.ci_high
        assert not item.converged
    assert profiler.clock.now <= 8.7


def test_anchors_that_time_did_not_reach_are_done_without() -> None:
    """Files come first; what the anchors that were reached differ by is then in the interval."""
    profiler = FakeProfiler(FakeClock(), visit_s=1.2)
    for workload, item in zip(
        WORKLOADS, measure(profiler, timing=replace(TIMING, budget_s=2.0)), strict=True
    ):
        assert item.table_speed is not None
        assert item.table_speed.median == pytest.approx(called_ms(workload), rel=0.01)
    (session,) = profiler.sessions
    visited = [index for order in session.orders for index in order]
    anchors = len(session.costs_ms) - len(WORKLOADS) - 1
    assert {0, 1} <= set(visited[:3])  # the files, after the reference
    assert len(set(visited) - {0, 1, len(session.costs_ms) - 1}) < anchors


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the device here says of itself, beyond the made-up profiler's description."""
    header: dict[str, str] = {}
    monkeypatch.setattr(
        measured, "get_profiler", lambda *_: FakeProfiler(FakeClock(), header=header)
    )
    return header


def test_a_tables_own_setting_is_measured_under(here: dict[str, str]) -> None:
    how = measuring_for(TABLE, budget_s=5.0)
    assert how.device == "cpu"
    assert how.anchors == Anchors.of(TABLE)
    assert how.timing.budget_s == 5.0
    assert not how.timing.spend


@pytest.mark.parametrize(
    ("key", "then", "now"),
    [
        ("threads", "1", "4"),
        ("precision", "fp32", "int8"),
        ("batch_size", "1", "8"),
        ("runtime", "made-up", "litert"),
        ("device", "made-up device", "another"),
        ("cache", "network 22 MB", "hot"),
        ("cache", "network 22 MB", "network 0.5 MB"),
        ("delegate", "xnnpack", "none"),
    ],
)
def test_another_setting_is_refused_with_both_values(
    here: dict[str, str], key: str, then: str, now: str
) -> None:
    here[key] = now
    with pytest.raises(PredictorError, match=f"{key} '{then}', here it is '{now}'"):
        measuring_for(TABLE.with_metadata(**{key: then}))


@pytest.mark.parametrize("key", ["cache", "delegate"])
def test_a_table_that_does_not_tell_an_option_is_not_refused_for_it(
    here: dict[str, str], key: str
) -> None:
    here[key] = "hot"
    assert measuring_for(TABLE).anchors is not None
