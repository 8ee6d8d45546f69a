"""Comparing, joining and checking tables."""

from __future__ import annotations

import pytest

from proxyless_hw.errors import TableError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.check import missing_ops, pricing_shape
from proxyless_hw.tables.diff import compare
from proxyless_hw.tables.merge import merge
from proxyless_hw.tables.summary import summarise
from proxyless_hw.tables.table import Entry, LatencyTable

SETTING = {
    **{"metric": "latency", "unit": "ms", "device": "a phone", "runtime": "tflite"},
    **{"threads": "1", "batch_size": "1", "precision": "fp32", "statistic": "median"},
}


def conv(width: int) -> OpSpec:
    return OpSpec("conv", 8, 8, 3, 4, 4, width, kernel=3, stride=2, act="relu6")


def table(values: dict[int, float | Entry], name: str = "t", **header: str) -> LatencyTable:
    entries = {
        conv(width): value
        if isinstance(value, Entry)
        else Entry(value, value * 0.99, value * 1.01, rounds=9)
        for width, value in values.items()
    }
    return LatencyTable(entries, {**SETTING, **header}, name)


def test_a_change_beyond_both_intervals_is_significant() -> None:
    diff = compare(table({8: 1.0, 16: 2.0}), table({8: 1.2, 16: 2.001}))
    assert [change.verdict for change in diff.changes] == ["higher", "same"]
    assert diff.changes[0].change == pytest.approx(0.2)


def with_anchors(found: LatencyTable) -> LatencyTable:
    anchors = "; ".join(f"{op.key}={entry.value}" for op, entry in found.entries.items())
    return found.with_metadata(anchors=anchors)


def test_at_table_speed_a_slower_machine_changes_no_op() -> None:
    before = with_anchors(table({8: 1.0, 16: 2.0, 24: 3.0, 32: 4.0, 40: 5.0}))
    after = with_anchors(table({8: 1.5, 16: 3.0, 24: 4.5, 32: 6.0, 40: 9.0}))
    raw = compare(before, after)
    assert raw.machine_speed is None
    assert all(change.verdict == "higher" for change in raw.changes)
    found = compare(before, after, at_table_speed=True)
    assert found.machine_speed == pytest.approx(1 / 1.5)
    assert [change.verdict for change in found.changes] == ["same"] * 4 + ["higher"]
    assert found.changes[-1].change == pytest.approx(0.2)


def test_at_table_speed_needs_anchors_and_one_setting() -> None:
    plain = table({8: 1.0})
    with pytest.raises(TableError, match="share no anchors"):
        compare(plain, plain, at_table_speed=True)
    other = with_anchors(table({8: 1.0}, threads="4"))
    with pytest.raises(TableError, match="threads is '1' and '4'"):
        compare(with_anchors(plain), other, force=True, at_table_speed=True)


def test_device_options_are_part_of_a_setting() -> None:
    with pytest.raises(TableError, match="delegate is 'gpu' and 'none'"):
        compare(table({8: 1.0}, delegate="gpu"), table({8: 1.0}, delegate="none"))


def test_the_p_value_is_that_of_a_normal_difference() -> None:
    # Each half-width of 1% is 1.96 standard errors; a log ratio of 1.96 joint ones has p = 0.05.
    error = 0.01 * 2**0.5
    diff = compare(table({8: 1.0}), table({8: 2.718281828459045**error}))
    assert diff.changes[0].p_value == pytest.approx(0.05, abs=2e-4)


def test_unchanged_ops_do_not_show_changes_by_chance() -> None:
    import numpy as np

    generator = np.random.default_rng(7)
    before = dict.fromkeys(range(1, 501), 1.0)
    noise = np.exp(generator.normal(0, 0.01 / 1.96 * 2**0.5, 500))
    after = dict(zip(range(1, 501), noise.tolist(), strict=True))
    found = compare(table(before), table(after)).changes
    assert sum(change.p_value < 0.05 for change in found if change.p_value is not None) > 10
    assert sum(change.verdict != "same" for change in found) <= 1


def test_an_op_without_an_interval_is_of_unknown_significance() -> None:
    diff = compare(table({8: Entry(1.0)}), table({8: 2.0}))
    assert diff.changes[0].verdict == "unknown"
    assert diff.changes[0].p_value is None


def test_ops_of_one_side_are_listed() -> None:
    diff = compare(table({8: 1.0, 16: 1.0}), table({8: 1.0, 24: 1.0}))
    assert diff.only_before == (conv(16),)
    assert diff.only_after == (conv(24),)


def test_tables_of_two_settings_are_compared_only_by_force() -> None:
    one, two = table({8: 1.0}), table({8: 1.0}, threads="2")
    with pytest.raises(TableError, match=r"threads is '1' and '2'.*--force"):
        compare(one, two)
    assert compare(one, two, force=True).settings == {"threads": ("1", "2")}


def test_two_metrics_are_never_compared() -> None:
    with pytest.raises(TableError, match="one metric"):
        compare(table({8: 1.0}), table({8: 1.0}, metric="energy", unit="mJ"), force=True)


def test_tables_without_a_shared_op_are_refused() -> None:
    with pytest.raises(TableError, match="share no op"):
        compare(table({8: 1.0}), table({16: 1.0}))


def test_a_merge_holds_the_rows_of_both() -> None:
    merged = merge([table({8: 1.0}, source="a"), table({16: 2.0, 8: 1.0}, source="b")])
    assert [op.out_c for op in merged.entries] == [8, 16]
    assert merged.metadata["source"] == "a; b"
    assert merged.setting == table({8: 1.0}).setting


@pytest.mark.parametrize(
    "key", ["device", "runtime", "threads", "batch_size", "precision", "statistic", "fingerprint"]
)
def test_a_merge_of_two_settings_names_the_difference(key: str) -> None:
    with pytest.raises(TableError, match=f"{key} is .* and 'other'"):
        merge([table({8: 1.0}), table({16: 1.0}, **{key: "other"})])


def test_a_merge_refuses_two_measurements_of_one_op() -> None:
    with pytest.raises(TableError, match=r"different measurements of conv .* 1 and 1.1 ms"):
        merge([table({8: 1.0}, "monday"), table({8: 1.1}, "friday")])


def test_what_three_sessions_differ_by_is_the_error_of_the_merged_level() -> None:
    days = [table({8: 1.0 * by, 16: 2.0 * by}, str(by)) for by in (0.99, 1.0, 1.01)]
    days.append(table({24: 3.0}, "other ops"))
    assert merge(days[:2], prefer="first").level_half_width == 0
    assert merge(days, prefer="first").level_half_width == 0  # no op that all of them hold
    # Levels of -1%, 0, +1%: standard deviation 1%, t quantile of 2 degrees of freedom 4.303.
    found = merge(days[:3], prefer="first").level_half_width
    assert found == pytest.approx(0.04303, abs=2e-4)
    assert merge([days[0]] * 3).level_half_width == 0  # one measurement, three times


def test_a_merge_drops_figures_that_are_true_of_one_run_only() -> None:
    merged = merge([table({8: 1.0}, quality="fine"), table({16: 1.0}, quality="poor")])
    assert "quality" not in merged.metadata


def test_missing_ops_are_those_of_every_resolution_asked_for() -> None:
    space = SearchSpace.load("imagenet")
    full = space.ops(64, num_classes=10)
    entries = {op: Entry(1.0) for op in full[1:]}
    short = LatencyTable(entries, {**SETTING, "num_classes": "10"})
    assert missing_ops(short, space, [64], 10) == [full[0]]
    both = missing_ops(short, space, [64, 96], 10)
    assert set(both) == {full[0], *space.ops(96, num_classes=10)} - set(entries)


def test_the_pricing_shape_comes_from_the_table_where_it_says_so() -> None:
    space = SearchSpace.load("imagenet")
    said = LatencyTable({op: Entry(1.0) for op in space.ops(96)}, {**SETTING, "num_classes": "10"})
    assert pricing_shape(said, space) == ((96,), 10)
    assert pricing_shape(said, space, [64], 5) == ((64,), 5)


def test_the_summary_counts_half_widths() -> None:
    summary = summarise(
        table({8: Entry(1.0, 0.992, 1.008, rounds=5), 16: Entry(1.0, 0.9, 1.1, rounds=9)})
    )
    assert summary.median_half_width == pytest.approx(0.054)
    assert (summary.within_1, summary.within_2) == (0.5, 0.5)
    assert (summary.least_rounds, summary.most_rounds) == (5, 9)
