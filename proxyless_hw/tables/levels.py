"""How far tables of one setting differ in level, from the ops that all of them hold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.intervals import t_quantile

MIN_TABLES: Final = 3
"""Two tables may differ by chance alone: their one difference tells nothing of its own spread."""


def level_half_width(tables: Sequence[Mapping[OpSpec, Entry]]) -> float | None:
    """How far all values of one table together may be off, a fraction (95%).

    A device runs at another speed in each session, so a table's values are off together, by more
    than the spread within its session tells. A table's level is the median, over the ops that all
    tables hold, of its logarithm against the tables' mean; the half-width is Student's t quantile
    times the standard deviation of the levels.

    Args:
        tables: rows of tables of one setting, each measured in a session of its own.

    Returns:
        The half-width, below 1. None where fewer than `MIN_TABLES` tables share an op, or all of
        them hold the same numbers, which are then one measurement.
    """
    if len(tables) < MIN_TABLES:
        return None
    shared = [op for op in tables[0] if all(op in table for table in tables)]
    shared = [op for op in shared if min(table[op].value for table in tables) > 0]
    if not shared:
        return None
    logs = [[math.log(table[op].value) for table in tables] for op in shared]
    centred = [[value - statistics.fmean(row) for value in row] for row in logs]
    levels = [statistics.median(column) for column in zip(*centred, strict=True)]
    spread = float(statistics.stdev(levels))
    if spread == 0:
        return None
    return min(t_quantile(len(tables) - 1) * spread, 0.99)
