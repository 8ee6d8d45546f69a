"""Anchors: ops of a table whose cost says how fast the machine was when the table was made.

Whoever measures later measures the anchors beside it. The median over anchors of their cost then to
their cost now is the machine's speed relative to the table's; one anchor alone would hand the error
of its own placement in memory to everything.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.entry import Entry

if TYPE_CHECKING:
    from proxyless_hw.tables.table import LatencyTable

ANCHORS_KEY: Final = "anchors"
ANCHORS: Final = 12
"""Anchors of a table; a table with fewer ops has as many anchors as ops."""


def choose_anchors(entries: Mapping[OpSpec, Entry]) -> dict[OpSpec, float]:
    """Picks ops of different kinds and costs.

    The kinds differ in op, kernels, expansion and stride. Of each the op of median cost stands for
    it; where there are more kinds than anchors, those spread evenly over the cost are taken. Ops
    that are known better than the median op come first: what moves by itself says little about the
    machine.

    Returns:
        Op to value, in the table's unit; all ops of a table that has few.
    """
    kinds: dict[tuple[str, int, int, float, int], list[OpSpec]] = {}
    for op in sorted(_steady(entries), key=lambda op: (entries[op].value, op.key)):
        kind = op.op, op.start_kernel, op.kernel, op.expand, op.stride
        kinds.setdefault(kind, []).append(op)
    chosen = [ops.pop(len(ops) // 2) for ops in kinds.values()]
    if len(chosen) < ANCHORS:
        rest = sorted((op for ops in kinds.values() for op in ops), key=lambda o: entries[o].value)
        chosen += _evenly(rest, ANCHORS - len(chosen))
    chosen.sort(key=lambda op: entries[op].value)
    return {op: entries[op].value for op in _evenly(chosen, ANCHORS)}


def _steady(entries: Mapping[OpSpec, Entry]) -> list[OpSpec]:
    """The better known half of the ops, where that is enough and intervals are there."""
    widths = [entry.half_width for entry in entries.values()]
    known = [width for width in widths if width is not None]
    if len(known) < 2 * ANCHORS or len(known) < len(widths):
        return list(entries)
    limit = statistics.median(known)
    return [op for op, width in zip(entries, known, strict=True) if width <= limit]


def _evenly(ops: Sequence[OpSpec], count: int) -> list[OpSpec]:
    """At most so many of the ops, evenly spread over their order."""
    if len(ops) <= count:
        return list(ops)
    return [ops[place * (len(ops) - 1) // max(1, count - 1)] for place in range(count)]


def format_anchors(anchors: Mapping[OpSpec, float]) -> str:
    """The header line: ``KEY=VALUE; KEY=VALUE``."""
    return "; ".join(f"{op.key}={value!r}" for op, value in anchors.items())


def anchors_of(table: LatencyTable) -> dict[OpSpec, float]:
    """The anchors that a table's header holds, op to value; empty where it holds none.

    Raises:
        TableError: the header line cannot be read.
    """
    text = table.metadata.get(ANCHORS_KEY, "")
    anchors = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        key, _, number = item.rpartition("=")
        try:
            op, value = OpSpec.from_key(key), float(number)
        except ValueError:
            op, value = None, math.nan
        if op is None or op in anchors or not math.isfinite(value) or value <= 0:
            raise TableError(
                f"'{table.name}': the header line {ANCHORS_KEY} reads KEY=VALUE; ... with one "
                f"positive value per op: received {item[:120]!r}."
            )
        anchors[op] = value
    return anchors
