"""One network priced on one table: what `predict` reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from proxyless_hw.errors import PredictorError
from proxyless_hw.formats.load import given_architecture, load_architecture
from proxyless_hw.predictors.fit import ExplainedOp, Kind, Predictor, Source, fit_predictor
from proxyless_hw.predictors.lookup import check_coverage
from proxyless_hw.predictors.sources import at_deployment_shape
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Footprint, Precision, footprint
from proxyless_hw.space.specs import op_variant
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.tables.check import table_precision
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import format_value, in_unit


@dataclass(frozen=True)
class Forecast:
    """The prediction for one network from one table.

    Attributes:
        table: name of the table.
        metric: what the table measures; values are in its unit.
        unit: that unit: ms for latency.
        value: the prediction.
        interval: its interval; None where nothing tells how far the ops are off.
        no_interval: why the interval is missing, then.
        coverage: of the interval.
        calibration: (a, b, c), or None for a plain sum.
        ops: every op with its price, in order.
        resolution, num_classes: the shape it was priced at.
        not_priced: nodes of an ONNX file that no op stands for.
        footprint: flash and memory in the table's precision; None where it states none,
            or where the network holds what is not counted from its shape.
    """

    table: str
    metric: str
    unit: str
    value: float
    interval: tuple[float, float] | None
    no_interval: str | None
    coverage: float
    calibration: tuple[float, float, float] | None
    ops: tuple[ExplainedOp, ...]
    resolution: int
    num_classes: int
    not_priced: tuple[str, ...] = ()
    footprint: Footprint | None = None

    @property
    def latency_ms(self) -> float | None:
        """The prediction where it is a latency, else None."""
        return self.value if self.metric == "latency" else None

    @property
    def sum_of_ops(self) -> float:
        """Sum of the ops before calibration."""
        return float(sum(item.ms for item in self.ops))

    @property
    def measured_ops(self) -> list[str]:
        """Keys of the distinct ops of which the table holds a measurement."""
        return self._from("measured")

    @property
    def transferred_ops(self) -> list[str]:
        """Keys of the distinct ops whose rows are predictions from another device's table."""
        return self._from("transferred")

    @property
    def regressed_ops(self) -> list[str]:
        """Keys of the distinct ops that were regressed."""
        return self._from("regressed")

    @property
    def extrapolated_ops(self) -> list[str]:
        """Keys of the distinct ops outside what the regression was trained on."""
        return list(dict.fromkeys(item.op.key for item in self.ops if item.extrapolated))

    def _from(self, source: Source) -> list[str]:
        return list(dict.fromkeys(item.op.key for item in self.ops if item.source == source))

    def to_json(self, breakdown: bool) -> JsonObject:
        """The JSON form; `breakdown` adds every op."""
        a, b, c = self.calibration or (None, None, None)
        document: JsonObject = {
            "table": self.table,
            "metric": self.metric,
            "value": self.value,
            **({} if self.latency_ms is None else {"latency_ms": self.latency_ms}),
            **in_unit({"interval": list(self.interval) if self.interval else None}, self.unit),
            "coverage": self.coverage,
            "no_interval": self.no_interval,
            "interval_of": "network" if self.calibration else "sum of ops",
            "sum_of_ops": self.sum_of_ops,
            "calibration": {"a": a, "b": b, "c": c} if self.calibration else None,
            "measured_ops": self.measured_ops,
            "transferred_ops": self.transferred_ops,
            "regressed_ops": self.regressed_ops,
            "extrapolated_ops": self.extrapolated_ops,
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "not_priced": list(self.not_priced),
            "footprint": None if self.footprint is None else self.footprint.to_json(),
        }
        if breakdown:
            document["breakdown"] = [
                {
                    "layer": item.layer,
                    "op": item.op.key,
                    "value": item.ms,
                    **({"ms": item.ms} if self.unit == "ms" else {}),
                    "source": item.source,
                    "extrapolated": item.extrapolated,
                }
                for item in self.ops
            ]
        return document

    def number(self, value: float) -> str:
        """A value with its unit, for people."""
        return format_value(value, self.unit)

    def text(self) -> str:
        """The value for a cell: a star marks ops that were not measured."""
        return self.number(self.value) + ("*" if self.regressed_ops or self.transferred_ops else "")

    def sentence(self) -> str:
        """The whole prediction in words."""
        parts = [self.number(self.value)]
        if self.interval is not None:
            low, high = (self.number(bound) for bound in self.interval)
            what = "" if self.calibration else " of the sum of ops"
            parts.append(f"{self.coverage:.0%} interval{what} {low} to {high}")
        else:
            parts.append(f"no interval: {(self.no_interval or '').rstrip('.')}")
        count = Counter(item.source for item in self.ops)
        counted = f"{count['measured']} of {len(self.ops)} ops measured"
        if count["transferred"]:
            counted += f", {count['transferred']} predicted from another device's table"
        parts.append(f"{counted}, {count['regressed']} regressed")
        if self.extrapolated_ops:
            parts.append(f"{len(self.extrapolated_ops)} outside what the table covers (a guess)")
        parts.append("calibrated" if self.calibration else "not calibrated")
        parts.append(f"at {self.resolution} pixels, {self.num_classes} classes")
        return "; ".join(parts)


def predict(
    network: Architecture | str | Path,
    table: LatencyTable | str | Path | Predictor,
    *,
    kind: Kind = "auto",
    calibrate: bool = True,
    coverage: float = 0.9,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> Forecast:
    """What a network costs by a table, with its interval and its ops: ``proxyless-hw predict``.

    Args:
        network: an architecture, or what names one (`load_architecture`).
        table: of any metric; an object, a name or a path; or a predictor of one (`fit_predictor`).
        kind, calibrate: as for `fit_predictor`; not used with a predictor.
        coverage: of the interval, as a fraction.
        resolution, num_classes: the shape it is priced at; the network's and the table's own when
            None.

    Raises:
        ArchitectureError, TableError: nothing has that name, or the file breaks a rule.
        MissingEntryError, PredictorError: as `forecast`.

    Example:
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("imagenet")
        >>> network = ph.Architecture.from_choices(space, [0] * len(space.slots))
        >>> found = ph.predict(network, "pixel1")
        >>> f"{found.value:.1f} {found.unit}", found.regressed_ops
        ('76.0 ms', [])
    """
    predictor = table
    if not isinstance(predictor, Predictor):
        predictor = fit_predictor(predictor, kind, calibrate=calibrate)
    if isinstance(network, str | Path):
        network = load_architecture(network, resolution)
    return forecast(predictor, given_architecture(network), coverage, resolution, num_classes)


def forecast(
    predictor: Predictor,
    arch: Architecture,
    coverage: float = 0.9,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> Forecast:
    """Prices a network at its deployment shape (see `sources.at_deployment_shape`).

    Raises:
        MissingEntryError: look-up only, and the table lacks ops; all are named.
        TableError: the costs of a network's ops do not add up (memory).
        PredictorError: the coverage is not in (0, 1), or ops must be regressed from a table that
            cannot carry a regression.
    """
    table = predictor.table
    deployed = at_deployment_shape(arch, table, resolution, num_classes)
    check_coverage(coverage)
    value = predictor.predict(deployed)
    try:
        interval, no_interval = predictor.interval(deployed, coverage), None
    except PredictorError as cause:
        # The prediction stands without one; the reason is reported with it.
        interval, no_interval = None, str(cause)
    listed = arch.provenance.get("not_priced")
    not_priced = tuple(map(str, listed)) if isinstance(listed, (list, tuple)) else ()
    return Forecast(
        table=table.name,
        metric=table.metric,
        unit=table.unit,
        value=value,
        interval=interval,
        no_interval=no_interval,
        coverage=coverage,
        calibration=predictor.calibration.coefficients if predictor.calibration else None,
        ops=tuple(predictor.explain(deployed)),
        resolution=deployed.resolution,
        num_classes=deployed.num_classes,
        not_priced=not_priced,
        footprint=None if not_priced else _footprint(deployed, table_precision(table)),
    )


def _footprint(arch: Architecture, precision: Precision | None) -> Footprint | None:
    """Flash and memory where they follow from the shapes: no op of one's own has to be built."""
    if precision is None or any(op_variant(op.op).is_custom for op in arch.ops()):
        return None
    return footprint(arch, precision)
