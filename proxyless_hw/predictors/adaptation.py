"""Log costs on a new device from known tables and a few measurements, with intervals that hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.contamination import explain
from proxyless_hw.predictors.device_map import hypotheses
from proxyless_hw.predictors.mixture import Mixture
from proxyless_hw.predictors.posterior import Measurements
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]

COVERAGE: Final = 0.95
"""Coverage of the intervals."""

PRIOR_FREEDOM: Final = 20
"""The model's own standard deviations count as much as this many held-out probes."""

LARGEST_SURPRISE: Final = 4.0
"""A held-out probe counts as no further off than so many standard deviations."""


@dataclass(frozen=True)
class LogCosts:
    """Log cost of every op on the new device.

    Attributes:
        mean: (n,).
        low, high: bounds of the 95% intervals, (n,).
        covariance: between the ops, without their scatter, (n, n).
        scatter: standard deviation of single ops around it.
        widening: what the held-out measurements multiplied the intervals by.
        held_out: predicted minus measured log value of each measurement, from the others, (m,).
        held_out_by_source: the same from each source alone, (sources, m).
        source_weights: how far each source explains the measurements, relative to the others,
            adding up to 1, (sources,).
        disturbed: probability of each measurement that it does not belong to the others, (m,).
        bound_by: probability of what the device is bound by.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    covariance: FloatArray
    scatter: float
    widening: float
    held_out: FloatArray
    held_out_by_source: FloatArray
    source_weights: FloatArray
    disturbed: FloatArray
    bound_by: dict[str, float]


def estimate_log_costs(
    ops: Sequence[OpSpec], sources: Sequence[LatencyTable], measured: Measurements
) -> LogCosts:
    """Weighs what the sources let expect by how well it explains the measurements.

    Args:
        ops: what is to be predicted, (n,).
        sources: known tables.
        measured: at least one measurement of the new device, of ops among `ops`.
    """
    cases = explain(hypotheses(ops, sources), measured)
    weights = np.array([case.weight for case in cases])
    of_source = np.array([case.hypothesis.source for case in cases], dtype=object)
    means = np.array([case.posterior.log_cost for case in cases])
    scatters = np.array([case.hypothesis.scatter for case in cases])
    deviations = np.empty_like(means)
    within = np.zeros((len(ops), len(ops)))
    for case, deviation in zip(cases, deviations, strict=True):
        covariance = case.posterior.covariance()
        within += case.weight * covariance
        variance = np.maximum(np.diag(covariance), 0) + case.hypothesis.scatter**2
        deviation[:] = np.sqrt(variance)
    mixture = Mixture(weights, means, deviations)
    errors = [case.posterior.held_out() for case in cases]
    held_out = Mixture(
        weights, np.array([error for error, _ in errors]), np.array([width for _, width in errors])
    )
    disturbed: FloatArray = weights @ np.array([case.disturbed for case in cases], dtype=np.float64)
    single = measured.counts.sum(1) == 1
    widening = _widening(held_out, disturbed, single)
    low, high = mixture.widened(widening).interval(COVERAGE)
    mean = mixture.mean
    between = (means - mean).T @ (weights[:, None] * (means - mean))
    by_source = np.array([weights * (of_source == number) for number in range(len(sources))])
    explained = by_source.sum(1)
    words = dict.fromkeys(case.hypothesis.bound_by for case in cases)
    return LogCosts(
        mean=mean,
        low=low,
        high=high,
        covariance=within + between,
        scatter=float(np.sqrt(weights @ scatters**2)),
        widening=widening,
        held_out=held_out.mean,
        held_out_by_source=by_source @ held_out.means / explained[:, None],
        source_weights=explained / explained.sum(),
        disturbed=disturbed,
        bound_by={
            word: float(sum(case.weight for case in cases if case.hypothesis.bound_by == word))
            for word in words
        },
    )


def _widening(held_out: Mixture, disturbed: FloatArray, single: NDArray[np.bool_]) -> float:
    """How much wider than the model says intervals must be, by the held-out measurements.

    Drawn towards 1 as far as there are few; disturbed ones do not count. A network that is
    predicted more closely than the model says does not narrow intervals: what single ops deviate
    averages out in a sum.

    Args:
        held_out: measurements predicted from the others.
        disturbed: probability of each that it does not belong to the others, (m,).
        single: which measurements are of one op, (m,).
    """
    surprises = np.abs(held_out.mean) / held_out.deviation
    squares = np.minimum(surprises, LARGEST_SURPRISE) ** 2
    squares = np.where(single, squares, np.maximum(squares, 1.0))
    sound = 1 - disturbed
    freedom = PRIOR_FREEDOM + float(sound.sum())
    return float(np.sqrt((PRIOR_FREEDOM + float(sound @ squares)) / freedom))
