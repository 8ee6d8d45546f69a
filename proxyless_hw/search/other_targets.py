"""Derives networks for other targets, or by other tables, from a finished search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.runs.evaluation import evaluate
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.search.config import LimitPrecision, SearchConfig, config_from
from proxyless_hw.search.context import data_config
from proxyless_hw.search.derive import feasible_target
from proxyless_hw.search.finalists import derive_finalists, pareto_points, rank
from proxyless_hw.search.limits import TABLELESS, read_limit
from proxyless_hw.search.prepare import Problem, prepare_problem
from proxyless_hw.search.result_rows import ParetoPoint, read_precision
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.state import read_checkpoint, space_fingerprint
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Footprint
from proxyless_hw.space.limits import MAX_CHANNELS
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.tensor_files import plain_tensors, save_tensors, whole
from proxyless_hw.units import in_unit


@dataclass(frozen=True)
class Searched:
    """A search's supernet and settings, read back.

    Attributes:
        config: its settings.
        problem: its space and table, or another table.
        supernet: with its final weights and alpha.
    """

    config: SearchConfig
    problem: Problem
    supernet: SuperNet


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
    """

    architecture: Architecture
    network: Network
    metric: str
    unit: str
    target: float
    predicted: float
    accuracy: float | None
    footprint: Footprint | None = None

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
            "footprint": None if self.footprint is None else self.footprint.to_json(),
        }

    def save(self, folder: Path) -> None:
        """Writes architecture.json and network.pt into a folder.

        Raises:
            ArchitectureError, SearchError: the place cannot be written.
        """
        run = SearchFolder(folder)
        save_tensors(run.network, {"state_dict": self.network.state_dict()}, SearchError)
        self.architecture.save(run.architecture)


def open_search(run: str | Path, table: str | None = None) -> Searched:
    """Reads a search's checkpoint.

    Args:
        run: the run folder.
        table: price with another table than the search's own. Limits that need no table stay, in
            the precision of the search.

    Raises:
        SearchError: no checkpoint there, it is of another space, or the search was given objects;
            a limit of memory leaves other candidates at the shape of the other table.
        MissingEntryError: the other table lacks ops of the space.
    """
    folder = SearchFolder(Path(run))
    if not folder.checkpoint.exists():
        raise SearchError(f"{run} holds no checkpoint.pt: is it the folder of a search?")
    document = read_checkpoint(folder.checkpoint)
    config = _settings(document, folder.checkpoint)
    if table is not None:
        config = replace(
            config,
            table=table,
            target=None,
            target_ms=None,
            resolution=None,
            num_classes=None,
            constraints=tuple(
                text for text in config.constraints if read_limit(text)[0] in TABLELESS
            ),
            constraint_precision=_precision(folder),
        )
    objects = list(folder.objects())
    if objects:
        raise SearchError(
            f"{run} was searched with objects from Python ({', '.join(objects)}), which no file "
            "holds: it cannot be opened again for other targets. Search with names, or derive in "
            "the script: ph.derive(supernet.probabilities, [(expected, target)])."
        )
    problem = prepare_problem(config)
    if problem.memory is not None:
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
    return Searched(config, problem, supernet)


def _check_candidates(problem: Problem, document: Mapping[str, object], run: str | Path) -> None:
    """Checks that the limit of memory leaves the candidates that were searched.

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
    best = rank(searched.supernet, found, problem, data, torch.device("cpu"))[0]
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
    return DerivedNetwork(
        architecture=replace(best.arch, provenance=provenance),
        network=best.network,
        metric=problem.table.metric,
        unit=problem.unit,
        target=target,
        predicted=predicted,
        accuracy=evaluate(best.network, test, torch.device("cpu"), SearchError).top1,
        footprint=problem.footprint(best.arch),
    )


def load_search_data(searched: Searched) -> DataSplits:
    """The data set of a search.

    Raises:
        DataError: its files are not there any more.
    """
    return load_data(data_config(searched.config))


def pareto_front(searched: Searched, points: int) -> tuple[ParetoPoint, ...]:
    """The exact optimum at `points` budgets over the feasible range."""
    return pareto_points(searched.supernet, searched.problem.constraints[0].costs, points)
