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

from proxyless_hw.network.counting import FLOAT32_BYTES, op_bytes, op_macs
from proxyless_hw.predictors.features import family, op_parts, shape_features
from proxyless_hw.specs import OpSpec

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
        self.terms = (
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
        self.size = len(ops)

    def covariance(self, spread: Spread) -> FloatArray:
        """(n, n), without the noise."""
        deviations = astuple(spread)[: len(self.terms)]
        total = np.zeros((self.size, self.size))
        for deviation, term in zip(deviations, self.terms, strict=True):
            total += deviation**2 * term
        return total


def _same(labels: Sequence[object]) -> FloatArray:
    return np.array([[float(one == other) for other in labels] for one in labels])


def _depthwise_share(op: OpSpec) -> float:
    parts = op_parts(op)
    macs = sum(part.macs for part in parts)
    return sum(part.macs for part in parts if part.kind == "depthwise") / macs if macs else 0.0


def log_work(ops: Sequence[OpSpec]) -> FloatArray:
    """Log of the work ops do: multiply-accumulates plus elements moved, (n,)."""
    return log_values([op_macs(op) + op_bytes(op) / FLOAT32_BYTES for op in ops])


def fit_spread(covariances: OpKernel, at: NDArray[np.intp], log_ratio: FloatArray) -> Spread:
    """Chooses the spread by marginal likelihood, kept near the default by a log-normal prior.

    Args:
        covariances: prior terms over all ops.
        at: which ops were measured on the target, (k,).
        log_ratio: log target minus log source there, (k,).
    """
    from scipy.optimize import minimize

    start = np.log(astuple(Spread()))
    terms = np.array([term[np.ix_(at, at)] for term in covariances.terms])

    def cost(logs: FloatArray) -> float:
        scales = np.exp(2 * logs)
        matrix = np.tensordot(scales[:-1], terms, 1) + scales[-1] * np.eye(len(at))
        factor = np.linalg.cholesky(matrix + 1e-9 * np.eye(len(at)))
        white = np.linalg.solve(factor, log_ratio)
        likelihood = 0.5 * white @ white + np.log(np.diag(factor)).sum()
        return float(likelihood + 0.5 * (((logs - start) / 1.0) ** 2).sum())

    bounds = [(value - 3, value + 3) for value in start]
    best = minimize(cost, start, method="L-BFGS-B", bounds=bounds)
    return Spread(*np.exp(best.x))


def condition(
    covariances: OpKernel, spread: Spread, at: NDArray[np.intp], log_ratio: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Log ratio of all ops given that of some: (mean, standard deviation), each (n,)."""
    prior = covariances.covariance(spread)
    gram = prior[np.ix_(at, at)] + (spread.noise**2 + 1e-9) * np.eye(len(at))
    weights = np.linalg.solve(gram, prior[at])
    mean = weights.T @ log_ratio
    variance = np.diag(prior) - np.einsum("kn,kn->n", prior[at], weights) + spread.noise**2
    return mean, np.sqrt(np.maximum(variance, 1e-12))


def leave_one_out(
    covariances: OpKernel, spread: Spread, at: NDArray[np.intp], log_ratio: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(error, standard deviation) of each measured op, predicted from the others, (k,) each."""
    prior = covariances.covariance(spread)[np.ix_(at, at)]
    inverse = np.linalg.inv(prior + (spread.noise**2 + 1e-9) * np.eye(len(at)))
    diagonal = np.diag(inverse)
    return (inverse @ log_ratio) / diagonal, np.sqrt(1 / diagonal)


def log_values(values: Sequence[float]) -> FloatArray:
    """Natural logarithms as an array."""
    return np.array([math.log(value) for value in values])
