"""Probes that disagree with the rest: measured on another device, stale, or disturbed.

An *explanation* says which probes are sound and how the others were disturbed. It is weighed by how
well the hypotheses about the device then explain all probes, against the prior that few probes are
disturbed. No explanation is taken as certain: predictions are mixed by these weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.device_map import Hypothesis
from proxyless_hw.predictors.posterior import Measurements, Posterior, condition, log_density

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Cause = Literal["each", "far", "common"]

MIN_PROBES_TO_SUSPECT: Final = 6
"""With fewer probes nothing tells which of two that disagree is wrong."""

MAX_SHARE: Final = 1 / 3
"""At most this share of the probes is suspected; beyond it the rest is no majority to go by."""

PRIOR: Final = 0.05
"""Probability that a probe is disturbed, before anything is seen."""

LOG_ODDS: Final = math.log(PRIOR / (1 - PRIOR))

CAUSES: Final[dict[Cause, tuple[float, float]]] = {
    "each": (0.0, 1.0),
    "far": (0.0, 3.0),
    "common": (1.0, 0.05),
}
"""How disturbed probes are off, as standard deviations in log units: (all alike, each on its own).

``each``: measured on another device; ``far``: a measurement that went wrong; ``common``: measured
when the device ran at another speed.
"""

HOPELESS: Final = 6.0
"""An explanation worse than the best by this (natural log) is not taken further."""

LEAST_WEIGHT: Final = 1e-3
"""Cases below this weight are left out."""

LEAST_LOG_WEIGHT: Final = -600.0
"""Relative to the largest: a source that explains nothing still has a weight that is not 0."""

NETWORK_LEVEL: Final = 0.1
"""Standard deviation of whole networks, all alike, against the sum of their ops, in log units."""

NETWORK_SCATTER: Final = 0.4
"""Scatter of whole networks relative to that of single ops: it averages out in part."""


@dataclass(frozen=True)
class Case:
    """One hypothesis about the device with one explanation of the probes.

    Attributes:
        hypothesis: what was expected of the device.
        posterior: the device given the probes, under both.
        disturbed: which probes the explanation takes as disturbed, (m,).
        weight: probability among the cases.
    """

    hypothesis: Hypothesis
    posterior: Posterior
    disturbed: BoolArray
    weight: float


def explain(hypotheses: Sequence[Hypothesis], measured: Measurements) -> list[Case]:
    """Cases worth considering, most probable first; their weights add up to 1.

    From "all are sound" probes are suspected one by one, each time the one whose disturbance
    explains most, separately for every cause.
    """
    size = len(measured.log_value)
    found = [_Explanation.of(hypotheses, measured, np.zeros(size, dtype=bool), "each")]
    if size >= MIN_PROBES_TO_SUSPECT:
        for cause in CAUSES:
            current = found[0]
            for _ in range(math.floor(MAX_SHARE * size)):
                disturbed, about = _next(current, cause)
                if about < max(each.log_weight for each in found) - HOPELESS:
                    break
                current = _Explanation.of(hypotheses, measured, disturbed, cause, current)
                found.append(current)
    logs = np.array([each.log_weights for each in found])
    weights = np.exp(np.maximum(logs - logs.max(), LEAST_LOG_WEIGHT))
    weights /= weights.sum()
    weights[~_worth_keeping(hypotheses, weights)] = 0
    weights /= weights.sum()
    cases = [
        Case(hypothesis, posterior, each.disturbed, float(weight))
        for each, row in zip(found, weights, strict=True)
        for hypothesis, posterior, weight in zip(hypotheses, each.posteriors, row, strict=True)
        if weight > 0
    ]
    return sorted(cases, key=lambda case: -case.weight)


def _worth_keeping(hypotheses: Sequence[Hypothesis], weights: FloatArray) -> BoolArray:
    """Which of (explanations, hypotheses) count; of every source the best one does."""
    keep = weights >= LEAST_WEIGHT
    sources = np.array([-1 if each.source is None else each.source for each in hypotheses])
    for source in np.unique(sources):
        own = np.where(sources == source, weights, -1.0)
        keep[np.unravel_index(int(own.argmax()), own.shape)] = True
    return keep


@dataclass(frozen=True)
class _Explanation:
    """Which probes are disturbed and how, with every hypothesis under it.

    Attributes:
        disturbed: (m,).
        cause: a key of `CAUSES`.
        posteriors: one a hypothesis.
        log_evidences: of the probes under each, up to a constant.
        log_weights: of the hypotheses under it, up to a constant that all explanations share.
    """

    disturbed: BoolArray
    cause: Cause
    posteriors: tuple[Posterior, ...]
    log_evidences: FloatArray
    log_weights: FloatArray

    @property
    def log_weight(self) -> float:
        """All hypotheses together."""
        return float(np.logaddexp.reduce(self.log_weights))

    @classmethod
    def of(
        cls,
        hypotheses: Sequence[Hypothesis],
        measured: Measurements,
        disturbed: BoolArray,
        cause: Cause,
        before: _Explanation | None = None,
    ) -> _Explanation:
        """Fits every hypothesis; `before` is an explanation to start the search from."""
        disturbance = _disturbance(disturbed, cause)
        starts: Sequence[Posterior | None] = [None] * len(hypotheses)
        if before is not None:
            starts = before.posteriors
        posteriors = tuple(
            condition(
                each.prior.at_level_of(measured),
                measured,
                _noise(measured, each.scatter) + disturbance,
                start,
            )
            for each, start in zip(hypotheses, starts, strict=True)
        )
        evidences = np.array([each.log_evidence() for each in posteriors])
        priors = np.array([each.log_weight for each in hypotheses])
        priors += LOG_ODDS * int(disturbed.sum())
        return cls(disturbed, cause, posteriors, evidences, evidences + priors)


def _next(current: _Explanation, cause: Cause) -> tuple[BoolArray, float]:
    """The set with one more disturbed probe that looks best, and about its log weight.

    The present posteriors stand for those that the set would lead to.
    """
    sound = np.flatnonzero(~current.disturbed)
    sets = np.repeat(current.disturbed[None], len(sound), axis=0)
    sets[np.arange(len(sound)), sound] = True
    added = np.array([_disturbance(each, cause) for each in sets])
    added -= _disturbance(current.disturbed, current.cause if current.disturbed.any() else cause)
    probable = current.log_weights > current.log_weights.max() - HOPELESS
    scores = [
        log_density(posterior.gram + added, posterior.surprise)
        + current.log_weights[number]
        - current.log_evidences[number]
        for number, posterior in enumerate(current.posteriors)
        if probable[number]
    ]
    together = np.logaddexp.reduce(np.array(scores), axis=0)
    best = int(together.argmax())
    return sets[best], float(together[best]) + LOG_ODDS


def _noise(measured: Measurements, scatter: float) -> FloatArray:
    """Covariance of sound measurements around the model, (m, m)."""
    is_network = measured.counts.sum(1) > 1
    own = np.where(is_network, NETWORK_SCATTER, 1.0) * scatter
    noise: FloatArray = np.diag(own**2)
    if is_network.any() and not is_network.all():
        noise += NETWORK_LEVEL**2 * np.outer(is_network, is_network)
    return noise


def _disturbance(disturbed: BoolArray, cause: Cause) -> FloatArray:
    hit = disturbed.astype(np.float64)
    alike, own = CAUSES[cause]
    result: FloatArray = alike**2 * np.outer(hit, hit) + np.diag(own**2 * hit)
    return result
