"""From a table to a predictor: look-up, regression, or both, with the table's calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import PredictorError, did_you_mean
from proxyless_hw.formats.load import given_architecture
from proxyless_hw.predictors.calibration import Calibration, load_calibration
from proxyless_hw.predictors.costs import CostTable, count_blocks, space_costs
from proxyless_hw.predictors.lookup import (
    OpPrices,
    check_coverage,
    lookup_prices,
    scaled_half_width,
    table_half_widths,
)
from proxyless_hw.predictors.provenance import transferred_ops
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import LatencyTable

if TYPE_CHECKING:
    from proxyless_hw.predictors.regression import OpRegression

Kind = Literal["auto", "lookup", "regression"]
Source = Literal["measured", "transferred", "regressed"]


@dataclass(frozen=True, slots=True)
class ExplainedOp:
    """One op of a network with its price.

    Attributes:
        op: the op.
        ms: its price, before calibration, in the table's unit (ms for latency).
        source: ``measured`` (looked up), ``transferred`` (looked up in a table that was itself
            predicted from another device's), or ``regressed``.
        extrapolated: whether it lies outside what the regression was trained on.
        layer: index of the layer in the architecture's `layers`.
    """

    op: OpSpec
    ms: float
    source: Source
    extrapolated: bool
    layer: int


class Predictor:
    """Prices ops, networks and spaces from a table. Made by `fit_predictor`.

    Args:
        table: of any metric; values are in its unit, ms for latency.
        kind: ``lookup`` (missing ops raise), ``regression`` (every op regressed), or ``auto``
            (what is there looked up, the rest regressed).
        calibration: correction of whole networks; None for plain sums.
        seed: of the regression, which refits deterministically.

    Attributes:
        table, kind, calibration, seed: as given.
    """

    def __init__(
        self,
        table: LatencyTable,
        kind: Kind = "auto",
        calibration: Calibration | None = None,
        seed: int = 0,
    ) -> None:
        self.table = table
        self.kind = kind
        self.calibration = calibration
        self.seed = seed

    @cached_property
    def regression(self) -> OpRegression:
        """The regression over the table's ops, fitted when it is first needed.

        Raises:
            PredictorError: the table cannot carry one (too few rows, or all values equal).
        """
        from proxyless_hw.predictors.regression import fit_regression

        return fit_regression(self.table, seed=self.seed)

    def prices(self, ops: Sequence[OpSpec]) -> OpPrices:
        """Prices ops, in order, before calibration, in the table's unit.

        Raises:
            MissingEntryError: look-up only, and the table lacks ops; all are named.
            PredictorError: ops must be regressed and the table cannot carry a regression.
        """
        missing = set(ops) if self.kind == "regression" else set(self.table.missing(ops))
        if self.kind == "lookup" or not missing:
            return lookup_prices(self.table, ops)
        absent = [op for op in dict.fromkeys(ops) if op in missing]
        regressed = self.regression.predict(absent)
        price = dict(zip(absent, regressed.ms.tolist(), strict=True))
        outside = {op for op, is_out in zip(absent, regressed.extrapolated, strict=True) if is_out}
        values = [price[op] if op in missing else self.table.entries[op].value for op in ops]
        looked_up = np.array([op not in missing for op in ops], dtype=bool)
        predicted = transferred_ops(self.table)
        transferred = looked_up & np.array([op in predicted for op in ops], dtype=bool)
        return OpPrices(
            value=np.array(values, dtype=np.float64),
            measured=looked_up & ~transferred,
            transferred=transferred,
            extrapolated=np.array([op in outside for op in ops], dtype=bool),
        )

    def op_ms(self, ops: Sequence[OpSpec]) -> NDArray[np.float64]:
        """Prices of ops, (n,), before calibration; in the table's unit, ms for latency.

        Raises:
            MissingEntryError, PredictorError: as `prices`.
        """
        return self.prices(ops).value

    def predict(self, arch: Architecture | str | Path) -> float:
        """The network's calibrated total at its deployment shape, in the table's unit.

        Args:
            arch: a network, or what names one: a name of the zoo, a file.

        Raises:
            ArchitectureError: nothing has that name, or the file breaks a rule.
            TableError: the costs of a network's ops do not add up (memory).
            MissingEntryError, PredictorError: as `prices`.
        """
        total, blocks = self._sum(given_architecture(arch))
        return self.calibration.apply(total, blocks) if self.calibration else total

    @property
    def unit(self) -> str:
        """Unit of every prediction: the table's."""
        return self.table.unit

    def predict_ms(self, arch: Architecture | str | Path) -> float:
        """The network's latency at its deployment shape; see `predict`.

        Raises:
            TableError: the table measures something else.
            ArchitectureError, MissingEntryError, PredictorError: as `predict`.
        """
        self.table.require_metric("latency")
        return self.predict(arch)

    def interval_ms(
        self, arch: Architecture | str | Path, coverage: float = 0.9
    ) -> tuple[float, float]:
        """Interval of the network's latency; see `interval`.

        Raises:
            TableError: the table measures something else.
            ArchitectureError, PredictorError, MissingEntryError: as `interval`.
        """
        self.table.require_metric("latency")
        return self.interval(arch, coverage)

    def interval(
        self, arch: Architecture | str | Path, coverage: float = 0.9
    ) -> tuple[float, float]:
        """Interval of the network's total, in the table's unit.

        Calibrated: a prediction interval for the measured network, from the calibration networks.
        Not calibrated: the uncertainty of the sum alone, from its ops; what a whole network adds
        or saves is not in it. Measured ops count with their own intervals as independent errors,
        beside the error of the level that a table's header states for all of them; transferred and
        regressed ones as errors that all point the same way.

        Raises:
            PredictorError: the coverage is not in (0, 1), or nothing tells how far the ops are off.
            ArchitectureError, MissingEntryError: as `predict`.
        """
        check_coverage(coverage)
        arch = given_architecture(arch)
        total, blocks = self._sum(arch)
        if self.calibration is None:
            half = self._half_width(arch.ops(), coverage, table_too=True)
            return max(0.0, total - half), total + half
        low, high = self.calibration.interval_ms(total, blocks, coverage)
        value = self.calibration.apply(total, blocks)
        # The calibration networks speak for the table's ops; regressed ones add their own errors.
        regressed = self.calibration.b * self._half_width(arch.ops(), coverage, table_too=False)
        half = float(np.hypot((high - low) / 2, regressed))
        return max(0.0, value - half), value + half

    def explain(self, arch: Architecture | str | Path) -> list[ExplainedOp]:
        """Every op of a network with its price and where it comes from.

        Raises:
            ArchitectureError: as `predict`.
            MissingEntryError, PredictorError: as `prices`.
        """
        layers = enumerate(given_architecture(arch).layer_ops())
        listed = [(index, op) for index, (_, op) in layers if op is not None]
        prices = self.prices([op for _, op in listed])
        return [
            ExplainedOp(
                op=op,
                ms=float(prices.value[place]),
                source=_source(prices, place),
                extrapolated=bool(prices.extrapolated[place]),
                layer=layer,
            )
            for place, (layer, op) in enumerate(listed)
        ]

    def space_costs(
        self, space: SearchSpace, resolution: int | None = None, num_classes: int | None = None
    ) -> CostTable:
        """Prices of every choice of a space, calibration contained.

        Raises:
            TableError: the costs of a network's ops do not add up (memory).
            MissingEntryError, PredictorError: as `prices`.
        """
        self.table.require_additive()
        return space_costs(
            space,
            self.op_ms,
            self.calibration,
            resolution,
            num_classes,
            name=Path(self.table.name).stem,
            unit=self.table.unit,
        )

    def _sum(self, arch: Architecture) -> tuple[float, int]:
        self.table.require_additive()
        return float(sum(self.op_ms(arch.ops()).tolist())), count_blocks(arch)

    def _half_width(self, ops: Sequence[OpSpec], coverage: float, table_too: bool) -> float:
        distinct = list(dict.fromkeys(ops))
        # The same op twice has the same error twice.
        times = np.array([ops.count(op) for op in distinct], dtype=np.float64)
        prices = self.prices(distinct)
        looked_up = prices.measured | prices.transferred
        halves = np.full(len(distinct), np.nan)
        inside = [op for op, there in zip(distinct, looked_up, strict=True) if there]
        halves[looked_up] = table_half_widths(self.table, inside, coverage)
        unknown = np.isnan(halves) & (table_too | ~looked_up)
        if unknown.any():
            asked = [op for op, is_unknown in zip(distinct, unknown, strict=True) if is_unknown]
            low, high = self.regression.interval(asked, coverage)
            halves[unknown] = (np.asarray(high) - np.asarray(low)) / 2
        reach = times * halves
        independent = reach[prices.measured & ~unknown] if table_too else np.zeros(1)
        alike = unknown | (prices.transferred & table_too)
        together = float(reach[alike].sum())
        shared = 0.0
        if table_too:
            known = prices.measured & ~unknown
            shared = float((times * prices.value)[known].sum()) * scaled_half_width(
                self.table.level_half_width, coverage
            )
        return math.sqrt(float((independent**2).sum()) + together**2 + shared**2)


def _source(prices: OpPrices, place: int) -> Source:
    if prices.measured[place]:
        return "measured"
    return "transferred" if prices.transferred[place] else "regressed"


def fit_predictor(
    table: LatencyTable | str | Path, kind: Kind = "auto", *, calibrate: bool = True, seed: int = 0
) -> Predictor:
    """Makes a predictor from a table.

    Args:
        table: of any metric; or its name or path.
        kind: ``auto``, ``lookup`` or ``regression`` (see `Predictor`).
        calibrate: use the calibration beside the table's file, where there is one.
        seed: of the regression.

    Raises:
        PredictorError: no such kind; the calibration beside the table is another table's; or
            (``regression``) the table cannot carry a regression.
        TableError: nothing has that name, or it is no table.

    Example:
        >>> import proxyless_hw as ph
        >>> predictor = ph.fit_predictor("pixel1")
        >>> space = ph.SearchSpace.load("imagenet")
        >>> network = ph.Architecture.from_choices(space, [0] * len(space.slots))
        >>> f"{predictor.predict_ms(network):.1f} ms"
        '76.0 ms'
    """
    if kind not in get_args(Kind):
        raise PredictorError(
            f"a predictor is one of {', '.join(get_args(Kind))}: received {str(kind)[:40]!r}."
            f"{did_you_mean(str(kind), get_args(Kind))}"
        )
    table = table_of(table)
    calibration = None
    if calibrate and table.metric == "latency" and Path(table.name).is_file():
        calibration = load_calibration(Path(table.name), table)
    predictor = Predictor(table, kind, calibration, seed)
    if kind == "regression":
        _ = predictor.regression  # a table that cannot carry one is refused here, not later
    return predictor
