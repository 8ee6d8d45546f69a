"""What a record of rounds says about each workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.drift import Round, Samples, collect, reference_values
from proxyless_hw.profilers.statistics import FloatArray, Interval, median_intervals
from proxyless_hw.profilers.timing_config import TimingConfig


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of one workload, in the metric's unit.

    Attributes:
        name: the workload.
        interval: median over sessions of the median over rounds, with its 95% interval.
        raw: the median of all rounds without drift correction.
        p90: 90th percentile of single samples, drift-corrected as the interval is.
        min: smallest sample, likewise: never above the estimate.
        rounds: rounds measured.
        samples: timed calls.
        converged: whether the goal was met.
    """

    name: str
    interval: Interval
    raw: float
    p90: float
    min: float
    rounds: int
    samples: int
    converged: bool


def estimates(
    rounds: Sequence[Round], names: Sequence[str], config: TimingConfig
) -> list[Estimate]:
    """What a record of rounds says about each name (each was visited at least once)."""
    samples = collect(rounds, names)
    intervals = median_intervals(
        [values_of(item, config) for item in samples], config.resamples, config.seed
    )
    found = []
    for name, item, interval in zip(names, samples, intervals, strict=True):
        factors = item.factors if config.correct_drift else np.ones_like(item.raw)
        found.append(
            Estimate(
                name=name,
                interval=interval,
                raw=float(np.median(item.raw)),
                p90=_p90(item.visits, factors),
                min=float(min(factors * [visit.min for visit in item.visits])),
                rounds=len(item.visits),
                samples=sum(visit.calls for visit in item.visits),
                converged=len(item.visits) >= config.min_rounds and is_done(interval, config),
            )
        )
    return found


def _p90(visits: Sequence[Visit], factors: FloatArray) -> float:
    """90th percentile of all samples, or of the visits' own percentiles where those are all."""
    pooled = [
        sample * factor
        for visit, factor in zip(visits, factors, strict=True)
        for sample in visit.samples
    ]
    if pooled:
        return float(np.quantile(pooled, 0.9))
    return float(np.median(factors * [visit.p90 for visit in visits]))


def values_of(samples: Samples, config: TimingConfig) -> list[FloatArray]:
    """The per-round values of each session that the estimate is taken from."""
    return samples.by_session(samples.corrected if config.correct_drift else samples.raw)


def is_done(interval: Interval, config: TimingConfig, margin: float = 1.0) -> bool:
    """Whether an interval meets a share of the goal, relative or absolute."""
    return (
        interval.relative <= margin * config.goal
        or interval.half_width <= margin * config.goal_absolute
    )


def reference_drift(rounds: Sequence[Round]) -> float:
    """How far the reference wandered: its 90% range over its median (0 without a reference)."""
    values = reference_values(rounds)
    if not values:
        return 0.0
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float((high - low) / middle)
