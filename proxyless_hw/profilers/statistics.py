"""Medians and their bootstrap intervals, for many workloads at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its 95% bootstrap interval, in the metric's unit.

    Attributes:
        estimate: median of the per-round medians.
        low, high: bounds of the interval; they enclose the estimate.
    """

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the width, in the metric's unit."""
        return (self.high - self.low) / 2

    @property
    def relative(self) -> float:
        """Half the width as a fraction of the estimate."""
        return self.half_width / self.estimate


def bootstrap_medians(
    per_session: Sequence[Sequence[FloatArray]],
    resamples: int,
    seed: int,
    coverage: float = 0.95,
) -> list[Interval]:
    """Percentile bootstrap of the median over sessions of the median over rounds.

    Clusters are resampled from the outside in: first sessions (what changes when runners are
    built anew: where their memory lies), then the rounds of a session (what changes with the
    state of the machine). A round keeps its own median, since drawing again inside it would
    count its spread twice (Davison and Hinkley, Bootstrap Methods, 1997, section 3.8).

    Args:
        per_session: for each workload and session the per-round medians, shape (rounds,).
        resamples: bootstrap resamples.
        seed: seeds the resampling; the same seed gives the same intervals.
        coverage: nominal coverage of the interval.

    Returns:
        One interval per workload. From a single round it is as wide as nothing is known:
        from 0 to twice the estimate.
    """
    flat = [values for sessions in per_session for values in sessions]
    resampled = _resampled_medians(flat, resamples, seed)
    tails = [(1 - coverage) / 2, (1 + coverage) / 2]
    intervals = []
    first = 0
    for sessions in per_session:
        drawn = resampled[first : first + len(sessions)]
        first += len(sessions)
        estimate = float(np.median([np.median(values) for values in sessions]))
        if sum(map(len, sessions)) < 2:
            intervals.append(Interval(estimate, 0.0, 2 * estimate))
            continue
        low, high = np.quantile(_over_sessions(np.stack(drawn), seed), tails)
        intervals.append(Interval(estimate, min(float(low), estimate), max(float(high), estimate)))
    return intervals


def _resampled_medians(flat: Sequence[FloatArray], resamples: int, seed: int) -> list[FloatArray]:
    """Medians of resampled rounds, shape (resamples,) for each array; alike lengths together."""
    medians: list[FloatArray] = [np.empty(0)] * len(flat)
    by_count: dict[int, list[int]] = {}
    for index, values in enumerate(flat):
        by_count.setdefault(len(values), []).append(index)
    for count, members in by_count.items():
        generator = np.random.default_rng((seed, count))
        draws = generator.integers(0, count, size=(resamples, count))
        values = np.stack([flat[index] for index in members])  # (members, rounds)
        for index, row in zip(members, np.median(values[:, draws], axis=2), strict=True):
            medians[index] = row
    return medians


def _over_sessions(drawn: FloatArray, seed: int) -> FloatArray:
    """Median over resampled sessions, (sessions, resamples) to (resamples,)."""
    sessions, resamples = drawn.shape
    if sessions == 1:
        return np.asarray(drawn[0])
    generator = np.random.default_rng((seed, 0, sessions))
    chosen = generator.integers(0, sessions, size=(sessions, resamples))
    # Each place looks at its own resample, so that a session drawn twice differs from itself.
    shuffled = np.stack([generator.permutation(resamples) for _ in range(sessions)])
    return np.asarray(np.median(drawn[chosen, shuffled], axis=0))
