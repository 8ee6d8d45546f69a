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
    per_round: Sequence[FloatArray], resamples: int, seed: int, coverage: float = 0.95
) -> list[Interval]:
    """Percentile bootstrap of the median, resampling rounds.

    A round is one cluster: its samples share the state of the machine. Rounds are drawn with
    replacement and each keeps its own median, since drawing again inside a round would count
    the spread inside it twice (Davison and Hinkley, Bootstrap Methods, 1997, section 3.8).

    Args:
        per_round: for each workload its per-round medians, shape (rounds,); counts may differ.
        resamples: bootstrap resamples.
        seed: seeds the resampling; the same seed gives the same intervals.
        coverage: nominal coverage of the interval.

    Returns:
        One interval per workload. From a single round it is as wide as nothing is known:
        from 0 to twice the estimate.
    """
    intervals: list[Interval | None] = [None] * len(per_round)
    by_count: dict[int, list[int]] = {}
    for index, values in enumerate(per_round):
        by_count.setdefault(len(values), []).append(index)
    tails = [(1 - coverage) / 2, (1 + coverage) / 2]
    for count, members in by_count.items():
        values = np.stack([per_round[index] for index in members])  # (workloads, rounds)
        estimates = np.median(values, axis=1)
        if count < 2:
            for index, estimate in zip(members, estimates.tolist(), strict=True):
                intervals[index] = Interval(estimate, 0.0, 2 * estimate)
            continue
        generator = np.random.default_rng((seed, count))
        draws = generator.integers(0, count, size=(resamples, count))
        medians = np.median(values[:, draws], axis=2)  # (workloads, resamples)
        lows, highs = np.quantile(medians, tails, axis=1)
        for index, estimate, low, high in zip(
            members, estimates.tolist(), lows.tolist(), highs.tolist(), strict=True
        ):
            intervals[index] = Interval(estimate, min(low, estimate), max(high, estimate))
    return [interval for interval in intervals if interval is not None]
