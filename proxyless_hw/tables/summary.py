"""How good a table is, in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import LatencyTable


@dataclass(frozen=True, slots=True)
class TableSummary:
    """Size and precision of a table. Half-widths are those of the 95% intervals, as fractions.

    Attributes:
        rows: ops it holds.
        with_interval: ops that come with an interval.
        median_half_width: median relative half-width; None where no op has an interval.
        p90_half_width: 90th percentile of them; None likewise.
        within_1, within_2: share of the ops with an interval whose half-width is at most 1%, 2%.
        least_rounds, most_rounds: extremes of the measured rounds; None where unknown.
        total: sum over all rows, in the table's unit.
    """

    rows: int
    with_interval: int
    median_half_width: float | None
    p90_half_width: float | None
    within_1: float | None
    within_2: float | None
    least_rounds: int | None
    most_rounds: int | None
    total: float


def summarise(table: LatencyTable | str | Path) -> TableSummary:
    """Size and precision of a table, or of what a name or a path names: ``table show``.

    Raises:
        TableError: no such table.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.summarise("pixel1").rows
        72
    """
    table = table_of(table)
    entries = list(table.entries.values())
    widths = [entry.half_width for entry in entries if entry.half_width is not None]
    rounds = [entry.rounds for entry in entries if entry.rounds is not None]
    return TableSummary(
        rows=len(entries),
        with_interval=len(widths),
        median_half_width=_quantile(widths, 0.5),
        p90_half_width=_quantile(widths, 0.9),
        within_1=_share(widths, 0.01),
        within_2=_share(widths, 0.02),
        least_rounds=min(rounds, default=None),
        most_rounds=max(rounds, default=None),
        total=sum(entry.value for entry in entries),
    )


def _quantile(values: list[float], fraction: float) -> float | None:
    return float(np.quantile(values, fraction)) if values else None


def _share(values: list[float], limit: float) -> float | None:
    return sum(value <= limit for value in values) / len(values) if values else None
