"""What a record of rounds says about each workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Visit
from proxyless_hw.profilers.protocol.drift import Round, Samples, collect, drift_of
from proxyless_hw.profilers.protocol.statistics import Fit, FloatArray, Interval, fit_sessions
from proxyless_hw.profilers.protocol.timing_config import TimingConfig

PREEMPTED: Final = 0.2
"""95% half-width of what is not known of a workload whose every visit lost its processor.

What runs in between uses the caches. On two processors with six to ten busy processes, where every
visit lost its processor, a network of 8 ms came out 0 to 16% off its anchors, mostly below.
"""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of one workload, in the metric's unit.

    Attributes:
        name: the workload.
        interval: its cost at the machine's undisturbed speed, with the 95% interval.
        own: 95% half-width, a fraction, of what is this workload's own: without the level that all
            workloads of a measurement share.
        raw: the median of all visits without correction.
        p90: 90th percentile of single samples, corrected as the interval is.
        min: smallest sample, likewise: never above the estimate.
        rounds: visits.
        samples: timed calls.
        converged: whether the goal was met.
    """

    name: str
    interval: Interval
    own: float
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
    samples = collect(rounds, names, config.neighbours)
    if config.exact:
        return [_exact(name, item.visits) for name, item in zip(names, samples, strict=True)]
    fit = fit_samples(samples, config)
    found = []
    for index, (name, item) in enumerate(zip(names, samples, strict=True)):
        interval = fit.interval(index)
        factors = np.exp(-item.drift) if config.correct_drift else np.ones_like(item.raw)
        kept = item.clean if config.correct_drift else np.ones(len(item.raw), dtype=np.bool_)
        smallest = np.array([visit.min for visit in item.visits]) * factors
        found.append(
            Estimate(
                name=name,
                interval=interval,
                own=float(fit.own[index]),
                raw=float(np.median(item.raw)),
                p90=max(interval.estimate, _p90(item.visits, factors, kept)),
                min=min(interval.estimate, float(smallest[kept].min())),
                rounds=len(item.visits),
                samples=sum(visit.calls for visit in item.visits),
                converged=len(item.visits) >= config.min_rounds and is_done(interval, config),
            )
        )
    return found


def _exact(name: str, visits: Sequence[Visit]) -> Estimate:
    """What visits say that all give one value.

    Raises:
        ProfilingError: they give several.
    """
    value = visits[0].value
    if any(visit.value != value for visit in visits):
        raise ProfilingError(
            f"a compiler's estimate is the same each time: {name} has {value} and "
            f"{next(visit.value for visit in visits if visit.value != value)}. Did the compiler "
            "change meanwhile? Profile into a new table."
        )
    return Estimate(
        name=name,
        interval=Interval(value, value, value),
        own=0.0,
        raw=value,
        p90=value,
        min=value,
        rounds=len(visits),
        samples=len(visits),
        converged=True,
    )


def fit_samples(samples: Sequence[Samples], config: TimingConfig) -> Fit:
    """Fits the workloads of one measurement together."""
    fit = fit_sessions([item.log_values(config.correct_drift) for item in samples])
    shares = np.array([item.preempted_share for item in samples])
    return replace(fit, own=np.hypot(fit.own, PREEMPTED * shares))


def _p90(visits: Sequence[Visit], factors: FloatArray, kept: np.ndarray) -> float:
    """90th percentile of all samples; of the visits' percentiles if only these are known."""
    chosen = [(visits[place], factors[place]) for place in np.flatnonzero(kept).tolist()]
    pooled = [sample * factor for visit, factor in chosen for sample in visit.samples]
    if pooled:
        return float(np.quantile(pooled, 0.9))
    return float(np.median([visit.p90 * factor for visit, factor in chosen]))


def is_done(interval: Interval, config: TimingConfig, margin: float = 1.0) -> bool:
    """Whether an interval meets a share of the goal, relative or absolute."""
    return (
        interval.relative <= margin * config.goal
        or interval.half_width <= margin * config.goal_absolute
    )


def reference_drift(rounds: Sequence[Round], neighbours: int) -> float:
    """How far the machine's speed wandered within sessions: the 90% range of its ratio to
    undisturbed speed (0 without a reference)."""
    drifts = []
    for part in {record.part for record in rounds}:
        segments = [s for record in rounds if record.part == part for s in record.segments]
        drifts.append(drift_of(segments, neighbours))
    if not drifts:
        return 0.0
    low, high = np.quantile(np.exp(np.concatenate(drifts)), [0.05, 0.95])
    return float(high - low)


def disturbed_share(rounds: Sequence[Round], config: TimingConfig) -> float:
    """Share of the visits that were made while the machine was disturbed."""
    names = {name for record in rounds for segment in record.segments for name in segment.names}
    samples = collect(rounds, sorted(names), config.neighbours)
    total = sum(len(item.raw) for item in samples)
    return 1 - sum(int(item.clean.sum()) for item in samples) / total if total else 0.0
