"""Probes that disagree with the rest: measured on another device, stale, or disturbed.

An *explanation* says which probes are sound and how the others were disturbed. It is weighed by how
well the device maps then explain all probes, against the prior that few probes are disturbed. No
explanation is taken as certain: predictions are mixed by these weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.device_map import OpKernel, Spread, fit_spread

FloatArray = NDArray[np.float64]
Cause = Literal["each", "far", "common"]

MIN_PROBES_TO_SUSPECT: Final = 6
"""With fewer probes nothing tells which of two that disagree is wrong."""

MAX_SHARE: Final = 1 / 3
"""At most this share of the probes is suspected; beyond it the rest is no majority to go by."""

PRIOR: Final = 0.05
"""Probability that a probe is disturbed, before anything is seen."""

CAUSES: Final[dict[Cause, tuple[float, float]]] = {
    "each": (0.0, 1.0),
    "far": (0.0, 3.0),
    "common": (1.0, 0.05),
}
"""How disturbed probes are off, as standard deviations in log units: (all alike, each on its own).

``each``: measured on another device; ``far``: a measurement that went wrong; ``common``: measured
when the device ran at another speed.
"""

LEAST_WEIGHT: Final = 0.02
"""Explanations below this weight are left out."""


@dataclass(frozen=True)
class Explanation:
    """Which probes were disturbed, and how.

    Attributes:
        disturbed: True for a disturbed probe, (k,).
        cause: a key of `CAUSES`.
        weight: its probability among the explanations.
        spreads: of each device map, fitted under this explanation.
    """

    disturbed: NDArray[np.bool_]
    cause: Cause
    weight: float
    spreads: tuple[Spread, ...]

    @property
    def disturbance(self) -> FloatArray:
        """Covariance of the disturbances, (k, k)."""
        return _disturbance(self.disturbed, self.cause)


@dataclass(frozen=True)
class View:
    """The probes as one device map sees them: (kernel over all ops, log ratio at the probes)."""

    kernel: OpKernel
    log_ratio: FloatArray


def explain(views: Sequence[View], at: NDArray[np.intp], tune: bool) -> list[Explanation]:
    """Explanations of the probes, most probable first; their weights add up to 1.

    From "all are sound" probes are suspected one by one, each time the one whose disturbance
    explains most, separately for every cause.

    Args:
        views: the device maps that must agree on an explanation.
        at: which ops were measured, (k,).
        tune: whether to fit spreads; else the default ones are used.
    """
    nobody = np.zeros(len(at), dtype=bool)
    found = [_Scored.of(views, at, nobody, "each", tune)]
    if len(at) >= MIN_PROBES_TO_SUSPECT:
        for cause in CAUSES:
            current = found[0]
            for _ in range(math.floor(MAX_SHARE * len(at))):
                current = max(
                    (
                        _Scored.of(views, at, disturbed, cause, tune)
                        for disturbed in _next(views, at, current, cause)
                    ),
                    key=lambda scored: scored.log_weight,
                )
                found.append(current)
    logs = np.array([scored.log_weight for scored in found])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    weights[weights < LEAST_WEIGHT] = 0
    weights /= weights.sum()
    explanations = [
        Explanation(scored.disturbed, scored.cause, float(weight), scored.spreads)
        for scored, weight in zip(found, weights, strict=True)
        if weight > 0
    ]
    return sorted(explanations, key=lambda one: -one.weight)


@dataclass(frozen=True)
class _Scored:
    disturbed: NDArray[np.bool_]
    cause: Cause
    log_weight: float
    spreads: tuple[Spread, ...]

    @classmethod
    def of(
        cls,
        views: Sequence[View],
        at: NDArray[np.intp],
        disturbed: NDArray[np.bool_],
        cause: Cause,
        tune: bool,
    ) -> _Scored:
        disturbance = _disturbance(disturbed, cause)
        if tune:
            fits = [fit_spread(view.kernel, at, view.log_ratio, disturbance) for view in views]
        else:
            fits = [(Spread(), _log_likelihood(view, Spread(), at, disturbance)) for view in views]
        odds = math.log(PRIOR / (1 - PRIOR)) * int(disturbed.sum())
        evidence = float(np.mean([fit[1] for fit in fits]))
        return cls(disturbed, cause, evidence + odds, tuple(fit[0] for fit in fits))


def _next(
    views: Sequence[View], at: NDArray[np.intp], current: _Scored, cause: Cause
) -> list[NDArray[np.bool_]]:
    """The sets with one more disturbed probe that look best: by the present and default spreads."""
    sets = []
    for number in np.flatnonzero(~current.disturbed):
        disturbed = current.disturbed.copy()
        disturbed[number] = True
        sets.append(disturbed)
    best = {}
    for spreads in (current.spreads, (Spread(),) * len(views)):
        scores = [
            sum(
                _log_likelihood(view, spread, at, _disturbance(disturbed, cause))
                for view, spread in zip(views, spreads, strict=True)
            )
            for disturbed in sets
        ]
        chosen = sets[int(np.argmax(scores))]
        best[chosen.tobytes()] = chosen
    return list(best.values())


def _log_likelihood(
    view: View, spread: Spread, at: NDArray[np.intp], disturbance: FloatArray
) -> float:
    gram = view.kernel.covariance(spread, at) + disturbance
    gram += (spread.noise**2 + 1e-9) * np.eye(len(at))
    factor = np.linalg.cholesky(gram)
    white = np.linalg.solve(factor, view.log_ratio)
    return float(-0.5 * white @ white - np.log(np.diag(factor)).sum())


def _disturbance(disturbed: NDArray[np.bool_], cause: Cause) -> FloatArray:
    hit = disturbed.astype(np.float64)
    alike, own = CAUSES[cause]
    return alike**2 * np.outer(hit, hit) + np.diag(own**2 * hit)
