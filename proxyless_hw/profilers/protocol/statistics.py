"""Estimates with intervals for many workloads that were measured in several sessions.

A session builds its runners anew, and where their memory then lies moves each workload by about a
percent and all of them together by another. So the log of workload i in session s is taken as

    centre[i, s] = own[i] + level[s] + error,

where the levels are what a session does to all workloads alike: they are fitted by medians, so
that sessions of unequal length, sessions that miss some workloads, and sessions that were disturbed
from end to end do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

POOLED_FREEDOM: Final = 4
"""Degrees of freedom that the workloads' common variance counts for.

Workloads differ in it (large weights move more than small ones), so it is trusted like a few
samples of a workload's own and not like the sample of all workloads that it is.
"""

COVERAGE: Final = 0.95
NORMAL_95: Final = 1.96
DRAWS: Final = 2000
SWEEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95% interval, in the metric's unit.

    Attributes:
        estimate: the estimate.
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


@dataclass(frozen=True, slots=True)
class Fit:
    """What sessions say of workloads, in logs of the metric's unit.

    Attributes:
        estimates: shape (workloads,); at the median session's level.
        own: 95% half-widths of what is each workload's own, shape (workloads,); infinite where
            a single visit is all there is.
        level: 95% half-width of the level that all workloads share; None from one session.
        freedom: degrees of freedom behind `own`, shape (workloads,).
    """

    estimates: FloatArray
    own: FloatArray
    level: float | None
    freedom: FloatArray

    def interval(self, index: int) -> Interval:
        """One workload's interval: its own error and the shared level's."""
        half_width = float(np.hypot(self.own[index], self.level or 0.0))
        return interval_of(float(self.estimates[index]), half_width)


def interval_of(log_estimate: float, log_half_width: float) -> Interval:
    """An interval from logs; from 0 to twice the estimate where nothing is known."""
    estimate = float(np.exp(log_estimate))
    if not np.isfinite(log_half_width):
        return Interval(estimate, 0.0, 2 * estimate)
    factor = float(np.exp(log_half_width))
    return Interval(estimate, estimate / factor, estimate * factor)


def fit_sessions(values: Sequence[Mapping[int, FloatArray]]) -> Fit:
    """Fits what workloads cost, and how well that is known.

    The variance of a workload is that within its sessions plus that between them. Few visits or
    sessions say little about one workload's variance but much about all workloads' together, so
    each is drawn towards the pooled one and judged with the pooled degrees of freedom (a moderated
    t interval: Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004).

    Args:
        values: for each workload, session to the logs of its visits, shape (visits,); at least
            one visit each.
    """
    parts = sorted({part for sessions in values for part in sessions})
    shape = (len(values), len(parts))
    centres, counts = np.full(shape, np.nan), np.zeros(shape)
    for row, sessions in enumerate(values):
        for part, logs in sessions.items():
            column = parts.index(part)
            centres[row, column], counts[row, column] = np.median(logs), len(logs)
    within = _within_variance(values, counts)
    own, levels = _two_way(centres, within, np.zeros(len(values)))
    between, freedom = _between_variance(centres - own[:, None] - levels, within)
    own, levels = _two_way(centres, within, between)
    half_widths = _t95(freedom) / np.sqrt(_weights(centres, within, between).sum(1))
    half_widths[counts.sum(1) < 2] = np.inf
    middle = float(np.median(levels))
    level = _level_half_width(levels, float(np.median(between)))
    return Fit(own + middle, half_widths, level, freedom)


def _weights(centres: FloatArray, within: FloatArray, between: FloatArray) -> FloatArray:
    """One over the variance of each session's median; 0 where a workload was not visited."""
    variance = np.where(np.isnan(centres), np.inf, between[:, None] + within)
    floor = 1e-3 * np.median(variance[np.isfinite(variance)]) + 1e-30
    weights: FloatArray = 1 / (variance + floor)
    return weights


def _within_variance(values: Sequence[Mapping[int, FloatArray]], counts: FloatArray) -> FloatArray:
    """Variance of each session's median, shape (workloads, sessions)."""
    scatter, freedom = np.zeros(len(values)), np.zeros(len(values))
    for row, sessions in enumerate(values):
        deviations = [logs - np.median(logs) for logs in sessions.values() if len(logs) > 1]
        if deviations:
            joined = np.concatenate(deviations)
            freedom[row] = len(joined) - len(deviations)
            robust = (1.4826 * np.median(np.abs(joined))) ** 2
            # Of two visits the median lies between both: their plain variance is the better one.
            plain = float(np.mean(joined**2))
            scatter[row] = (robust if freedom[row] >= 8 else plain) * len(joined) / freedom[row]
    known = freedom > 0
    pooled = float(np.median(scatter[known])) if known.any() else 0.0
    moderated = (POOLED_FREEDOM * pooled + freedom * scatter) / (POOLED_FREEDOM + freedom)
    efficiency = np.where(counts > 2, np.pi / 2, 1.0)
    variance: FloatArray = efficiency * moderated[:, None] / np.maximum(counts, 1)
    return variance


def _two_way(
    centres: FloatArray, within: FloatArray, between: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Workloads' values, weighted means over sessions, and sessions' levels, medians over them."""
    seen = ~np.isnan(centres)
    weights = _weights(centres, within, between)
    filled = np.where(seen, centres, 0.0)
    levels = np.zeros(centres.shape[1])
    own = np.zeros(len(centres))
    median = np.median if seen.all() else np.nanmedian  # the second takes ten times as long
    for _ in range(SWEEPS):
        own = ((filled - levels) * weights).sum(1) / weights.sum(1)
        step = median(centres - own[:, None] - levels, axis=0)
        levels = levels + step
        if np.abs(step).max() < 1e-12:
            break
    return own, levels


def _between_variance(errors: FloatArray, within: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Moderated variance between sessions and its degrees of freedom, shape (workloads,) each."""
    from scipy.special import chdtri

    seen = ~np.isnan(errors)
    freedom = seen.sum(1) - 1.0
    several = freedom > 0
    if not several.any():
        return np.zeros(len(errors)), np.full(len(errors), float(POOLED_FREEDOM))
    spread = np.where(seen, errors, 0.0)
    mean_within = np.where(seen, within, 0.0).sum(1) / np.maximum(seen.sum(1), 1)
    own = np.where(several, (spread**2).sum(1) / np.maximum(freedom, 1), 0.0)
    # The median of a chi-square turns the median workload's variance into an unbiased scale that
    # the few workloads with two states of their own do not move.
    scaled = own[several] * freedom[several] / chdtri(freedom[several], 0.5)
    pooled = max(0.0, float(np.median(scaled)) - float(np.median(mean_within[several])))
    excess = np.maximum(0.0, own - mean_within)
    moderated = (POOLED_FREEDOM * pooled + freedom * excess) / (POOLED_FREEDOM + freedom)
    return moderated, POOLED_FREEDOM + freedom


def _level_half_width(levels: FloatArray, between: float) -> float | None:
    """Half-width of the 95% interval of the median level; None from one session.

    Sessions move all workloads together by a little; a sum of many ops keeps that error whole
    while the ops' own errors average out. A session that was disturbed from end to end says
    nothing about the others, so from five sessions on the spread is the median absolute one.

    Args:
        levels: shape (sessions,).
        between: variance of one workload between sessions, towards which that of the few levels is
            drawn, but not below what they show.
    """
    count = len(levels)
    if count < 2:
        return None
    spread = float(levels.var(ddof=1))
    if count >= 5:
        spread = min(spread, (1.4826 * float(np.median(np.abs(levels - np.median(levels))))) ** 2)
    freedom = POOLED_FREEDOM + count - 1
    moderated = (POOLED_FREEDOM * between + (count - 1) * spread) / freedom
    moderated = max(moderated, spread)
    efficiency = np.pi / 2 if count > 2 else 1.0
    return float(_t95(np.array(freedom)) * np.sqrt(efficiency * moderated / count))


def _t95(freedom: FloatArray) -> FloatArray:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(freedom, (1 + COVERAGE) / 2))


def median_with_error(values: FloatArray, half_widths: FloatArray) -> tuple[float, float]:
    """The median of a few different quantities, with the 95% half-width that their errors give it.

    The quantities need not agree. What they differ by stays the same in another measurement, so it
    is no error of the median: `middle_of` is for values that should agree. The standard error is
    that of the medians of `DRAWS` sets of values, each moved by a normal error of its own size (a
    parametric bootstrap).

    Args:
        values: shape (n,), in logs.
        half_widths: their own 95% half-widths, shape (n,). One of which nothing is known counts
            as the one that is known least.

    Returns:
        The median and its half-width; infinite where no value has a finite one.
    """
    middle = float(np.median(values))
    known = np.isfinite(half_widths)
    if not known.any():
        return middle, float("inf")
    widths = np.where(known, half_widths, half_widths[known].max())
    errors = np.random.default_rng(0).standard_normal((DRAWS, len(values))) * widths / NORMAL_95
    return middle, float(NORMAL_95 * np.median(values + errors, axis=1).std())


def middle_of(values: FloatArray, half_widths: FloatArray) -> tuple[float, float]:
    """The median of a few values that should agree, with its 95% half-width.

    The values differ in how well each is known. The standard error of their median is that of the
    median of normal variables of unequal scale: the few that are known badly hardly move it.

    Args:
        values: shape (n,), in logs.
        half_widths: their own 95% half-widths, shape (n,). What the values scatter beyond these
            is added to each.

    Returns:
        The median and its half-width; infinite where no value has a finite one.
    """
    middle = float(np.median(values))
    known = np.isfinite(half_widths)
    if not known.any():
        return middle, float("inf")
    own = (half_widths[known] / 2) ** 2
    scatter = (1.4826 * float(np.median(np.abs(values - middle)))) ** 2
    if len(values) < 4:  # the median absolute deviation of so few says too little
        scatter = float(np.mean((values - middle) ** 2)) * len(values) / max(1, len(values) - 1)
    variance = own + max(0.0, scatter - float(np.median(own)))
    freedom = np.array(POOLED_FREEDOM + len(values) - 1.0)
    if len(values) < 3:
        error = np.sqrt(variance.mean() / len(variance))
    else:
        error = np.sqrt(np.pi / 2 * len(variance)) / np.sum(1 / np.sqrt(variance + 1e-30))
    return middle, float(_t95(freedom) * error)
