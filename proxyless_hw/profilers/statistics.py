"""Medians over rounds and sessions with their intervals, for many workloads at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

POOLED_FREEDOM: Final = 4
"""Degrees of freedom that the workloads' common variance between sessions counts for.

Workloads differ in it (large weights move more than small ones), so it is trusted like a fifth
session's worth of own data and not like the sample of all workloads that it is.
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """A median with its 95% interval, in the metric's unit.

    Attributes:
        estimate: median of the per-round medians (their mean over sessions, in logs).
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


def median_intervals(
    per_session: Sequence[Sequence[FloatArray]],
    resamples: int,
    seed: int,
    coverage: float = 0.95,
) -> list[Interval]:
    """Intervals of the (geometric) mean over sessions of the median over rounds.

    Within a session, rounds are resampled and a round keeps its own median, since drawing again
    inside it would count its spread twice (Davison and Hinkley, Bootstrap Methods, 1997,
    section 3.8). With one session that bootstrap's percentiles are the interval: what building
    the runners anew would change is not in it.

    With several, the variance of a workload is that within its sessions plus that between them.
    Two or three sessions say little about one workload's variance but much about all workloads'
    together, so each is drawn towards the pooled one and judged with the pooled degrees of
    freedom (a moderated t interval: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004), in logs.

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
    resampled = iter(_resampled_medians(flat, resamples, seed))
    drawn = [[next(resampled) for _ in sessions] for sessions in per_session]
    centres = [np.log([np.median(values) for values in sessions]) for sessions in per_session]
    if max(map(len, per_session), default=1) == 1:
        half_widths = None
    else:
        within = np.array([np.mean([np.log(one).var() for one in each]) for each in drawn])
        half_widths = _half_widths(centres, within, coverage)
    tails = [(1 - coverage) / 2, (1 + coverage) / 2]
    intervals = []
    for place, sessions in enumerate(per_session):
        estimate = float(np.exp(centres[place].mean()))
        if sum(map(len, sessions)) < 2:
            low, high = 0.0, 2 * estimate
        elif half_widths is None:
            low, high = np.quantile(drawn[place][0], tails)
        else:
            low, high = estimate * np.exp([-half_widths[place], half_widths[place]])
        intervals.append(Interval(estimate, min(float(low), estimate), max(float(high), estimate)))
    return intervals


def level_half_width(per_session: Sequence[Sequence[FloatArray]]) -> float | None:
    """Half-width of the 95% interval of the level that all workloads share, as a fraction.

    Sessions move all workloads together by a little; a sum of many ops keeps that error whole
    while the ops' own errors average out.

    Args:
        per_session: as for `median_intervals`.

    Returns:
        None unless every workload was measured in the same two sessions or more.
    """
    from scipy.special import stdtrit

    count = len(per_session[0])
    if count < 2 or any(len(sessions) != count for sessions in per_session):
        return None
    centres = np.log([[np.median(values) for values in sessions] for sessions in per_session])
    shifts = np.median(centres - centres.mean(1, keepdims=True), axis=0)
    return float(stdtrit(count - 1, 0.975) * shifts.std(ddof=1) / np.sqrt(count))


def _half_widths(centres: Sequence[FloatArray], within: FloatArray, coverage: float) -> FloatArray:
    """Moderated t half-widths of the mean over sessions, all in logs.

    Args:
        centres: per workload the log of each session's median, shape (sessions,).
        within: variance of one such log median over resampled rounds, shape (workloads,).
        coverage: nominal coverage.
    """
    from scipy.special import chdtri, stdtrit

    counts = np.array([len(each) for each in centres])
    freedom = counts - 1
    between = np.array([each.var(ddof=1) if len(each) > 1 else 0.0 for each in centres])
    several = freedom > 0
    # The median of a chi-square turns the median workload's variance into an unbiased scale that
    # the few workloads with two states of their own do not move.
    scaled = between[several] * freedom[several] / chdtri(freedom[several], 0.5)
    pooled = max(0.0, float(np.median(scaled)) - float(np.median(within[several])))
    own = np.maximum(0.0, between - within)
    moderated = (POOLED_FREEDOM * pooled + freedom * own) / (POOLED_FREEDOM + freedom)
    quantile = stdtrit(POOLED_FREEDOM + freedom, (1 + coverage) / 2)
    return np.asarray(quantile * np.sqrt((moderated + within) / counts))


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
