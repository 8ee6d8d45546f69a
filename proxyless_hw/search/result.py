"""What a search found, and its file form, result.json. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.predictors.verdict import Verdict
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.runs.task_result import TaskResult
from proxyless_hw.search.result_rows import (
    ConstraintCost,
    ParetoPoint,
    RankedNetwork,
    ResolutionResult,
    read_footprint,
)
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.verification import Interval, SearchVerification
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Footprint
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.units import in_unit

if TYPE_CHECKING:
    from proxyless_hw.network.network import Network


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """What a search found. Fields that an older file lacks are None or empty.

    Attributes:
        folder: the run folder.
        architecture: the found network at its deployment shape.
        target: T, in `unit`, as all costs are.
        predicted: cost of the network by the table, corrected where `--verify` corrects.
        accuracy: top-1 on the test images with the supernet's weights, in [0, 1]; None where the
            targets are no class labels.
        metric: what the table measures: latency, energy.
        unit: unit of the table.
        predicted_interval: 90% interval of the prediction.
        expected: expectation over the path probabilities at the end.
        measured: measured cost at the table's speed; None where nothing was measured.
        measured_interval: its 95% interval.
        supernet_accuracy: the same on the held-out images.
        constraints: cost under every limit; the first is the table's.
        footprint: flash and memory; None where the table states no precision.
        finalists: the derived networks in the order of their held-out accuracy, or metric.
        margins: per slot the probability of the best candidate minus that of the second.
        pareto: the most probable networks at budgets over the feasible range.
        seconds: of training and derivation.
        verification: what `--verify` found; None where nothing was measured.
        resolutions: every deployment resolution that competed; empty for a search at one.
        task: values of a metric of the user's; None for classification.
        file: the measured model file of `demo`, as `predictors.verdict.Verification` writes it.
    """

    folder: Path
    architecture: Architecture
    target: float
    predicted: float
    accuracy: float | None
    metric: str = "latency"
    unit: str = "ms"
    predicted_interval: Interval | None = None
    expected: float | None = None
    measured: float | None = None
    measured_interval: Interval | None = None
    supernet_accuracy: float | None = None
    constraints: tuple[ConstraintCost, ...] = ()
    footprint: Footprint | None = None
    finalists: tuple[RankedNetwork, ...] = ()
    margins: tuple[float, ...] = ()
    pareto: tuple[ParetoPoint, ...] = ()
    seconds: float | None = None
    verification: SearchVerification | None = None
    resolutions: tuple[ResolutionResult, ...] = ()
    task: TaskResult | None = None
    file: JsonObject | None = None

    @property
    def predicted_ms(self) -> float | None:
        """The prediction in milliseconds; None where the table measures something else."""
        return self.predicted if self.unit == "ms" else None

    @property
    def correction(self) -> float:
        """What sums of the table are multiplied by to predict; 1 without a verification."""
        return 1.0 if self.verification is None else self.verification.correction

    @property
    def verdict(self) -> Verdict | None:
        """Whether the measurement agrees with the target; None where nothing was measured."""
        return None if self.verification is None else self.verification.verdict

    @cached_property
    def network(self) -> Network:
        """The found network with the supernet's weights, in eval mode, read from the run folder.

        It has the data's classes. Its BatchNorm statistics are recalibrated.

        Raises:
            SearchError: the weights are not there any more.
        """
        from proxyless_hw.runs.run_network import load_derived_network

        return load_derived_network(self.folder)

    def figures(self) -> JsonObject:
        """Target, prediction, expectation and measurement; in milliseconds also as ``NAME_ms``."""
        return in_unit(
            {
                "target": self.target,
                "predicted": self.predicted,
                "predicted_interval": _listed(self.predicted_interval),
                "expected": self.expected,
                "measured": self.measured,
                "measured_interval": _listed(self.measured_interval),
            },
            self.unit,
        )

    def with_measured(self, value: float, interval: Interval, file: JsonObject) -> SearchResult:
        """The same search with the measurement of an exported file in place of the network's.

        Args:
            value: measured cost of the file, in `unit`.
            interval: its 95% interval.
            file: the verification that it comes from.
        """
        facts = in_unit({"measured": value, "measured_interval": list(interval)}, self.unit)
        provenance = {**self.architecture.provenance, **facts}
        return replace(
            self,
            architecture=replace(self.architecture, provenance=provenance),
            measured=value,
            measured_interval=interval,
            file=file,
        )

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        verification = self.verification
        rows = [row.to_json() for row in self.resolutions]
        return {
            "architecture": self.architecture.to_dict(),
            "metric": self.metric,
            **self.figures(),
            "accuracy": self.accuracy,
            "supernet_accuracy": self.supernet_accuracy,
            "constraints": [constraint.to_json() for constraint in self.constraints],
            "footprint": None if self.footprint is None else self.footprint.to_json(),
            "finalists": [finalist.to_json(self.unit) for finalist in self.finalists],
            "margins": list(self.margins),
            "pareto": [point.to_json(self.unit) for point in self.pareto],
            "seconds": self.seconds,
            "verify": None if verification is None else verification.to_json(),
            **({} if self.task is None else {"task": self.task.to_json()}),
            **({"resolutions": rows} if rows else {}),
            **({} if self.file is None else {"file": self.file}),
        }

    @classmethod
    def from_json(
        cls,
        document: object,
        folder: Path,
        architecture: Architecture,
        error: type[ProxylessHwError] = SearchError,
    ) -> SearchResult:
        """Reads what `to_json` gave, or an older version did.

        Args:
            document: the parsed file.
            folder: the run folder.
            architecture: the found network, from architecture.json.
            error: what is raised.

        Raises:
            ProxylessHwError: (as `error`) a field is malformed, or a figure that every version
                writes is missing.
        """
        read = ResultFields(document, str(folder / "result.json"), error)
        verify, file, task = (read.object(key) for key in ("verify", "file", "task"))
        sizes = read.object("footprint")
        return cls(
            folder=folder,
            architecture=architecture,
            metric=read.words("metric") or "latency",
            unit=read.words("unit") or "ms",
            predicted_interval=read.interval("predicted_interval"),
            expected=read.figure("expected"),
            measured=read.figure("measured"),
            measured_interval=read.interval("measured_interval"),
            supernet_accuracy=read.optional("supernet_accuracy"),
            constraints=tuple(map(ConstraintCost.from_json, read.objects("constraints"))),
            footprint=None if sizes is None else read_footprint(sizes),
            finalists=tuple(map(RankedNetwork.from_json, read.objects("finalists"))),
            margins=read.numbers("margins"),
            pareto=tuple(map(ParetoPoint.from_json, read.objects("pareto"))),
            seconds=read.optional("seconds"),
            verification=None if verify is None else SearchVerification.from_json(verify),
            resolutions=tuple(map(ResolutionResult.from_json, read.objects("resolutions"))),
            task=None if task is None else TaskResult.from_json(task),
            file=None if file is None else dict(file.values),
            target=read.figure_required("target"),
            predicted=read.figure_required("predicted"),
            accuracy=read.required("accuracy") if task is None else read.optional("accuracy"),
        )


def read_result(run: str | Path) -> SearchResult:
    """Reads a finished run.

    Raises:
        SearchError: the run is not finished, or a file is malformed.
        ArchitectureError: architecture.json is malformed.
    """
    folder = SearchFolder(Path(run))
    if not folder.result.exists():
        raise SearchError(
            f"{run} is no finished search. Finish it: proxyless-hw search --output {run} --resume"
        )
    arch = Architecture.load(folder.architecture)
    return SearchResult.from_json(folder.read_json(folder.result), folder.path, arch)


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
