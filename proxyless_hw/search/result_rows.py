"""The rows of result.json of a search: limits, footprint, finalists, Pareto front, resolutions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import get_args

from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.search.derive import Derived
from proxyless_hw.space.footprint import Footprint, Precision
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.units import in_unit


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintCost:
    """What the found network costs under one limit: by its table, or counted.

    Attributes:
        name: a table, ``macs``, ``parameters``, ``flash`` or ``memory``.
        unit: unit of both costs.
        target: the limit.
        predicted: the network's cost.
    """

    name: str
    unit: str
    target: float
    predicted: float

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: ResultFields) -> ConstraintCost:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        return cls(
            name=read.text("name"),
            unit=read.words("unit") or "ms",
            target=read.required("target"),
            predicted=read.required("predicted"),
        )


def read_footprint(read: ResultFields) -> Footprint:
    """Reads what `Footprint.to_json` gave.

    Raises:
        ProxylessHwError: (as the error of `read`) a field is missing or malformed.
    """
    flash = read.count("flash_bytes")
    if flash is None:
        raise read.error(f"{read.where} lacks flash_bytes.")
    return Footprint(precision=read_precision(read), flash=flash, memory=read.count("memory_bytes"))


def read_precision(read: ResultFields) -> Precision:
    """The field ``precision``.

    Raises:
        ProxylessHwError: (as the error of `read`) it is missing or none that is known.
    """
    stated = read.text("precision")
    precision: Precision | None = next((x for x in get_args(Precision) if x == stated), None)
    if precision is None:
        read.fail("precision", f"must be one of {', '.join(get_args(Precision))}", stated)
    return precision


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedNetwork:
    """A derived network with its held-out accuracy.

    Attributes:
        derived: choices, log probability and costs by the tables.
        accuracy: top-1 on the held-out images with the supernet's weights; None where a file
            lacks it.
        score: value of the user's metric on them; None without one.
    """

    derived: Derived
    accuracy: float | None
    score: float | None = None

    def to_json(self, unit: str) -> JsonObject:
        """The object that result.json holds; `unit` is that of the first cost."""
        return {
            **in_unit({"predicted": self.derived.costs[0]}, unit),
            **self.derived.to_json(),
            "accuracy": self.accuracy,
            **({} if self.score is None else {"score": self.score}),
        }

    @classmethod
    def from_json(cls, read: ResultFields) -> RankedNetwork:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        return cls(
            derived=Derived.from_json(read, "predicted"),
            accuracy=read.optional("accuracy"),
            score=read.optional("score"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoPoint:
    """The most probable network within one budget.

    Attributes:
        budget: the budget; None where a file lacks it.
        derived: the network; its first cost is at most the budget.
    """

    budget: float | None
    derived: Derived

    @property
    def cost(self) -> float:
        """Cost of the network, in the unit of the budget."""
        return self.derived.costs[0]

    def to_json(self, unit: str) -> JsonObject:
        """The object that result.json holds; in milliseconds also under the names in ms."""
        return {
            **in_unit({"budget": self.budget}, unit),
            "value": self.cost,
            **({"latency_ms": self.cost} if unit == "ms" else {}),
            "log_probability": self.derived.log_probability,
            "choices": list(self.derived.choices),
        }

    @classmethod
    def from_json(cls, read: ResultFields) -> ParetoPoint:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        cost = "value" if "value" in read.values else "latency"
        return cls(budget=read.figure("budget"), derived=Derived.from_json(read, cost))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionResult:
    """The search at one of several deployment resolutions.

    Attributes:
        resolution: of the deployment, in pixels.
        train_resolution: of the training images, in pixels.
        infeasible: why the target cannot be reached there; None where a search was made. The
            fields below are then None.
        predicted, measured: cost of its network, in `unit`.
        supernet_accuracy: top-1 on the held-out images.
        accuracy: top-1 on the test images.
        run: name of its run folder within the folder of the whole.
        unit: unit of the costs.
    """

    resolution: int
    train_resolution: int | None
    infeasible: str | None = None
    predicted: float | None = None
    measured: float | None = None
    supernet_accuracy: float | None = None
    accuracy: float | None = None
    run: str | None = None
    unit: str = "ms"

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        shape = {"resolution": self.resolution, "train_resolution": self.train_resolution}
        if self.infeasible is not None:
            return {**shape, "infeasible": self.infeasible}
        return {
            **shape,
            **in_unit({"predicted": self.predicted, "measured": self.measured}, self.unit),
            "run": self.run,
            "supernet_accuracy": self.supernet_accuracy,
            "accuracy": self.accuracy,
        }

    @classmethod
    def from_json(cls, read: ResultFields) -> ResolutionResult:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        resolution = read.count("resolution")
        if resolution is None:
            raise read.error(f"{read.where} lacks resolution.")
        return cls(
            resolution=resolution,
            train_resolution=read.count("train_resolution"),
            infeasible=read.words("infeasible"),
            predicted=read.figure("predicted"),
            measured=read.figure("measured"),
            supernet_accuracy=read.optional("supernet_accuracy"),
            accuracy=read.optional("accuracy"),
            run=read.words("run"),
            unit=read.words("unit") or "ms",
        )
