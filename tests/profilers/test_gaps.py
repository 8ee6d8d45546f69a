"""Filling the gaps of a table: what is measured, and at which speed its rows join."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_host import FakeClock, FakeProfiler, called_ms, row_ms
from tiny_profiles import config_for, run

from proxyless_hw.errors import TableError
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.models.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.profile import profile
from proxyless_hw.profilers.profiled_table import OVERHEAD_KEY
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.anchors import ANCHORS_KEY, anchors_of, format_anchors
from proxyless_hw.tables.table import Entry, LatencyTable


def test_gaps_are_filled_and_the_rest_is_kept(tiny: Path) -> None:
    first = config_for(tiny)
    table, _, _ = run(first)
    output = tiny.parent / "filled.csv"
    filled, profiler, _ = run(
        config_for(tiny, output=output, missing_from=str(first.output), resolutions=(32, 64))
    )
    space = SearchSpace.load(tiny)
    new = [op for op in space.ops(64) if op not in table]
    beside = {op.key for op in anchors_of(table)} | {REFERENCE_OP.key, IDENTITY.name}
    assert set(profiler.opened[0]) == {op.key for op in new} | beside
    assert filled.missing(space.ops(64) + space.ops(32)) == []
    assert all(filled.entries[op] == entry for op, entry in table.entries.items())


def test_rows_join_at_the_tables_speed(tiny: Path) -> None:
    """The machine is 1.5 times slower than when the table was made."""
    first = config_for(tiny, sessions=3)
    table, _, _ = run(first)
    clock = FakeClock()
    slower = FakeProfiler(clock, slowdown=lambda _: 1.5)
    config = config_for(
        tiny,
        output=tiny.parent / "filled.csv",
        missing_from=str(first.output),
        resolutions=(32, 64),
        sessions=3,
    )
    filled = profile(config, profiler=slower, clock=clock)
    added = [op for op in filled.entries if op not in table]
    assert len(added) > 3
    for op in added:
        entry = filled.entries[op]
        assert entry.value == pytest.approx(row_ms(op), rel=0.01)
        assert entry.ci_low is not None
        assert entry.ci_high is not None
        assert entry.p90 is not None
        assert entry.min is not None
        assert entry.ci_low < entry.value < entry.ci_high
        assert entry.min <= entry.value <= entry.p90
    assert "0.667" in filled.metadata["filled"]
    assert filled.metadata[ANCHORS_KEY] == table.metadata[ANCHORS_KEY]


def test_rows_hold_how_well_the_speed_is_known(tiny: Path) -> None:
    """The anchors of one of the tables say different things of the machine's speed."""
    first = config_for(tiny, sessions=3)
    table, _, _ = run(first)
    anchors = {
        op: value * (1 + 0.05 * place)
        for place, (op, value) in enumerate(anchors_of(table).items())
    }
    scattered = tiny.parent / "scattered.csv"
    table.with_metadata(**{ANCHORS_KEY: format_anchors(anchors)}).save(scattered)
    widths = []
    for base in (first.output, scattered):
        output = tiny.parent / f"from-{Path(base).name}"
        filled, _, _ = run(
            config_for(
                tiny, output=output, missing_from=str(base), resolutions=(32, 64), sessions=3
            )
        )
        added = [filled.entries[op] for op in filled.entries if op not in table]
        widths.append([(entry.half_width or 0.0) for entry in added])
    assert all(wide > narrow + 0.03 for narrow, wide in zip(*widths, strict=True))


def test_a_table_without_anchors_gives_some_of_its_rows(tiny: Path) -> None:
    """An older table: rows of it are measured again, and stand in its header from now on."""
    first = config_for(tiny, sessions=3)
    table, _, _ = run(first)
    new = (ANCHORS_KEY, OVERHEAD_KEY)
    header = {key: value for key, value in table.metadata.items() if key not in new}
    called = {op: Entry(called_ms(Workload("x", op=op))) for op in table.entries}
    older = tiny.parent / "older.csv"
    LatencyTable(called, header).save(older)
    clock = FakeClock()
    config = config_for(
        tiny, output=tiny.parent / "f.csv", missing_from=str(older), num_classes=7, sessions=3
    )
    half_speed = FakeProfiler(clock, slowdown=lambda _: 2.0)
    filled = profile(config, profiler=half_speed, clock=clock)
    (added,) = (op for op in filled.entries if op not in table)
    # Its rows hold the call of the runtime, so the new ones do.
    truth = called_ms(Workload("x", op=added))
    assert filled.entries[added].value == pytest.approx(truth, rel=0.01)
    assert len(anchors_of(filled)) >= 5
    assert set(anchors_of(filled)) <= set(table.entries)


def test_an_anchor_that_the_table_has_lost_is_still_an_anchor(tiny: Path) -> None:
    """Its row is gone, so it is measured as a gap; its cost then stands in the header."""
    first = config_for(tiny, sessions=3)
    table, _, _ = run(first)
    lost = next(iter(anchors_of(table)))
    entries = {op: entry for op, entry in table.entries.items() if op != lost}
    LatencyTable(entries, table.metadata).save(tiny.parent / "lost.csv")
    clock = FakeClock()
    config = config_for(
        tiny, output=tiny.parent / "f.csv", missing_from=str(tiny.parent / "lost.csv"), sessions=3
    )
    slower = FakeProfiler(clock, slowdown=lambda _: 1.5)
    filled = profile(config, profiler=slower, clock=clock)
    assert filled.entries[lost].value == pytest.approx(table.entries[lost].value, rel=0.01)


def test_a_table_that_has_lost_all_its_anchors_gives_some_of_its_other_rows(tiny: Path) -> None:
    first = config_for(tiny, sessions=3, resolutions=(32, 48))
    table, _, _ = run(first)
    lost = anchors_of(table)
    entries = {op: entry for op, entry in table.entries.items() if op not in lost}
    LatencyTable(entries, table.metadata).save(tiny.parent / "lost.csv")
    assert entries
    clock = FakeClock()
    config = config_for(
        tiny,
        output=tiny.parent / "f.csv",
        missing_from=str(tiny.parent / "lost.csv"),
        resolutions=(32, 48),
        sessions=3,
    )
    slower = FakeProfiler(clock, slowdown=lambda _: 1.5)
    filled = profile(config, profiler=slower, clock=clock)
    for op in lost:
        assert filled.entries[op].value == pytest.approx(table.entries[op].value, rel=0.02)


def test_a_table_may_be_filled_in_place(tiny: Path) -> None:
    config = config_for(tiny)
    run(config)
    filled, _, _ = run(
        replace(config, missing_from=str(config.output), num_classes=3, resume=False),
    )
    assert len(filled) == len(SearchSpace.load(tiny).ops(32)) + 1


def test_gaps_are_not_filled_under_another_setting(tiny: Path) -> None:
    config = config_for(tiny)
    table, _, _ = run(config)
    other = tiny.parent / "other.csv"
    table.with_metadata(threads="4").save(other)
    with pytest.raises(TableError, match="threads"):
        run(config_for(tiny, output=tiny.parent / "n.csv", missing_from=str(other), num_classes=3))


@pytest.mark.parametrize(("key", "now"), [("cache", "hot"), ("delegate", "none")])
def test_gaps_are_not_filled_under_other_device_options(tiny: Path, key: str, now: str) -> None:
    config = config_for(tiny)
    table, _, _ = run(config)
    other = tiny.parent / "other.csv"
    table.with_metadata(**{key: "as it was"}).save(other)
    clock = FakeClock()
    gaps = config_for(tiny, output=tiny.parent / "n.csv", missing_from=str(other), num_classes=3)
    with pytest.raises(TableError, match=f"{key} 'as it was', this run '{now}'"):
        profile(gaps, profiler=FakeProfiler(clock, header={key: now}), clock=clock)
    run(gaps)  # a device that does not tell
