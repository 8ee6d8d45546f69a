"""Tables as pandas frames, and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from proxyless_hw.errors import TableError
from proxyless_hw.tables.table import LatencyTable


@pytest.fixture
def table() -> LatencyTable:
    return LatencyTable.load("note10")


def test_a_frame_and_back_is_the_same_table(table: LatencyTable) -> None:
    frame = table.to_pandas()
    back = LatencyTable.from_pandas(frame)
    assert back.entries == table.entries
    assert list(back) == list(table)
    assert back.metadata == table.metadata


def test_a_frame_holds_one_row_an_op(table: LatencyTable) -> None:
    frame = table.to_pandas()
    assert len(frame) == len(table)
    op = list(table)[3]
    row = frame.iloc[3]
    assert (row["op"], row["in_h"], row["out_c"], row["kernel"]) == (
        op.op, op.in_h, op.out_c, op.kernel,
    )  # fmt: skip
    assert row["value"] == table.entries[op].value


def test_a_plain_frame_needs_its_metadata(table: LatencyTable) -> None:
    frame = pd.DataFrame(table.to_pandas().to_dict("list"))
    with pytest.raises(TableError, match="without metric and unit"):
        LatencyTable.from_pandas(frame)
    named = LatencyTable.from_pandas(frame, {"metric": "latency", "unit": "ms", "device": "x"})
    assert named.entries == table.entries


def test_columns_of_a_measurement_may_be_left_out(table: LatencyTable) -> None:
    frame = table.to_pandas().drop(columns=["p90", "min", "rounds", "samples", "ci_low", "ci_high"])
    back = LatencyTable.from_pandas(frame)
    assert [entry.value for entry in back.entries.values()] == [
        entry.value for entry in table.entries.values()
    ]
    assert all(entry.half_width is None for entry in back.entries.values())


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("value", -1.0, "column value must be a positive"),
        ("value", np.nan, "column value"),
        ("kernel", 0, "column kernel must be a whole number"),
        ("act", "gelu", "column act must be one of"),
    ],
)
def test_a_wrong_value_is_refused_by_column(
    table: LatencyTable, column: str, value: object, rule: str
) -> None:
    frame = table.to_pandas()
    frame[column] = frame[column].astype(object)
    frame.loc[2, column] = value
    with pytest.raises(TableError, match=rule):
        LatencyTable.from_pandas(frame)


def test_missing_and_unknown_columns_are_named(table: LatencyTable) -> None:
    with pytest.raises(TableError, match="kernel missing"):
        LatencyTable.from_pandas(table.to_pandas().drop(columns="kernel"))
    with pytest.raises(TableError, match="unknown column 'mood'"):
        LatencyTable.from_pandas(table.to_pandas().assign(mood=1))


def test_a_difference_is_a_frame_with_what_is_significant(table: LatencyTable) -> None:
    frame = LatencyTable.load("pixel1").to_pandas()
    half = (frame["ci_high"] - frame["ci_low"]).where(
        frame["ci_high"].notna(), 0.02 * frame["value"]
    )
    frame["ci_low"], frame["ci_high"] = frame["value"] - half, frame["value"] + half
    first = LatencyTable.from_pandas(frame)
    doubled = frame.copy()
    changed = doubled.index % 2 == 0
    for column in ("value", "ci_low", "ci_high"):
        doubled.loc[changed, column] *= 2
    changes = first.diff(LatencyTable.from_pandas(doubled, first.metadata)).to_pandas()
    assert changes["significant"].tolist() == changed.tolist()
    assert changes["change"].to_numpy() == pytest.approx(np.where(changed, 1.0, 0.0))


def test_a_notebook_sees_a_short_form_and_the_first_rows(table: LatencyTable) -> None:
    assert repr(table).startswith("LatencyTable('note10', ")
    assert len(repr(table)) < 120
    assert table._repr_html_().count("<tr") == 1 + 10


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(TableError, match="pandas DataFrame: received list"):
        LatencyTable.from_pandas([1.0])  # type: ignore[arg-type]
