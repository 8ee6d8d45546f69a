"""A row of a latency table, and the header keys that make two tables comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SETTING_KEYS = ("device", "runtime", "threads", "batch_size", "precision", "metric")
"""What must agree before two tables may be merged or compared."""

OPTION_KEYS = ("delegate", "cache", "options")
"""Device options that a header may tell; where two tables tell them, they must agree as well."""

LEVEL_KEY: Final = "quality_level_half_width"
"""Header of a table measured in several sessions: see `LatencyTable.level_half_width`."""

UNITS: Final = {"latency": "ms", "energy": "mJ", "memory": "MB", "flash": "MB", "sram": "MB"}
"""Metrics that a table may hold, with their units. MB of flash and sram are millions of bytes."""

PEAKS: Final = ("memory", "sram")
"""Metrics of which each op has its own peak: what a network costs is no sum of them."""

ESTIMATED: Final = "estimate"
"""Header `statistic` of figures that a compiler works out: every visit gives the same one."""

OP_COLUMNS: Final = (
    *("op", "in_h", "in_w", "in_c", "out_h", "out_w", "out_c"),
    *("kernel", "stride", "expand", "skip", "act", "se"),
)
"""Columns that describe an op, in a file and in a frame."""

OPTIONS_COLUMN: Final = "options"
"""Column of what ops of one's own take beyond that; only where the table holds such an op."""

VALUE_COLUMNS: Final = ("value", "ci_low", "ci_high", "p90", "min", "rounds", "samples")
"""Columns of a measurement: the fields of `Entry`."""


def header_text(header: Mapping[str, object]) -> str:
    """The lines ``# key: value`` that a table's file begins with."""
    return "".join(f"# {key}: {' '.join(str(value).split())}\n" for key, value in header.items())


@dataclass(frozen=True, slots=True)
class Entry:
    """One measured op. Values are in the table's unit (ms for latency).

    Attributes:
        value: the estimate: median or mean, as the table's header says.
        ci_low, ci_high: bounds of its 95% interval; None where the source gives none.
        p90: 90th percentile of single calls, for people; None where unknown.
        min: smallest sample, a noise floor; None where unknown.
        rounds: rounds measured; None where the source knows none.
        samples: timed samples; None where unknown.
    """

    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    p90: float | None = None
    min: float | None = None
    rounds: int | None = None
    samples: int | None = None

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval relative to the value; None without an interval."""
        if self.ci_low is None or self.ci_high is None:
            return None
        return (self.ci_high - self.ci_low) / 2 / self.value
