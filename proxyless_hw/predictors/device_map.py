"""How one device's costs relate to another's: a Gaussian process on the log ratio, by families.

log target = log source + scale + family terms + smooth term. Families are ops that a runtime
treats alike (op, kernel, stride); every term is drawn towards zero, hence every family towards
the common scale, as far as the probes leave it open (shrinkage).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.features import family, op_parts, shape_features
from proxyless_hw.space.counting import FLOAT32_BYTES, op_bytes, op_macs
from proxyless_hw.space.specs import OpSpec

FloatArray = NDArray[np.float64]

_SMOOTH_COLUMNS: Final = (0, 1, 2)
"""Area and channels of `shape_features`: the smooth term varies in these."""


@dataclass(frozen=True)
class Spread:
    """Prior standard deviations, in log units: how far each term may go.

    Attributes:
        scale: all ops together.
        exponent: per unit of log source cost (small ops dearer or cheaper than large ones).
        efficiency: per unit of the source's log cost per work done; -1 would forget the source's
            rates and go by the amount of work alone.
        op: all ops of one name.
        kernel: all ops of one name and kernel size.
        depthwise: as `kernel`, times the share of depthwise work in the op.
        stride: all ops of one name and stride.
        family: all ops of one name, kernel and stride.
        smooth: smooth in the input's area and channels.
        kernel_smooth: as `smooth`, for ops of one name and kernel size.
        noise: each op for itself.
    """

    scale: float = 3.0
    exponent: float = 0.2
    efficiency: float = 0.5
    op: float = 0.5
    kernel: float = 0.6
    depthwise: float = 1.5
    stride: float = 0.3
    family: float = 0.15
    smooth: float = 0.3
    kernel_smooth: float = 0.3
    noise: float = 0.1


class OpKernel:
    """Prior covariance of the log ratio between ops.

    Args:
        ops: the ops, in the order of all arrays.
        log_source: their log cost on the source, (n,).
    """

    def __init__(self, ops: Sequence[OpSpec], log_source: FloatArray) -> None:
        centred = log_source - log_source.mean()
        rates = log_source - log_work(ops)
        rates -= rates.mean()
        depthwise = np.array([_depthwise_share(op) for op in ops])
        names = [op.op for op in ops]
        kernels = _same([(op.op, op.kernel) for op in ops])
        shapes = shape_features(ops)[:, _SMOOTH_COLUMNS]
        distance = ((shapes[:, None] - shapes[None]) ** 2).sum(2)
        near = np.exp(-distance / (2 * 1.5**2))
        self.terms = np.array(
            (
                np.ones((len(ops), len(ops))),
                np.outer(centred, centred),
                np.outer(rates, rates),
                _same(names),
                kernels,
                kernels * np.outer(depthwise, depthwise),
                _same([(op.op, op.stride) for op in ops]),
                _same([family(op) for op in ops]),
                near,
                kernels * near,
            )
        )
        self.size = len(ops)

    def covariance(self, spread: Spread, at: NDArray[np.intp] | None = None) -> FloatArray:
        """(n, n) without the noise; (k, k) of the ops `at`."""
        terms = self.terms if at is None else self.among(at)
        deviations = np.array(astuple(spread)[: len(terms)])
        return np.tensordot(deviations**2, terms, 1)

    def among(self, at: NDArray[np.intp]) -> FloatArray:
        """The terms between the ops `at`, (terms, k, k)."""
        return self.terms[:, at[:, None], at]


def _same(labels: Sequence[object]) -> FloatArray:
    return np.array([[float(one == other) for other in labels] for one in labels])


def _depthwise_share(op: OpSpec) -> float:
    parts = op_parts(op)
    macs = sum(part.macs for part in parts)
    return sum(part.macs for part in parts if part.kind == "depthwise") / macs if macs else 0.0


def log_work(ops: Sequence[OpSpec]) -> FloatArray:
    """Log of the work ops do: multiply-accumulates plus elements moved, (n,)."""
    return log_values([op_macs(op) + op_bytes(op) / FLOAT32_BYTES for op in ops])


def fit_spread(
    covariances: OpKernel,
    at: NDArray[np.intp],
    log_ratio: FloatArray,
    disturbance: FloatArray | None = None,
) -> tuple[Spread, float]:
    """Chooses the spread by marginal likelihood, kept near the default by a log-normal prior.

    Args:
        covariances: prior terms over all ops.
        at: which ops were measured on the target, (k,).
        log_ratio: log target minus log source there, (k,).
        disturbance: covariance of what disturbed single measurements, (k, k); None for nothing.

    Returns:
        The spread, and the logarithm of its posterior density up to a constant.
    """
    from scipy.optimize import minimize

    start = np.log(astuple(Spread()))
    size = len(at)
    noise = np.eye(size)
    terms = np.concatenate([covariances.among(at), noise[None]])
    fixed = 1e-9 * noise + (0.0 if disturbance is None else disturbance)

    def cost(logs: FloatArray) -> tuple[float, FloatArray]:
        scales = np.exp(2 * logs)
        factor = np.linalg.cholesky(np.tensordot(scales, terms, 1) + fixed)
        inverse = np.linalg.inv(factor)
        inverse = inverse.T @ inverse
        weights = inverse @ log_ratio
        value = 0.5 * log_ratio @ weights + np.log(np.diag(factor)).sum()
        slope = scales * np.tensordot(terms, inverse - np.outer(weights, weights), 2)
        away = logs - start
        return float(value + 0.5 * away @ away), slope + away

    bounds = [(value - 3, value + 3) for value in start]
    best = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Spread(*np.exp(best.x)), -float(best.fun)


def condition(
    covariances: OpKernel,
    spread: Spread,
    at: NDArray[np.intp],
    log_ratio: FloatArray,
    disturbance: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Log ratio of all ops given that of some: (mean, standard deviation), each (n,)."""
    prior = covariances.covariance(spread)
    weights = np.linalg.solve(_gram(prior, spread, at, disturbance), prior[at])
    mean = weights.T @ log_ratio
    variance = np.diag(prior) - np.einsum("kn,kn->n", prior[at], weights) + spread.noise**2
    return mean, np.sqrt(np.maximum(variance, 1e-12))


def leave_one_out(
    covariances: OpKernel,
    spread: Spread,
    at: NDArray[np.intp],
    log_ratio: FloatArray,
    disturbance: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """(error, standard deviation) of each measured op, predicted from the others, (k,) each."""
    inverse = np.linalg.inv(_gram(covariances.covariance(spread), spread, at, disturbance))
    diagonal = np.diag(inverse)
    return (inverse @ log_ratio) / diagonal, np.sqrt(1 / diagonal)


def _gram(
    prior: FloatArray, spread: Spread, at: NDArray[np.intp], disturbance: FloatArray | None
) -> FloatArray:
    """Covariance of the measured log ratios, (k, k)."""
    own: FloatArray = (spread.noise**2 + 1e-9) * np.eye(len(at))
    return prior[np.ix_(at, at)] + own + (0.0 if disturbance is None else disturbance)


def log_values(values: Sequence[float]) -> FloatArray:
    """Natural logarithms as an array."""
    return np.array([math.log(value) for value in values])
