"""A device's costs given a few of its measurements, of single ops or of whole networks.

log cost of op i = log(sum over kinds k of amount[i, k] x exp(log_rate[k])) + offset[i] +
residual[i], with Gaussian priors on log rates and residuals. A measurement is the logarithm of a
sum of costs (of one op, or of all of a network) plus Gaussian noise. The posterior is Gaussian
around its mode (Laplace's approximation), which is found by Gauss-Newton steps; its evidence says
how well the prior explains the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MAX_STEPS: Final = 40
SHORTEST_STEP: Final = 1e-3
CONVERGED: Final = 1e-4
"""A full step that lowers the negative log density by less is the last one."""


@dataclass(frozen=True)
class Measurements:
    """What was measured: each value is what some ops cost together.

    Attributes:
        counts: how often each measurement runs each op, (m, n).
        log_value: logarithms of what they cost, (m,).
        at: the op of each measurement where all are single ops, else None, (m,).
    """

    counts: FloatArray
    log_value: FloatArray
    at: NDArray[np.intp] | None = None

    @classmethod
    def of_ops(
        cls, at: NDArray[np.intp], log_value: FloatArray, size: int | None = None
    ) -> Measurements:
        """Single ops by their number, of `size` ops in all (default: as many as measured)."""
        counts = np.zeros((len(at), len(at) if size is None else size))
        counts[np.arange(len(at)), at] = 1.0
        return cls(counts, log_value, at)

    def predicted(self, log_cost: FloatArray) -> FloatArray:
        """What they cost, given every op's log cost (n,): logarithms, (m,)."""
        if self.at is not None:
            return log_cost[self.at]
        level = float(log_cost.max())
        result: FloatArray = np.log(self.counts @ np.exp(log_cost - level)) + level
        return result

    def shares(self, log_cost: FloatArray) -> FloatArray:
        """Derivative of `predicted` by log cost: each op's share of each measurement, (m, n)."""
        if self.at is not None:
            return self.counts
        cost = self.counts * np.exp(log_cost - log_cost.max())
        result: FloatArray = cost / cost.sum(1, keepdims=True)
        return result


@dataclass(frozen=True)
class Prior:
    """What is expected of a device before it is measured.

    Attributes:
        amounts: how much of each kind of cost every op has, (n, kinds).
        log_rates: expected log rates, (kinds,).
        covariance: of the log rates, (kinds, kinds).
        offset: expected log cost beyond what the rates say, (n,).
        residual: covariance of what is left, (n, n).
    """

    amounts: FloatArray
    log_rates: FloatArray
    covariance: FloatArray
    offset: FloatArray
    residual: FloatArray

    def from_rates(self, log_rates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(log cost by the rates, (n,); its derivative by the log rates, (n, kinds))."""
        parts = self.amounts * np.exp(log_rates)
        cost = parts.sum(1)
        return np.log(cost) + self.offset, parts / cost[:, None]

    def at_level_of(self, measured: Measurements) -> Prior:
        """The same with all rates scaled to the median of the measurements.

        The scale is hardly known before; starting near it keeps the steps short.
        """
        log_cost, _ = self.from_rates(self.log_rates)
        shift = float(np.median(measured.log_value - measured.predicted(log_cost)))
        return replace(self, log_rates=self.log_rates + shift)


@dataclass(frozen=True)
class Posterior:
    """A device's costs given the measurements.

    Attributes:
        prior, measured: what it came from.
        log_rates: at the mode, (kinds,).
        log_cost: at the mode, (n,).
        pull: the residual is its covariance times this, (n,).
        gram: covariance of the measurements at the mode, noise included, (m, m).
        surprise: measured minus expected from the prior, linearised at the mode, (m,).
        by_rates: derivative of the measurements by the log rates, (m, kinds).
        by_ops: derivative of the measurements by the log costs, (m, n).
    """

    prior: Prior
    measured: Measurements
    log_rates: FloatArray
    log_cost: FloatArray
    pull: FloatArray
    gram: FloatArray
    surprise: FloatArray
    by_rates: FloatArray
    by_ops: FloatArray

    def log_evidence(self) -> float:
        """Log density of the measurements, up to a constant."""
        return float(log_density(self.gram[None], self.surprise)[0])

    def covariance(self) -> FloatArray:
        """Of the log costs, (n, n)."""
        _, slope = self.prior.from_rates(self.log_rates)
        rates, residual = self.prior.covariance, self.prior.residual
        with_measured = slope @ (rates @ self.by_rates.T) + residual @ self.by_ops.T
        before = slope @ rates @ slope.T + residual
        result: FloatArray = before - with_measured @ np.linalg.solve(self.gram, with_measured.T)
        return result

    def rate_covariance(self) -> FloatArray:
        """Of the log rates, (kinds, kinds)."""
        with_measured = self.prior.covariance @ self.by_rates.T
        learnt = with_measured @ np.linalg.solve(self.gram, with_measured.T)
        result: FloatArray = self.prior.covariance - learnt
        return result

    def held_out(self) -> tuple[FloatArray, FloatArray]:
        """Each measurement from the others: (predicted minus measured, its deviation), (m,)."""
        inverse = np.linalg.inv(self.gram)
        diagonal = np.diag(inverse)
        return -(inverse @ self.surprise) / diagonal, np.sqrt(1 / diagonal)


def condition(
    prior: Prior, measured: Measurements, noise: FloatArray, start: Posterior | None = None
) -> Posterior:
    """Finds the mode by damped Gauss-Newton steps.

    Args:
        prior: of the device.
        measured: at least one measurement.
        noise: its variance, in log units: (m,), or (m, m) where errors are correlated.
        start: where to begin, from the same prior with other noise; else at the prior's mean.
    """
    if noise.ndim == 1:
        noise = np.diag(noise)
    by_noise = np.asarray(np.linalg.inv(noise), dtype=np.float64)
    by_rates = np.asarray(np.linalg.inv(prior.covariance), dtype=np.float64)
    precision = (by_noise, by_rates)
    log_rates, pull = prior.log_rates, np.zeros(len(prior.offset))
    if start is not None:
        log_rates, pull = start.log_rates, start.pull
    best = _objective(prior, measured, precision, log_rates, pull)
    for _ in range(MAX_STEPS):
        point = _linearised(prior, measured, noise, log_rates, pull)
        weights = np.linalg.solve(point.gram, point.surprise)
        to_rates = prior.log_rates + prior.covariance @ (point.by_rates.T @ weights) - log_rates
        to_pull = point.by_ops.T @ weights - pull
        step = 1.0
        while step > SHORTEST_STEP:
            tried = log_rates + step * to_rates, pull + step * to_pull
            value = _objective(prior, measured, precision, *tried)
            if value <= best + 1e-9:
                break
            step /= 2
        else:
            break
        gained, best = best - value, value
        log_rates, pull = tried
        if step == 1.0 and gained < CONVERGED:
            break
    return _linearised(prior, measured, noise, log_rates, pull)


def _linearised(
    prior: Prior,
    measured: Measurements,
    noise: FloatArray,
    log_rates: FloatArray,
    pull: FloatArray,
) -> Posterior:
    """The posterior as it looks from a point; `pull` times the residual's covariance is the
    residual."""
    by_rates, slope = prior.from_rates(log_rates)
    residual = prior.residual @ pull
    log_cost = by_rates + residual
    shares = measured.shares(log_cost)
    at = measured.at
    if at is None:
        jacobian, between = shares @ slope, shares @ prior.residual @ shares.T
        moved = shares @ residual
    else:
        jacobian, between = slope[at], prior.residual[np.ix_(at, at)]
        moved = residual[at]
    gram = jacobian @ prior.covariance @ jacobian.T + between + noise
    away = jacobian @ (log_rates - prior.log_rates)
    surprise = measured.log_value - measured.predicted(log_cost) + away + moved
    return Posterior(
        prior=prior,
        measured=measured,
        log_rates=log_rates,
        log_cost=log_cost,
        pull=pull,
        gram=gram,
        surprise=surprise,
        by_rates=jacobian,
        by_ops=shares,
    )


def log_density(grams: FloatArray, surprise: FloatArray) -> FloatArray:
    """Log densities of one vector (m,) under Gaussians of covariances (c, m, m), up to a
    constant."""
    factors = np.linalg.cholesky(grams)
    white = np.linalg.solve(factors, np.broadcast_to(surprise[:, None], (*grams.shape[:2], 1)))
    logs = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)
    result: FloatArray = -0.5 * (white[..., 0] ** 2).sum(1) - logs
    return result


def _objective(
    prior: Prior,
    measured: Measurements,
    precision: tuple[FloatArray, FloatArray],
    log_rates: FloatArray,
    pull: FloatArray,
) -> float:
    """Negative log posterior density, up to a constant."""
    residual = prior.residual @ pull
    error = measured.log_value - measured.predicted(prior.from_rates(log_rates)[0] + residual)
    away = log_rates - prior.log_rates
    by_noise, by_rates = precision
    return 0.5 * float(error @ by_noise @ error + away @ by_rates @ away + pull @ residual)
