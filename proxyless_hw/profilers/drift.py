"""Records of what was measured, and the drift of the machine that a reference workload shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.statistics import FloatArray

UNDISTURBED: Final = 0.2
"""Quantile of the reference's visits that counts as the machine's undisturbed speed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of visits between two visits to the reference.

    Attributes:
        names: the visited workloads, in order.
        visits: what each visit gave.
        before, after: the reference before and after, in the metric's unit; None without one.
        repeats: how often the stretch was measured again because the reference moved.
    """

    names: tuple[str, ...]
    visits: tuple[Visit, ...]
    before: float | None = None
    after: float | None = None
    repeats: int = 0

    @property
    def movement(self) -> float:
        """How far the reference moved across the segment: absolute log ratio."""
        if self.before is None or self.after is None:
            return 0.0
        return abs(math.log(self.after / self.before))


@dataclass(frozen=True, slots=True)
class Round:
    """One pass over workloads in random order; `part` counts fresh sessions of one measurement."""

    segments: tuple[Segment, ...]
    part: int = 0


@dataclass(frozen=True, slots=True)
class Samples:
    """All visits to one workload.

    Attributes:
        visits: the visits, one per round it took part in.
        raw: their values, shape (rounds,).
        drift: log ratio of the reference at each visit to its undisturbed level, shape (rounds,).
        parts: the session of each visit, shape (rounds,).
    """

    visits: tuple[Visit, ...]
    raw: FloatArray
    drift: FloatArray
    parts: NDArray[np.int64]

    def by_session(self, values: FloatArray) -> list[FloatArray]:
        """Splits values, shape (rounds,), by session."""
        return [values[self.parts == part] for part in np.unique(self.parts)]

    @property
    def corrected(self) -> FloatArray:
        """The values at the machine's undisturbed speed, shape (rounds,)."""
        return self.raw * self.factors

    @property
    def factors(self) -> FloatArray:
        """What brings each visit to the machine's undisturbed speed, shape (rounds,)."""
        factors: FloatArray = np.exp(-self.drift)
        return factors


def reference_values(rounds: Iterable[Round]) -> list[float]:
    """Every visit to the reference, in order, in the metric's unit."""
    values: list[float] = []
    for record in rounds:
        for segment in record.segments:
            if segment.before is not None and (not values or values[-1] != segment.before):
                values.append(segment.before)
            if segment.after is not None:
                values.append(segment.after)
    return values


def collect(rounds: Sequence[Round], names: Sequence[str]) -> list[Samples]:
    """Gathers the visits of each workload with the drift interpolated at each.

    Each session has a level of its own: where the reference's memory lies changes between them,
    and one level for all would hand that error to every workload.

    Args:
        rounds: what was measured.
        names: the workloads wanted, each at least once in `rounds`.

    Returns:
        One `Samples` per name, in order.
    """
    levels = _levels(rounds)
    parts: dict[str, list[int]] = {name: [] for name in names}
    visits: dict[str, list[Visit]] = {name: [] for name in names}
    drifts: dict[str, list[float]] = {name: [] for name in names}
    for record in rounds:
        for segment in record.segments:
            positions = len(segment.names) + 1
            for place, (name, visit) in enumerate(
                zip(segment.names, segment.visits, strict=True), start=1
            ):
                if name not in visits:
                    continue
                visits[name].append(visit)
                drifts[name].append(_drift_at(segment, place / positions, levels[record.part]))
                parts[name].append(record.part)
    return [
        Samples(
            tuple(visits[name]),
            np.array([visit.value for visit in visits[name]], dtype=np.float64),
            np.array(drifts[name], dtype=np.float64),
            np.array(parts[name], dtype=np.int64),
        )
        for name in names
    ]


def _levels(rounds: Sequence[Round]) -> dict[int, float]:
    """Log of the undisturbed reference in each session; 0 without a reference.

    What disturbs a machine makes it slower, so the level is the lower fifth of the reference's
    visits: a session of which half was disturbed has the same level as a quiet one.
    """
    levels = {}
    for part in {record.part for record in rounds}:
        values = reference_values(record for record in rounds if record.part == part)
        levels[part] = math.log(float(np.quantile(values, UNDISTURBED))) if values else 0.0
    return levels


def _drift_at(segment: Segment, fraction: float, level: float) -> float:
    """Log ratio of the reference to its level, interpolated between the segment's ends."""
    if segment.before is None or segment.after is None:
        return 0.0
    before, after = math.log(segment.before), math.log(segment.after)
    return before + fraction * (after - before) - level
