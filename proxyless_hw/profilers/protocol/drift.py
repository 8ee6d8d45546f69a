"""Records of what was measured, and the machine's speed at each visit as a reference shows it.

A reference workload is visited between the others. The median of its visits around a segment says
how fast the machine was just then; the lower fifth of these medians is the session's undisturbed
speed. A visit's value is corrected by the difference, and visits made while the machine was
disturbed give way to the others, because not every op is slowed down as the reference is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.protocol.statistics import FloatArray

UNDISTURBED: Final = 0.2
"""Quantile of the reference's speed that counts as the machine's undisturbed speed."""

CLEAN: Final = 0.05
"""Log ratio of the reference to its undisturbed speed up to which a visit counts as clean."""

LEAST_CLEAN: Final = 3
"""Visits of a workload in a session that are always kept, even if all were disturbed."""

LEAST_CLEAN_SHARE: Final = 0.25
"""Share of a workload's visits in a session that is always kept, the least disturbed first."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of visits between two visits to the reference.

    Attributes:
        names: the visited workloads, in order.
        visits: what each visit gave.
        before, after: the reference before and after, in the metric's unit; None without one.
    """

    names: tuple[str, ...]
    visits: tuple[Visit, ...]
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Passes over workloads in random order; `part` counts fresh sessions of one measurement."""

    segments: tuple[Segment, ...]
    part: int = 0


@dataclass(frozen=True, slots=True)
class Samples:
    """All visits to one workload.

    Attributes:
        visits: the visits, in order.
        raw: their values, shape (visits,).
        drift: log ratio of the reference around each visit to its undisturbed level, shape
            (visits,).
        parts: the session of each visit, shape (visits,).
    """

    visits: tuple[Visit, ...]
    raw: FloatArray
    drift: FloatArray
    parts: NDArray[np.int64]

    @property
    def corrected(self) -> FloatArray:
        """The values at the undisturbed speed of their session, shape (visits,)."""
        corrected: FloatArray = self.raw * np.exp(-self.drift)
        return corrected

    @property
    def clean(self) -> NDArray[np.bool_]:
        """The visits that count, shape (visits,): made while the machine was little disturbed and
        the processor was not taken away.

        Of each session at least a quarter of the visits counts, and at least three.
        """
        preempted = np.array([visit.preempted for visit in self.visits], dtype=np.bool_)
        kept = (self.drift <= CLEAN) & ~preempted
        # Preempted visits come last: nothing says by how much they are off.
        order = np.where(preempted, 1e3, 0.0) + self.drift
        for part in np.unique(self.parts):
            members = np.flatnonzero(self.parts == part)
            least = max(LEAST_CLEAN, math.ceil(LEAST_CLEAN_SHARE * len(members)))
            kept[members[np.argsort(order[members], kind="stable")[:least]]] = True
        return kept

    @property
    def preempted_share(self) -> float:
        """Share of the visits that count during which the processor was taken away."""
        counted = [visit for visit, kept in zip(self.visits, self.clean, strict=True) if kept]
        return sum(visit.preempted for visit in counted) / len(counted) if counted else 0.0

    def log_values(self, correct: bool) -> dict[int, FloatArray]:
        """Session to the logs of the values that the estimate is taken from.

        Args:
            correct: the clean visits at undisturbed speed; otherwise all visits as they were.
        """
        if not correct:
            return {int(part): np.log(self.raw[self.parts == part]) for part in set(self.parts)}
        values, clean = np.log(self.corrected), self.clean
        return {int(part): values[clean & (self.parts == part)] for part in set(self.parts)}


def reference_values(rounds: Iterable[Round]) -> list[float]:
    """Every visit to the reference, in order, in the metric's unit."""
    return _references([segment for record in rounds for segment in record.segments])[0]


def _references(segments: Sequence[Segment]) -> tuple[list[float], list[int]]:
    """The reference's visits in order, and for each segment the place of the one before it."""
    values: list[float] = []
    places: list[int] = []
    for segment in segments:
        if segment.before is not None and (not values or values[-1] != segment.before):
            values.append(segment.before)
        places.append(len(values) - 1)
        if segment.after is not None:
            values.append(segment.after)
    return values, places


def collect(rounds: Sequence[Round], names: Sequence[str], neighbours: int) -> list[Samples]:
    """Gathers the visits of each workload with the machine's drift at each.

    Each session has a level of its own: where the reference's memory lies changes between them,
    and one level for all would hand that error to every workload.

    Args:
        rounds: what was measured.
        names: the workloads wanted.
        neighbours: visits to the reference on each side that say how fast the machine was.

    Returns:
        One `Samples` per name, in order; empty where a name was not visited.
    """
    parts: dict[str, list[int]] = {name: [] for name in names}
    visits: dict[str, list[Visit]] = {name: [] for name in names}
    drifts: dict[str, list[float]] = {name: [] for name in names}
    for part in sorted({record.part for record in rounds}):
        segments = [s for record in rounds if record.part == part for s in record.segments]
        for segment, drift in zip(segments, drift_of(segments, neighbours), strict=True):
            for name, visit in zip(segment.names, segment.visits, strict=True):
                if name in visits:
                    visits[name].append(visit)
                    drifts[name].append(drift)
                    parts[name].append(part)
    return [
        Samples(
            tuple(visits[name]),
            np.array([visit.value for visit in visits[name]], dtype=np.float64),
            np.array(drifts[name], dtype=np.float64),
            np.array(parts[name], dtype=np.int64),
        )
        for name in names
    ]


def drift_of(segments: Sequence[Segment], neighbours: int) -> FloatArray:
    """How much slower than undisturbed the machine was in each segment of one session.

    Returns:
        Log ratios, shape (segments,); zeros without a reference. What disturbs a machine makes it
        slower, so the undisturbed level is the lower fifth: a session of which half was disturbed
        has the same level as a quiet one.
    """
    values, places = _references(segments)
    if not values:
        return np.zeros(len(segments))
    logs = np.log(values)
    padded = np.pad(logs, neighbours, mode="edge")
    # Segment k stands between the references at places[k] and places[k] + 1.
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * neighbours)
    local = np.median(windows, axis=1)[np.minimum(np.array(places) + 1, len(windows) - 1)]
    drift: FloatArray = local - np.quantile(local, UNDISTURBED)
    return drift
