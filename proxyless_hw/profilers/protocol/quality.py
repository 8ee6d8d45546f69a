"""How good a table is: the quality block in its header, and the A/A score of repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from proxyless_hw.profilers.protocol.drift import Round, collect
from proxyless_hw.profilers.protocol.estimates import (
    Estimate,
    disturbed_share,
    estimates,
    fit_samples,
    reference_drift,
)
from proxyless_hw.profilers.protocol.timing_config import TimingConfig
from proxyless_hw.tables.entry import LEVEL_KEY
from proxyless_hw.tables.table import LatencyTable


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two measurements of the same ops agree.

    Attributes:
        spearman: rank correlation.
        median_change: median of the absolute relative change.
        overlap: share of ops whose 95% intervals overlap.
        bias: median relative change from the first to the second.
    """

    spearman: float
    median_change: float
    overlap: float
    bias: float


def agreement(
    first: Sequence[tuple[float, float, float]], second: Sequence[tuple[float, float, float]]
) -> Agreement:
    """Compares (value, ci_low, ci_high) of the same ops, measured twice."""
    one, two = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    change = two[:, 0] / one[:, 0] - 1
    overlap = (one[:, 1] <= two[:, 2]) & (two[:, 1] <= one[:, 2])
    return Agreement(
        spearman=spearman(one[:, 0], two[:, 0]),
        median_change=float(np.median(np.abs(change))),
        overlap=float(overlap.mean()),
        bias=float(np.median(change)),
    )


def table_agreement(first: LatencyTable, second: LatencyTable) -> Agreement:
    """Compares the ops that two tables share (those with intervals)."""
    rows = []
    for op, one in first.entries.items():
        two = second.entries.get(op)
        if two is None or one.ci_low is None or two.ci_low is None:
            continue
        rows.append(
            (
                (one.value, one.ci_low, float(one.ci_high or one.value)),
                (two.value, two.ci_low, float(two.ci_high or two.value)),
            )
        )
    return agreement([row[0] for row in rows], [row[1] for row in rows])


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; 1 for a single pair."""
    if np.size(first) < 2:
        return 1.0
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def repeat_agreement(
    rounds: Sequence[Round], names: Sequence[str], config: TimingConfig, sessions: int
) -> Agreement | None:
    """Compares the first with the last repeat of a measurement; None when there is one.

    Args:
        rounds: what was measured; `sessions` parts make a repeat.
        names: the workloads compared.
        config: how estimates are taken.
        sessions: sessions in a repeat.
    """
    last = max((record.part for record in rounds), default=0) // sessions
    if last < 1:
        return None
    halves = []
    for repeat in (0, last):
        chosen = [record for record in rounds if record.part // sessions == repeat]
        halves.append(
            [
                (item.interval.estimate, item.interval.low, item.interval.high)
                for item in estimates(chosen, names, config)
            ]
        )
    return agreement(halves[0], halves[1])


def quality_block(
    measured: Sequence[Estimate],
    rounds: Sequence[Round],
    overhead: Estimate | None,
    repeats: Agreement | None,
    config: TimingConfig,
) -> Mapping[str, str]:
    """Header lines that say how far a table can be trusted. Ratios are fractions."""
    if config.exact:
        return {}  # nothing was measured that could be known well or badly
    names = [estimate.name for estimate in measured]
    level = fit_samples(collect(rounds, names, config.neighbours), config).level
    widths = np.array([estimate.interval.relative for estimate in measured])
    unconverged = [estimate.name for estimate in measured if not estimate.converged]
    block = {
        "quality_median_half_width": f"{np.median(widths):.5f}",
        "quality_p90_half_width": f"{np.quantile(widths, 0.9):.5f}",
        "quality_within_2_percent": f"{(widths <= 0.02).mean():.4f}",
        "quality_drift": f"{reference_drift(rounds, config.neighbours):.4f}",
        "quality_disturbed": f"{disturbed_share(rounds, config):.4f}",
        "quality_sessions": str(len({record.part for record in rounds})),
        "quality_rounds": str(len(rounds)),
        "quality_unconverged": str(len(unconverged)),
    }
    if level is not None:
        block[LEVEL_KEY] = f"{level:.5f}"
    if unconverged:
        block["unconverged_ops"] = " ".join(unconverged)
    if overhead is not None:
        block["session_overhead_ms"] = f"{overhead.interval.estimate:.6f}"
    if repeats is not None:
        block["quality_repeat_spearman"] = f"{repeats.spearman:.5f}"
        block["quality_repeat_median_change"] = f"{repeats.median_change:.5f}"
        block["quality_repeat_overlap"] = f"{repeats.overlap:.4f}"
    return block
