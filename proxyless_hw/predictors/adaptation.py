"""Log costs on a new device from a source's costs and a few probes, with intervals that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.contamination import Explanation, View, explain
from proxyless_hw.predictors.device_map import (
    OpKernel,
    Spread,
    condition,
    fit_spread,
    leave_one_out,
    log_values,
    log_work,
)
from proxyless_hw.predictors.regression import CostModel
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]

MIN_PROBES_TO_TUNE: Final = 8
"""With fewer probes the terms keep their default spread: there is too little to choose it by."""

MIN_PROBES_FOR_RATES: Final = 5
"""With fewer probes the rates of the baseline are hardly determined."""

COVERAGE: Final = 0.95
"""Coverage of the intervals."""

PRIOR_FREEDOM: Final = 20
"""The model's own standard deviations count as much as this many held-out probes."""


@dataclass(frozen=True)
class LogCosts:
    """Log cost on the target of every op of a source.

    Attributes:
        mean: (n,).
        deviation: standard deviations, (n,).
        reach: half-widths of the 95% intervals, (n,).
        held_out: predicted minus measured log cost of each probe, from the other probes, (k,).
        held_out_source: the same where only the source is adapted, (k,).
        disturbed: probability of each probe that it does not belong to the others, (k,).
    """

    mean: FloatArray
    deviation: FloatArray
    reach: FloatArray
    held_out: FloatArray
    held_out_source: FloatArray
    disturbed: FloatArray


def estimate_log_costs(
    source: LatencyTable, probes: Sequence[OpSpec], log_target: FloatArray
) -> LogCosts:
    """Adapts a source's costs to the target's probes.

    The mean of three estimates: one starts from the source's costs, one from the work that ops
    do, and one is the regression's baseline fitted to the probes (for the ops it can tell). The
    first knows how devices treat sizes and channels, and the others do not inherit what only the
    source does. All three are made under each explanation of the probes (`contamination`), and
    mixed by the explanations' weights.

    Args:
        source: holds every probe.
        probes: distinct ops, at least 3.
        log_target: their log cost on the target, (k,).
    """
    ops = list(source.entries)
    log_source = log_values([entry.value for entry in source.entries.values()])
    row = {op: number for number, op in enumerate(ops)}
    at = np.array([row[op] for op in probes], dtype=np.intp)
    starts = (log_source, log_work(ops))
    views = [View(OpKernel(ops, start), log_target - start[at]) for start in starts]
    explanations = explain(views, at, tune=len(at) >= MIN_PROBES_TO_TUNE)
    estimates = [
        _ensemble(ops, starts, views, at, log_target, explanation) for explanation in explanations
    ]
    return _mixture(estimates, [explanation.weight for explanation in explanations])


def _ensemble(
    ops: Sequence[OpSpec],
    starts: Sequence[FloatArray],
    views: Sequence[View],
    at: NDArray[np.intp],
    log_target: FloatArray,
    explanation: Explanation,
) -> LogCosts:
    """The mean of the estimates under one explanation."""
    maps = [
        _adapt(start, view, at, spread, explanation.disturbance)
        for start, view, spread in zip(starts, views, explanation.spreads, strict=True)
    ]
    sound = ~explanation.disturbed
    probes = [ops[number] for number in at]
    others = np.mean([each.mean for each in maps], axis=0)
    rates = _rates(probes, log_target, sound, ops, others)
    means = np.array([*(each.mean for each in maps), rates])
    held_out_others = np.mean([each.held_out for each in maps], axis=0)
    held_out_rates = _held_out_rates(probes, log_target, sound, held_out_others)
    errors = np.array([*(each.held_out for each in maps), held_out_rates])
    # A mixture's variance: that of its parts, and how far they disagree.
    deviation = np.sqrt(np.mean([each.deviation**2 for each in maps], axis=0) + means.var(0))
    expected = np.sqrt(np.mean([each.expected**2 for each in maps], axis=0) + errors.var(0))
    held_out = errors.mean(0)
    scale, quantile = _judged(held_out[sound] / expected[sound])
    return LogCosts(
        mean=means.mean(0),
        deviation=scale * deviation,
        reach=quantile * scale * deviation,
        held_out=held_out,
        held_out_source=maps[0].held_out,
        disturbed=explanation.disturbed.astype(np.float64),
    )


def _judged(surprises: FloatArray) -> tuple[float, float]:
    """How much wider than the model says its errors are, and the quantile for 95% intervals.

    Args:
        surprises: held-out errors over the standard deviations that the model gives them, (k,).

    Returns:
        The scale, drawn towards 1 as far as there are few probes; and Student's quantile.
    """
    from scipy.stats import t

    freedom = PRIOR_FREEDOM + len(surprises)
    scale = np.sqrt((PRIOR_FREEDOM + float((surprises**2).sum())) / freedom)
    return float(scale), float(t.ppf(0.5 + COVERAGE / 2, freedom))


def _mixture(estimates: Sequence[LogCosts], weights: Sequence[float]) -> LogCosts:
    def mixed(values: list[FloatArray]) -> FloatArray:
        return np.average(values, axis=0, weights=weights)

    mean = mixed([each.mean for each in estimates])
    between = mixed([(each.mean - mean) ** 2 for each in estimates])
    deviation = np.sqrt(mixed([each.deviation**2 for each in estimates]) + between)
    quantile = mixed([each.reach / each.deviation for each in estimates])
    return LogCosts(
        mean=mean,
        deviation=deviation,
        reach=quantile * deviation,
        held_out=mixed([each.held_out for each in estimates]),
        held_out_source=mixed([each.held_out_source for each in estimates]),
        disturbed=mixed([each.disturbed for each in estimates]),
    )


@dataclass(frozen=True)
class Adapted:
    """One first guess of log costs, adapted to measured ones.

    Attributes:
        mean, deviation: of every op, (n,).
        held_out: predicted minus measured, each probe from the others, (k,).
        expected: standard deviations of `held_out` as the model has them, (k,).
    """

    mean: FloatArray
    deviation: FloatArray
    held_out: FloatArray
    expected: FloatArray


def adapt(
    ops: Sequence[OpSpec], log_start: FloatArray, at: NDArray[np.intp], log_target: FloatArray
) -> Adapted:
    """Adapts a first guess of log costs to measured ones, by families of ops.

    Args:
        ops: the ops, (n,).
        log_start: the first guess, (n,).
        at: which ops were measured, (k,).
        log_target: their log cost, (k,).
    """
    view = View(OpKernel(ops, log_start), log_target - log_start[at])
    spread = Spread()
    if len(at) >= MIN_PROBES_TO_TUNE:
        spread, _ = fit_spread(view.kernel, at, view.log_ratio)
    return _adapt(log_start, view, at, spread, np.zeros((len(at), len(at))))


def _adapt(
    log_start: FloatArray,
    view: View,
    at: NDArray[np.intp],
    spread: Spread,
    disturbance: FloatArray,
) -> Adapted:
    mean, deviation = condition(view.kernel, spread, at, view.log_ratio, disturbance)
    error, expected = leave_one_out(view.kernel, spread, at, view.log_ratio, disturbance)
    return Adapted(log_start + mean, deviation, -error, expected)


def _rates(
    probes: Sequence[OpSpec],
    log_target: FloatArray,
    used: NDArray[np.bool_],
    ops: Sequence[OpSpec],
    others: FloatArray,
) -> FloatArray:
    """Log cost by rates fitted to the probes `used`; `others` for what they do not determine."""
    if used.sum() < MIN_PROBES_FOR_RATES:
        return others
    kept = [probe for probe, use in zip(probes, used, strict=True) if use]
    model = CostModel("baseline").fit(kept, np.exp(log_target[used]))
    told = np.array([i for i, op in enumerate(ops) if model.can_tell(op)], dtype=np.intp)
    estimate = others.copy()
    if len(told):
        estimate[told] = model.predict_log([ops[i] for i in told])[0]
    return estimate


def _held_out_rates(
    probes: Sequence[OpSpec], log_target: FloatArray, used: NDArray[np.bool_], others: FloatArray
) -> FloatArray:
    """As `LogCosts.held_out`, for the rates; each probe from the rest of those `used`."""
    errors = np.empty(len(probes))
    for left_out, op in enumerate(probes):
        kept = used.copy()
        kept[left_out] = False
        other = others[[left_out]] + log_target[left_out]
        errors[left_out] = _rates(probes, log_target, kept, [op], other)[0] - log_target[left_out]
    return errors
