"""Which ops of a table say how fast the machine was, and how they stand in its header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.errors import TableError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.anchors import (
    ANCHORS,
    ANCHORS_KEY,
    anchors_of,
    choose_anchors,
    format_anchors,
)
from proxyless_hw.tables.table import Entry, LatencyTable

HEADER = {"metric": "latency", "unit": "ms"}
OPS = SearchSpace.load("imagenet").ops(224)


def entries(ops: list[OpSpec]) -> dict[OpSpec, Entry]:
    return {op: Entry(1e-6 * op.out_h * op.out_w * op.mid_c * op.kernel) for op in ops}


def kind(op: OpSpec) -> tuple[object, ...]:
    return op.op, op.kernel, op.expand, op.stride


def table_with(line: str) -> LatencyTable:
    return LatencyTable(entries(OPS[:9]), {**HEADER, ANCHORS_KEY: line}, "mine")


@pytest.mark.parametrize("name", ["imagenet", "cifar-mbconv", "mobilenet-v3-w1.2"])
def test_anchors_are_at_least_five_and_of_different_kinds(name: str) -> None:
    space = SearchSpace.load(name)
    chosen = choose_anchors(entries(space.ops()))
    assert 5 <= len(chosen) <= ANCHORS
    assert len({kind(op) for op in chosen}) >= 5


def test_anchors_spread_over_the_costs_and_hold_their_values() -> None:
    rows = entries(OPS)
    chosen = choose_anchors(rows)
    assert all(chosen[op] == rows[op].value for op in chosen)
    assert max(chosen.values()) > 3 * min(chosen.values())
    # Every later measurement pays for its anchors: they are no costly ones of their kind.
    for op in chosen:
        alike = [rows[other].value for other in rows if kind(other) == kind(op)]
        assert rows[op].value <= sorted(alike)[len(alike) // 2]


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 30])
def test_a_table_of_few_ops_takes_what_there_is(count: int) -> None:
    chosen = choose_anchors(entries(OPS[:count]))
    assert len(chosen) == min(count, ANCHORS)


def test_ops_of_one_kind_fill_up_to_the_number() -> None:
    alike = [OpSpec("conv", 8, 8, width, 8, 8, width) for width in range(1, 40)]
    chosen = choose_anchors(entries(alike))
    assert len(chosen) == ANCHORS


def test_the_choice_does_not_depend_on_the_order_of_the_rows() -> None:
    assert choose_anchors(entries(OPS)) == choose_anchors(entries(OPS[::-1]))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8))
def test_the_header_line_is_read_back_exactly(values: list[float]) -> None:
    anchors = dict(zip(OPS, values, strict=False))
    line = format_anchors(anchors)
    assert re.fullmatch(r"[^=;]+=[^=;]+(; [^=;]+=[^=;]+)*", line)
    assert anchors_of(table_with(line)) == anchors


def test_anchors_survive_the_file(tmp_path: Path) -> None:
    chosen = choose_anchors(entries(OPS))
    path = tmp_path / "t.csv"
    LatencyTable(entries(OPS), {**HEADER, ANCHORS_KEY: format_anchors(chosen)}).save(path)
    assert "# anchors: " in path.read_text()
    assert anchors_of(LatencyTable.load(path)) == chosen


def test_a_table_without_the_line_has_none() -> None:
    assert anchors_of(LatencyTable(entries(OPS[:3]), HEADER)) == {}
    assert anchors_of(LatencyTable.load("pixel1")) == {}


KEY = OPS[0].key


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        KEY,
        f"{KEY}=",
        f"{KEY}=fast",
        f"{KEY}=0",
        f"{KEY}=-1.5",
        f"{KEY}=nan",
        f"{KEY}=inf",
        f"{KEY}=1.0, {OPS[1].key}=2.0",
        f"conv-1x1={1.0}",
        f"{KEY}=1.0; x",
        f"{KEY}=1.0; {KEY}=2.0",
    ],
)
def test_a_malformed_line_is_refused_with_what_was_received(line: str) -> None:
    with pytest.raises(TableError, match=r"'mine'.*anchors.*received"):
        anchors_of(table_with(line))
