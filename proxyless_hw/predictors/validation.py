"""Validation of a table: whole networks of its space, measured against predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.calibration import CalibrationNetwork
from proxyless_hw.predictors.costs import count_blocks
from proxyless_hw.predictors.fit import Predictor, fit_predictor
from proxyless_hw.predictors.measured import at_table_speed
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.predictors.validation_networks import DrawnNetwork
from proxyless_hw.profilers.protocol.measurement import Measurement
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How predictions agree with measurements.

    Attributes:
        networks: number of networks.
        mape: mean absolute relative error.
        bias: mean signed relative error; positive where predictions are too high.
        within_2, within_5, within_10: share of networks within 2%, 5% and 10%.
        kendall_tau, spearman: rank correlations.
        rmse_ms: root mean squared error in ms.
    """

    networks: int
    mape: float
    bias: float
    within_2: float
    within_5: float
    within_10: float
    kendall_tau: float
    spearman: float
    rmse_ms: float


@dataclass(frozen=True, slots=True)
class ValidatedNetwork:
    """One network.

    Attributes:
        name: what it is.
        kind: ``uniform``, ``spread`` or ``named``.
        predicted_ms: exact sum of the table.
        calibrated_ms: the same after the table's calibration; None without one.
        measured: what was measured.
        blocks: its blocks.
    """

    name: str
    kind: str
    predicted_ms: float
    calibrated_ms: float | None
    measured: Measurement
    blocks: int

    @property
    def measured_ms(self) -> float:
        """What was measured, at the table's speed where the table has anchors."""
        return at_table_speed(self.measured)[0]


@dataclass(frozen=True, slots=True)
class Validation:
    """Measured against predicted, for all networks."""

    networks: tuple[ValidatedNetwork, ...]

    def of_kind(self, kind: str) -> list[ValidatedNetwork]:
        """The networks of one kind."""
        return [network for network in self.networks if network.kind == kind]

    def accuracy(self, kind: str, *, calibrated: bool = False) -> Accuracy | None:
        """Accuracy over one kind of networks; None without such networks or a calibration."""
        chosen = self.of_kind(kind)
        predicted = [
            network.calibrated_ms if calibrated else network.predicted_ms for network in chosen
        ]
        if not chosen or any(value is None for value in predicted):
            return None
        return accuracy(
            np.array(predicted, dtype=np.float64),
            np.array([network.measured_ms for network in chosen]),
        )

    def calibration_networks(self) -> list[CalibrationNetwork]:
        """All networks in the form that a calibration is fitted on."""
        return [
            CalibrationNetwork(
                name=network.name,
                predicted_ms=network.predicted_ms,
                blocks=network.blocks,
                measured_ms=network.measured_ms,
            )
            for network in self.networks
        ]

    def to_json(self) -> JsonObject:
        """The JSON form: the uniform networks' figures, with the others nested."""
        document: JsonObject = {}
        for kind in ("uniform", "spread"):
            raw = self.accuracy(kind)
            calibrated = self.accuracy(kind, calibrated=True)
            figures: JsonObject = {} if raw is None else asdict(raw)
            figures["calibrated"] = None if calibrated is None else asdict(calibrated)
            if kind == "uniform":
                document.update(figures)
            else:
                document[kind] = figures
        document["named"] = [
            {
                "name": network.name,
                "predicted_ms": network.predicted_ms,
                "calibrated_ms": network.calibrated_ms,
                "measured_ms": network.measured_ms,
                "error": network.predicted_ms / network.measured_ms - 1,
            }
            for network in self.of_kind("named")
        ]
        return document


def accuracy(predicted_ms: FloatArray, measured_ms: FloatArray) -> Accuracy:
    """Compares predictions with measurements, shape (n,) each, in ms."""
    error = predicted_ms / measured_ms - 1
    size = np.abs(error)
    return Accuracy(
        networks=len(error),
        mape=float(size.mean()),
        bias=float(error.mean()),
        within_2=float((size <= 0.02).mean()),
        within_5=float((size <= 0.05).mean()),
        within_10=float((size <= 0.10).mean()),
        kendall_tau=kendall_tau(predicted_ms, measured_ms),
        spearman=spearman(predicted_ms, measured_ms),
        rmse_ms=float(np.sqrt(np.mean((predicted_ms - measured_ms) ** 2))),
    )


def kendall_tau(first: FloatArray, second: FloatArray) -> float:
    """Kendall's tau-b; 0 where either side is constant, as `spearman`."""
    from scipy.stats import kendalltau

    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(kendalltau(first, second).statistic)


def score(
    table: LatencyTable, drawn: Sequence[DrawnNetwork], measured: Sequence[Measurement]
) -> Validation:
    """Sets measurements against what a table says, before and after its calibration."""
    raw = fit_predictor(table, "lookup", calibrate=False)
    calibrated = fit_predictor(table, "lookup")
    return Validation(
        tuple(
            _validated(item, found, raw, calibrated)
            for item, found in zip(drawn, measured, strict=True)
        )
    )


def _validated(
    drawn: DrawnNetwork, measured: Measurement, raw: Predictor, calibrated: Predictor
) -> ValidatedNetwork:
    arch = drawn.arch
    return ValidatedNetwork(
        name=drawn.name,
        kind=drawn.kind,
        predicted_ms=raw.predict_ms(arch),
        calibrated_ms=None if calibrated.calibration is None else calibrated.predict_ms(arch),
        measured=measured,
        blocks=count_blocks(arch),
    )
