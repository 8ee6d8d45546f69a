"""What a known device's table lets expect of a new one: hypotheses, to be weighed by the probes.

A new device has the known one's rates up to factors, or it spends most of its time on launches (a
GPU that runs small kernels), or most of it on work, whatever the known one does. What rates do not
explain of the known device then returns in part. Or the two have nothing in common, and the new one
has rates as any device may. Ops alike (name, kernel, stride, size) deviate alike. Each hypothesis
says one of the four, how far ops may deviate, and how much single ops scatter. How well it then
explains the probes is its weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.features import family, shape_features
from proxyless_hw.predictors.posterior import Prior
from proxyless_hw.predictors.rates import (
    AMONG_DEVICES,
    IS_LAUNCH,
    Freedom,
    Rates,
    cost_amounts,
    fit_rates,
    typical_log_rates,
)
from proxyless_hw.space.op_names import SHORTCUT_OPS
from proxyless_hw.space.specs import OpSpec, op_variant
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]

FROM_SOURCE: Final = Freedom(
    scale=3.0, launches=0.0, launch=0.4, work=0.6, depthwise=0.6, kernel=0.3,
    large_kernel=1.2, memory=0.5, channels=2.0,
)  # fmt: skip
"""How far a new device's rates go from a known one's."""

BOUND_BY: Final[tuple[tuple[str, float, float | None, float], ...]] = (
    ("as the source", 0.6, None, 0.7),
    ("launches", 0.2, 1.5, 1.2),
    ("work", 0.2, -1.5, 1.2),
)
"""What the new device may be bound by: (words, prior probability, expected log of its time for
launches over its time for work (None: as the source), standard deviation of that)."""

UNRELATED: Final = 0.2
"""Prior probability that the source tells nothing of the new device."""

SPREADS: Final = (
    *((0.5, 0.03, 0.2), (1.0, 0.03, 0.25), (2.0, 0.03, 0.15)),
    *((1.0, 0.1, 0.2), (2.0, 0.1, 0.15), (4.0, 0.1, 0.05)),
)
"""What comes into question: (factor on `Deviation`, standard deviation of single ops in log
units, prior probability)."""

MISFIT_KEPT: Final = 0.6
MISFIT_KEPT_DEVIATION: Final = 0.4
"""What rates leave of the source returns with this factor, and its standard deviation."""

UNKNOWN_MISFIT: Final = 0.1
"""Standard deviation of the misfit of an op that the source lacks."""

LARGE_KERNEL: Final = 7

IMAGE_CHANNELS: Final = 4
"""A convolution of no more input channels reads an image."""

_SMOOTH_COLUMNS: Final = (0, 1, 2)
"""Area and channels of `shape_features`: the smooth terms vary in these."""

_SMOOTH_LENGTH: Final = 1.5


@dataclass(frozen=True)
class Deviation:
    """Standard deviations, in log units, of what rates do not explain.

    Attributes:
        op: all ops of one name.
        kernel: all ops of one name and kernel size.
        stride: all ops of one name and stride.
        family: all ops of one name, kernel and stride.
        smooth: smooth in the input's area and channels.
        kernel_smooth: as `smooth`, for ops of one name and kernel size.
        own: each op for itself.
        large_kernel: all 7x7 (and larger) blocks; not scaled with the rest, because some runtimes
            have no fast routine for them, whatever else they do.
        first_layer: convolutions that read an image; not scaled either. No other op is like them,
            and all networks of a space have the same one.
    """

    op: float = 0.15
    kernel: float = 0.12
    stride: float = 0.12
    family: float = 0.06
    smooth: float = 0.15
    kernel_smooth: float = 0.08
    own: float = 0.03
    large_kernel: float = 1.0
    first_layer: float = 0.8

    def covariance(self, ops: Sequence[OpSpec]) -> FloatArray:
        """Between ops, (n, n)."""
        shapes = shape_features(ops)[:, _SMOOTH_COLUMNS]
        distance = ((shapes[:, None] - shapes[None]) ** 2).sum(2)
        near = np.exp(-distance / (2 * _SMOOTH_LENGTH**2))
        kernels = _same([(op.op, op.kernel) for op in ops])
        result: FloatArray = self.own**2 * np.eye(len(ops))
        result += self.op**2 * _same([op.op for op in ops]) + self.kernel**2 * kernels
        result += self.stride**2 * _same([(op.op, op.stride) for op in ops])
        result += self.family**2 * _same([family(op) for op in ops])
        result += (self.smooth**2 + self.kernel_smooth**2 * kernels) * near
        return result

    def unscaled_covariance(self, ops: Sequence[OpSpec]) -> FloatArray:
        """Between ops, the part that is not scaled, (n, n)."""
        large = np.array([float(op.largest_kernel >= LARGE_KERNEL) for op in ops])
        first = np.array([float(_reads_an_image(op)) for op in ops])
        result: FloatArray = self.large_kernel**2 * np.outer(large, large)
        result += self.first_layer**2 * np.outer(first, first)
        return result


def _reads_an_image(op: OpSpec) -> bool:
    is_block = op_variant(op.op).base in SHORTCUT_OPS
    return not is_block and op.kernel > 1 and op.in_c <= IMAGE_CHANNELS


def _same(labels: Sequence[object]) -> FloatArray:
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    column = np.array([numbers[label] for label in labels])
    same: FloatArray = (column[:, None] == column[None]).astype(np.float64)
    return same


@dataclass(frozen=True)
class Hypothesis:
    """One expectation of the new device.

    Attributes:
        source: number of the table it starts from; None for `_any_rates`, which uses no table.
        bound_by: what the device is bound by, in words (`BOUND_BY`).
        log_weight: log prior probability.
        prior: what it lets expect.
        scatter: standard deviation of single ops.
    """

    source: int | None
    bound_by: str
    log_weight: float
    prior: Prior
    scatter: float


def hypotheses(ops: Sequence[OpSpec], sources: Sequence[LatencyTable]) -> list[Hypothesis]:
    """What the sources let expect of a new device, all sources alike probable.

    Args:
        ops: what is to be predicted, (n,).
        sources: known tables; those that lack some of `ops` tell their rates from what they have.
    """
    amounts = cost_amounts(ops)
    deviation, unscaled = Deviation().covariance(ops), Deviation().unscaled_covariance(ops)
    found = []
    for number, source in enumerate(sources):
        rates, misfit, known = _read(source, ops)
        spread = UNKNOWN_MISFIT**2 * np.diag((~known).astype(np.float64))
        spread += MISFIT_KEPT_DEVIATION**2 * np.outer(misfit, misfit)
        for words, probability, log_rates, covariance in _expected_rates(rates, amounts):
            prior = Prior(amounts, log_rates, covariance, MISFIT_KEPT * misfit, unscaled + spread)
            weight = (1 - UNRELATED) * probability / len(sources)
            found += _spread(number, words, weight, prior, deviation)
        if number == 0:  # its level is a place to start from; devices do not tell it
            log_rates, covariance = _any_rates(rates)
            prior = Prior(amounts, log_rates, covariance, 0 * misfit, unscaled)
            found += _spread(None, "unlike the source", UNRELATED, prior, deviation)
    return found


def _spread(
    source: int | None, words: str, weight: float, prior: Prior, deviation: FloatArray
) -> list[Hypothesis]:
    """One expectation, with ops that deviate from it more or less."""
    return [
        Hypothesis(
            source=source,
            bound_by=words,
            log_weight=math.log(weight * likely),
            prior=replace(prior, residual=prior.residual + factor**2 * deviation),
            scatter=scatter,
        )
        for factor, scatter, likely in SPREADS
    ]


def _read(
    source: LatencyTable, ops: Sequence[OpSpec]
) -> tuple[Rates, FloatArray, NDArray[np.bool_]]:
    """(the source's rates, its misfit at every op or 0, which ops it has)."""
    own = list(source.entries)
    values = log_values([entry.value for entry in source.entries.values()])
    rates = fit_rates(cost_amounts(own), values)
    left = dict(zip(own, rates.misfit.tolist(), strict=True))
    known = np.array([op in left for op in ops], dtype=bool)
    return rates, np.array([left.get(op, 0.0) for op in ops]), known


def _expected_rates(
    rates: Rates, amounts: FloatArray
) -> list[tuple[str, float, FloatArray, FloatArray]]:
    """(what binds the device, probability, expected log rates, their covariance)."""
    share = rates.launch_share(amounts)
    # Half of a shift goes to the launches and half to the work: the scale is free anyway.
    apart = IS_LAUNCH - 0.5
    free = FROM_SOURCE.covariance() + rates.covariance
    found = []
    for words, probability, expected, deviation in BOUND_BY:
        shift = 0.0 if expected is None else expected - share
        covariance = free + deviation**2 * np.outer(apart, apart)
        found.append((words, probability, rates.log + shift * apart, covariance))
    return found


def _any_rates(rates: Rates) -> tuple[FloatArray, FloatArray]:
    """(log rates of a device that nothing is known of, at the source's level, their covariance)."""
    typical = typical_log_rates()
    return typical + float((rates.log - typical).mean()), AMONG_DEVICES.covariance()


def log_values(values: Sequence[float]) -> FloatArray:
    """Natural logarithms as an array."""
    return np.array([math.log(value) for value in values])
