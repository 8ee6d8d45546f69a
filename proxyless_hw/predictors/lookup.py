"""Exact look-up, and the form in which every way of pricing hands over its prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.provenance import transferred_ops
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class OpPrices:
    """Prices of ops, in the table's unit (ms for latency); all arrays are (n,).

    Attributes:
        value: the prices.
        measured: True where the table holds a measurement of the op.
        transferred: True where the table holds a prediction from another device's table; where
            neither is true, the op was regressed.
        extrapolated: True where an op lies outside what the regression was trained on.
    """

    value: FloatArray
    measured: BoolArray
    transferred: BoolArray
    extrapolated: BoolArray


def lookup_prices(table: LatencyTable, ops: Sequence[OpSpec]) -> OpPrices:
    """Prices ops by exact look-up.

    Raises:
        MissingEntryError: names every op that the table lacks; nothing is ever substituted.
    """
    table.require(ops)
    value = np.array([table.entries[op].value for op in ops], dtype=np.float64)
    predicted = transferred_ops(table)
    transferred = np.array([op in predicted for op in ops], dtype=bool)
    return OpPrices(value, ~transferred, transferred, np.zeros(len(ops), dtype=bool))


def table_half_widths(table: LatencyTable, ops: Sequence[OpSpec], coverage: float) -> FloatArray:
    """Half-widths of the table's own intervals of ops at a coverage; NaN for an op without one.

    The table's are 95% intervals; another coverage scales them as a normal distribution's.
    """
    scale = scaled_half_width(1.0, coverage)
    halves = np.full(len(ops), np.nan)
    for index, op in enumerate(ops):
        entry = table.entries[op]
        if entry.ci_low is not None and entry.ci_high is not None:
            halves[index] = scale * (entry.ci_high - entry.ci_low) / 2
    return halves


def scaled_half_width(half_width_95: float, coverage: float) -> float:
    """Half-width at another coverage than 95%, as a normal distribution's."""
    check_coverage(coverage)
    normal = NormalDist()
    return half_width_95 * normal.inv_cdf(0.5 + coverage / 2) / normal.inv_cdf(0.975)


def check_coverage(coverage: float) -> None:
    """Checks a coverage.

    Raises:
        PredictorError: it does not lie strictly between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise PredictorError(f"a coverage lies between 0 and 1: received {coverage:g}.")
