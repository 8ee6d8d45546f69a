"""Derives networks for other targets, or by other tables, from a finished search.

A search that was given objects from Python is given the same ones again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.runs.evaluation import evaluate
from proxyless_hw.runs.objects import GIVEN, check_facts, in_words
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.runs.task_result import TaskResult
from proxyless_hw.search.config import LimitPrecision, SearchConfig, config_from
from proxyless_hw.search.context import data_config
from proxyless_hw.search.derive import feasible_target
from proxyless_hw.search.finalists import derive_finalists, rank
from proxyless_hw.search.given import SearchObjects
from proxyless_hw.search.limits import TABLELESS, is_peak_table, read_limit
from proxyless_hw.search.prepare import Problem, prepare_problem
from proxyless_hw.search.result_rows import read_precision
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.state import read_checkpoint, space_fingerprint
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Footprint
from proxyless_hw.space.limits import MAX_CHANNELS
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.tensor_files import plain_tensors, save_tensors, whole
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import in_unit


@dataclass(frozen=True)
class Searched:
    """A search's supernet and settings, read back.

    Attributes:
        config: its settings.
        problem: its space and table, or another table.
        supernet: with its final weights and alpha.
        given: objects that it was given.
    """

    config: SearchConfig
    problem: Problem
    supernet: SuperNet
    given: SearchObjects


@dataclass(frozen=True, kw_only=True)
class DerivedNetwork:
    """A network that was derived for another target, or by another table.

    Attributes:
        architecture: at its deployment shape.
        network: with the supernet's weights and recalibrated BatchNorm, the data's classes.
        metric: what the table measures: latency, energy.
        unit: unit of the costs.
        target: the limit it was derived for.
        predicted: its cost.
        accuracy: top-1 on the test images, in [0, 1]; None where they have no labels.
        footprint: flash and memory; None where the search knows no precision.
        task: values of a metric of the user's; None for classification.
        folder: where it was written; None where it was not.
        seconds: that its derivation took.
    """

    architecture: Architecture
    network: Network
    metric: str
    unit: str
    target: float
    predicted: float
    accuracy: float | None
    footprint: Footprint | None = None
    task: TaskResult | None = None
    folder: Path | None = None
    seconds: float | None = None

    def to_json(self) -> JsonObject:
        """The object that commands print, with the keys of result.json.

        `expected` and `measured` are null: no search was run for this target.
        """
        figures = {
            "target": self.target,
            "predicted": self.predicted,
            "expected": None,
            "measured": None,
        }
        return {
            "architecture": self.architecture.to_dict(),
            "metric": self.metric,
            **in_unit(figures, self.unit),
            "accuracy": self.accuracy,
            **({} if self.task is None else {"task": self.task.to_json()}),
            "footprint": None if self.footprint is None else self.footprint.to_json(),
        }

    def sentence(self) -> str:
        """Target, prediction and accuracy for people."""
        accuracy = "unknown" if self.accuracy is None else f"{self.accuracy:.1%}"
        own = "" if self.task is None else f", {self.task.metric} {self.task.test:.4g}"
        sizes = "" if self.footprint is None else f"{self.footprint.sentence()}, "
        where = "" if self.folder is None else f": {self.folder / 'architecture.json'}"
        return (
            f"target {self.target:g} {self.unit}: predicted {self.predicted:.4g} {self.unit}, "
            f"{sizes}accuracy with the supernet's weights {accuracy}{own}{where}"
        )

    def save(self, folder: Path) -> DerivedNetwork:
        """Writes architecture.json and network.pt into a folder.

        Returns:
            The same with its folder.

        Raises:
            ArchitectureError, SearchError: the place cannot be written.
        """
        run = SearchFolder(folder)
        save_tensors(run.network, {"state_dict": self.network.state_dict()}, SearchError)
        self.architecture.save(run.architecture)
        return replace(self, folder=folder)


def open_search(
    run: str | Path,
    table: LatencyTable | str | Path | None = None,
    given: SearchObjects | None = None,
    needs: Sequence[str] = ("space", "data", "task"),
) -> Searched:
    """Reads a search's checkpoint.

    Args:
        run: the run folder.
        table: price with another table than the search's own; or the search's own again. Limits
            that need no table stay, in the precision of the search.
        given: space, data and task that the search was given.
        needs: those of them without which the caller cannot go on.

    Raises:
        SearchError: no checkpoint there, it is of another space, or an object that the search was
            given is missing or another; a limit of memory leaves other candidates at the shape of
            the other table.
        MissingEntryError: the other table lacks ops of the space.
    """
    folder = SearchFolder(Path(run))
    if not folder.checkpoint.exists():
        raise SearchError(f"{run} holds no checkpoint.pt: is it the folder of a search?")
    document = read_checkpoint(folder.checkpoint)
    config = _settings(document, folder.checkpoint)
    given = given or SearchObjects()
    given.check_kinds(SearchConfig)
    if table is not None and not isinstance(table, str | Path | LatencyTable):
        raise SearchError(
            f"a table is a LatencyTable, a shipped name or a path: received {type(table).__name__}."
        )
    _check_objects(folder, given, table is not None, needs)
    as_object = table if isinstance(table, LatencyTable) else None
    if table is not None and not _is_own(folder, as_object):
        config = replace(
            config,
            table=GIVEN if as_object is not None else str(table),
            target=None,
            target_ms=None,
            resolution=None,
            num_classes=None,
            constraints=tuple(
                text for text in config.constraints if _holds_elsewhere(read_limit(text)[0])
            ),
            constraint_precision=_precision(folder),
        )
    problem = prepare_problem(config, given.space, as_object)
    if problem.memory is not None or problem.peaks:
        _check_candidates(problem, document, run)
    read_checkpoint(folder.checkpoint, problem.space)
    try:
        classes = whole(document.get("num_classes"), "num_classes")
        if not 1 <= classes <= MAX_CHANNELS:
            raise ValueError(f"num_classes lies between 1 and {MAX_CHANNELS}")
        supernet = SuperNet(problem.space, classes, seed=0)
        supernet.load_state_dict(plain_tensors(document.get("supernet")))
    except (RuntimeError, ValueError) as cause:
        raise SearchError(
            f"{folder.checkpoint} does not fit space '{problem.space.id}': "
            f"{str(cause).splitlines()[0]}"
        ) from cause
    return Searched(config, problem, supernet, given)


def _holds_elsewhere(limit: str) -> bool:
    """Whether a limit stays when the table changes: a count, or a peak, which decided what the
    search chose among."""
    return limit in TABLELESS or is_peak_table(limit)


def _is_own(folder: SearchFolder, table: LatencyTable | None) -> bool:
    """Whether a table is the one that the search was given."""
    if table is None:
        return False
    return SearchObjects(table=table).facts()["table"] == folder.objects().get("table")


def _check_objects(
    folder: SearchFolder, given: SearchObjects, has_table: bool, needs: Sequence[str]
) -> None:
    """Checks that what the search was given as objects is given again.

    Raises:
        SearchError: one is missing or another.
    """
    kept = folder.objects()
    named = {*given.names(), *(("table",) if has_table else ())}
    missing = [name for name in (*needs, "table") if name in kept and name not in named]
    if missing:
        facts = "; ".join(f"{name}: {in_words(kept[name])}" for name in missing)
        again = ", ".join(f"{name}=..." for name in missing)
        raise SearchError(
            f"{folder.path} was searched with objects from Python, which no file holds ({facts}). "
            f"Give them again, from Python: ph.derive_run({str(folder.path)!r}, target_ms=..., "
            f"{again}), or ph.pareto likewise."
        )
    check_facts(folder, given.facts())


def _check_candidates(problem: Problem, document: Mapping[str, object], run: str | Path) -> None:
    """Checks that the limits of memory leave the candidates that were searched.

    Raises:
        SearchError: it leaves others.
    """
    if document.get("space_fingerprint") == space_fingerprint(problem.space):
        return
    raise SearchError(
        f"{run} chose among the candidates that its limit of memory left. At "
        f"{problem.resolution} pixels ('{problem.table.name}') it leaves others, or the space "
        "file has changed. Search again with that table."
    )


def _precision(folder: SearchFolder) -> LimitPrecision:
    """The precision that the limits of a run counted in; ``table`` where it names none.

    Raises:
        SearchError: the field is malformed.
    """
    read = ResultFields(folder.read_json(folder.config), str(folder.config), SearchError)
    return "table" if read.words("precision") is None else read_precision(read)


def _settings(document: Mapping[str, object], path: Path) -> SearchConfig:
    settings = document.get("config")
    if not isinstance(settings, dict):
        raise SearchError(f"{path} holds no settings of a search.")
    known = {field.name for field in fields(SearchConfig)}
    kept = {key: value for key, value in settings.items() if key in known}
    return config_from(kept, source=str(path))


def derive_for(searched: Searched, target: float, data: DataSplits) -> DerivedNetwork:
    """Derives and ranks networks for another target, in the table's unit.

    Returns:
        The first of them.

    Raises:
        SearchError: the target is out of range, or its window is empty.
    """
    problem, config = searched.problem, searched.config
    costs = [constraint.costs for constraint in problem.constraints]
    others = [constraint.target for constraint in problem.constraints[1:]]
    targets = [feasible_target(costs[0], target), *others]
    found = derive_finalists(searched.supernet, costs, targets, config.finalists)
    task = searched.given.task_or_default
    best = rank(searched.supernet, found, problem, data, torch.device("cpu"), task)[0]
    test = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
    predicted = problem.predictor.predict(best.arch)
    figures = {
        "target": target,
        "predicted": predicted,
        "predicted_interval": list(problem.predictor.interval(best.arch)),
    }
    provenance = {
        "table": problem.table.name,
        "metric": problem.table.metric,
        **in_unit(figures, problem.unit),
        "seed": config.seed,
    }
    tested = evaluate(best.network, test, torch.device("cpu"), SearchError, task)
    return DerivedNetwork(
        architecture=replace(best.arch, provenance=provenance),
        network=best.network,
        metric=problem.table.metric,
        unit=problem.unit,
        target=target,
        predicted=predicted,
        accuracy=tested.top1,
        footprint=problem.footprint(best.arch),
        task=task.result(tested.metric, best.score.metric),
    )


def load_search_data(searched: Searched) -> DataSplits:
    """The data of a search: the object, or what its settings name.

    Raises:
        DataError: its files are not there any more.
    """
    given = searched.given.data
    return load_data(data_config(searched.config)) if given is None else given
