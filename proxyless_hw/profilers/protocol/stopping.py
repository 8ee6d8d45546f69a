"""Which workloads the next round visits: adaptive stopping and where left-over budget goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from proxyless_hw.profilers.protocol.drift import Round, collect
from proxyless_hw.profilers.protocol.estimates import estimates, fit_samples, is_done
from proxyless_hw.profilers.protocol.statistics import FloatArray, Interval
from proxyless_hw.profilers.protocol.timing_config import TimingConfig

WATCH_MARGIN: Final = 0.9
"""Share of the goal to reach while measuring, so that the final interval meets it too."""


def watched_done(interval: Interval, config: TimingConfig) -> bool:
    """Whether a workload may stop."""
    return is_done(interval, config, WATCH_MARGIN)


def visit_counts(rounds: Sequence[Round], names: Sequence[str]) -> dict[str, int]:
    """How often each name was visited."""
    counts = dict.fromkeys(names, 0)
    for record in rounds:
        for segment in record.segments:
            for name in segment.names:
                if name in counts:
                    counts[name] += 1
    return counts


def watched_intervals(
    rounds: Sequence[Round], names: Sequence[str], config: TimingConfig
) -> list[Interval]:
    """The intervals of names that were each visited at least once."""
    if config.exact:
        return [item.interval for item in estimates(rounds, names, config)]
    fit = fit_samples(collect(rounds, names, config.neighbours), config)
    return [fit.interval(index) for index in range(len(names))]


def choose_next(
    names: Sequence[str],
    counts: dict[str, int],
    intervals: Sequence[Interval],
    weights: FloatArray,
    config: TimingConfig,
) -> list[str]:
    """The workloads of the next pass: unfinished ones, then where a narrower interval helps most.

    The pass is filled up to one segment, because the reference is visited for it anyway.
    """
    gain = np.array([interval.half_width for interval in intervals]) * weights
    by_gain = [
        names[place] for place in np.argsort(-gain, kind="stable")
        if counts[names[place]] < config.max_rounds
    ]  # fmt: skip
    pending = [
        name
        for name, interval in zip(names, intervals, strict=True)
        if counts[name] < config.max_rounds
        and (counts[name] < config.min_rounds or not watched_done(interval, config))
    ]
    if not pending and (config.budget_s is None or not config.spend):
        return []
    size = max(config.segment, len(names) // 4) if not pending else config.segment
    fill = [name for name in by_gain if name not in set(pending)]
    return pending + fill[: max(0, size - len(pending))]
