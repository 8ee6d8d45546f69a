"""Reading a run folder for its report: absent parts are None, malformed ones are errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxyless_hw.errors import InfeasibleTargetError, ReportError, SpaceError, TableError
from proxyless_hw.predictors.verdict import Verdict
from proxyless_hw.report.epochs import Epoch, read_epochs
from proxyless_hw.report.exports import ExportedRow, read_exports
from proxyless_hw.runs.objects import GIVEN
from proxyless_hw.runs.result_fields import Interval, ResultFields
from proxyless_hw.runs.task_result import TaskResult
from proxyless_hw.search.limits import MemoryLimit, PeakLimit
from proxyless_hw.search.result import SearchResult
from proxyless_hw.search.result_rows import ParetoPoint, RankedNetwork, ResolutionResult
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.architecture_reader import architecture_from
from proxyless_hw.space.footprint import within_memory
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.documents import JsonObject, parse_json, read_text
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.train.result import TrainResult


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What config.json says; its defaults hold where it is absent.

    Attributes:
        kind: ``search``, ``train`` or ``import``.
        settings: the settings of the run.
        space: id of the search space; None where it does not say.
        metric, unit: what the target limits and its unit; None likewise.
        table_header: header of the latency table.
        units: unit by constraint.
        memory: the limit of memory; None without one.
        peaks: the limits by tables of peaks.
        resolution, num_classes: deployment shape; None where it does not say.
        objects: arguments that were objects, given from Python in place of names.
    """

    kind: str = "search"
    settings: Mapping[str, object] = field(default_factory=dict)
    space: str | None = None
    metric: str | None = None
    unit: str | None = None
    table_header: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    memory: MemoryLimit | None = None
    peaks: tuple[PeakLimit, ...] = ()
    resolution: int | None = None
    num_classes: int | None = None
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a run folder holds.

    Attributes:
        path: the folder.
        arch: the network that was found or trained, at its deployment shape.
        config: config.json.
        epochs: metrics.jsonl, in order; empty when absent.
        search: result.json of a search.
        training: result.json of a training.
        table: the latency table, when it can still be read.
        table_problem: why it cannot.
        space: the search space, when it can still be read, without what a limit of memory took out.
        exports: the exported files; None when nothing was exported.
    """

    path: Path
    arch: Architecture | None
    config: RunConfig
    epochs: tuple[Epoch, ...]
    search: SearchResult | None
    training: TrainResult | None
    table: LatencyTable | None
    table_problem: str | None
    space: SearchSpace | None
    exports: tuple[ExportedRow, ...] | None

    @property
    def name(self) -> str:
        """Last part of the folder's path."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """``search``, ``train`` or ``import``."""
        return self.config.kind

    @property
    def settings(self) -> Mapping[str, object]:
        """The settings of the run."""
        return self.config.settings

    @property
    def accuracy(self) -> float | None:
        """Top-1 on the test images; None where it is not known."""
        if self.training is not None:
            return self.training.top1
        return None if self.search is None else self.search.accuracy

    @property
    def task(self) -> TaskResult | None:
        """Values of a metric of the user's; None for classification."""
        result = self.search or self.training
        return None if result is None else result.task

    @property
    def seconds(self) -> float | None:
        """Duration of the run; None where it is not known."""
        result = self.search or self.training
        return None if result is None else result.seconds

    @property
    def verdict(self) -> Verdict | None:
        """Whether the measurement agrees with the target; None where nothing was verified."""
        return None if self.search is None else self.search.verdict

    @property
    def cost_unit(self) -> str:
        """Unit of the target and of what is held against it; ms where the run says nothing."""
        said = self.config.unit if self.search is None else self.search.unit
        return (said or "ms")[:20]

    @property
    def metric(self) -> str:
        """What the target limits: ``latency`` where the run says nothing."""
        said = self.config.metric if self.search is None else self.search.metric
        return (said or "latency")[:20]

    @property
    def target(self) -> float | None:
        """The target in `cost_unit`; None where it is not known."""
        return None if self.search is None else self.search.target

    @property
    def predicted(self) -> float | None:
        """The prediction in `cost_unit`; None where it is not known."""
        return None if self.search is None else self.search.predicted

    @property
    def measured(self) -> float | None:
        """The measurement in `cost_unit`; None where nothing was measured."""
        return None if self.search is None else self.search.measured

    @property
    def figures(self) -> list[tuple[str, float, Interval | None]]:
        """Name, value and interval of target, expectation, prediction and measurement."""
        if self.search is None:
            return []
        found = self.search
        rows = (
            ("target", found.target, None),
            ("expected", found.expected, None),
            ("predicted", found.predicted, found.predicted_interval),
            ("measured", found.measured, found.measured_interval),
        )
        return [(name, value, interval) for name, value, interval in rows if value is not None]

    @property
    def correction(self) -> float:
        """What `--verify` multiplies sums of the table by to predict; 1 without it."""
        return 1.0 if self.search is None else self.search.correction

    def unit(self, constraint: str) -> str:
        """Unit of a constraint, as config.json has it; ms where it says nothing."""
        return self.config.units.get(constraint, "ms")

    @property
    def finalists(self) -> tuple[RankedNetwork, ...]:
        """The finalists; empty where they are not known."""
        return () if self.search is None else self.search.finalists

    @property
    def pareto(self) -> tuple[ParetoPoint, ...]:
        """The optima at budgets over the feasible range; empty where they are not known."""
        return () if self.search is None else self.search.pareto

    @property
    def resolutions(self) -> tuple[ResolutionResult, ...]:
        """The deployment resolutions that competed; empty for a search at one."""
        return () if self.search is None else self.search.resolutions


def read_run(folder: str | Path) -> RunData:
    """Reads a run folder.

    Raises:
        ReportError: no such folder, nothing of a run in it, or a malformed file (named).
        ArchitectureError: architecture.json is malformed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ReportError(f"a report shows run folders: there is no folder {path}.")
    known = ("config.json", "metrics.jsonl", "result.json", "architecture.json")
    if not any((path / name).is_file() for name in known):
        raise ReportError(f"{path} holds nothing of a run ({', '.join(known)}).")
    config = _config(path / "config.json")
    table, problem = _table(config.settings)
    arch = Architecture.load(path) if (path / "architecture.json").is_file() else None
    result = _document(path / "result.json")
    search = training = None
    if result is not None and config.kind != "train":
        search = _search(result, path, arch)
    elif result is not None and "top1" in result:
        training = TrainResult.from_json(result, path, ReportError)
    return RunData(
        path=path,
        arch=arch,
        config=config,
        epochs=read_epochs(path / "metrics.jsonl"),
        search=search,
        training=training,
        table=table,
        table_problem=problem,
        space=_space(config),
        exports=read_exports(path),
    )


def trained_here(run: RunData) -> TrainResult | None:
    """The training in the folder ``train`` of a search's run; None where none is done.

    Raises:
        ReportError: its result.json is malformed.
    """
    folder = run.path / "train"
    document = _document(folder / "result.json") if run.kind == "search" else None
    return None if document is None else TrainResult.from_json(document, folder, ReportError)


def _search(result: JsonObject, path: Path, arch: Architecture | None) -> SearchResult:
    """The result of a search; it holds the architecture too, for a folder without its file."""
    if arch is None:
        arch = architecture_from(result.get("architecture"), str(path / "result.json"))
    return SearchResult.from_json(result, path, arch, ReportError)


def _document(path: Path) -> JsonObject | None:
    if not path.is_file():
        return None
    document = parse_json(read_text(path, ReportError, path.name), ReportError, str(path))
    if not isinstance(document, dict):
        raise ReportError(f"{path} must hold a JSON object: received {type(document).__name__}.")
    return document


def _config(path: Path) -> RunConfig:
    document = _document(path)
    if document is None:
        return RunConfig()
    settings = document.get("settings", document)
    if not isinstance(settings, dict):
        raise ReportError(f"{path}: settings must be an object.")
    read = ResultFields(document, str(path), ReportError)
    header, objects = read.object("table_header"), read.object("objects")
    memory = read.object("memory_limit")
    peaks = read.objects("peak_limits") if "peak_limits" in document else []
    return RunConfig(
        kind=read.words("kind") or "search",
        settings=settings,
        space=read.words("space"),
        metric=read.words("metric"),
        unit=read.words("unit"),
        table_header={}
        if header is None
        else {key: str(value) for key, value in header.values.items()},
        units={
            row.text("name"): row.words("unit") or "ms"
            for row in (read.objects("constraints") if "settings" in document else ())
        },
        objects=() if objects is None else tuple(map(str, objects.values)),
        memory=None if memory is None else MemoryLimit.from_json(memory),
        peaks=tuple(map(PeakLimit.from_json, peaks)),
        resolution=read.count("resolution"),
        num_classes=read.count("num_classes"),
    )


def _table(settings: Mapping[str, object]) -> tuple[LatencyTable | None, str | None]:
    name = settings.get("table")
    if not isinstance(name, str):
        return None, None
    if name == GIVEN:
        return None, "the latency table was given as an object, from Python"
    try:
        return LatencyTable.load(name), None
    except TableError as error:
        return None, str(error)


def _space(config: RunConfig) -> SearchSpace | None:
    name = config.settings.get("space")
    if not isinstance(name, str):
        return None
    memory, shape = config.memory, (config.resolution, config.num_classes)
    try:
        space = SearchSpace.load(name)
        if memory is not None:
            space = within_memory(space, memory.limit, memory.precision, *shape)
        for peak in config.peaks:
            space = peak.applied(space, *shape)
        return space
    except (SpaceError, InfeasibleTargetError, TableError):
        # The candidates' names are a help, not content: without them they are numbered.
        return None
