"""Other targets, or other tables, from a finished search: no new search."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import SearchError
from proxyless_hw.search.config import SearchConfig, config_from
from proxyless_hw.search.derive import feasible_target
from proxyless_hw.search.derived import accuracy
from proxyless_hw.search.driver import data_config
from proxyless_hw.search.finish import derive_finalists, pareto_points, rank
from proxyless_hw.search.prepare import Problem, prepare_problem
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.state import read_checkpoint
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.limits import MAX_CHANNELS
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


def open_search(run: str | Path, table: str | None = None) -> Searched:
    """Reads a search's checkpoint.

    Args:
        run: the run folder.
        table: price with another table than the search's own.

    Raises:
        SearchError: no checkpoint there, or it is of another space.
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
            constraints=(),
        )
    problem = prepare_problem(config)
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


def _settings(document: dict[str, Any], path: Path) -> SearchConfig:
    settings = document.get("config")
    if not isinstance(settings, dict):
        raise SearchError(f"{path} holds no settings of a search.")
    known = {field.name for field in fields(SearchConfig)}
    kept = {key: value for key, value in settings.items() if key in known}
    return config_from(kept, source=str(path))


def rederive(searched: Searched, target: float, data: DataSplits) -> dict[str, Any]:
    """Derives and ranks networks for another target, in the table's unit.

    Returns:
        architecture (an `Architecture`), network, metric, unit, target, predicted, expected (None:
        no search was run for this target), measured (None), in milliseconds also as target_ms and
        so on, and accuracy.

    Raises:
        SearchError: the target is out of range, or its window is empty.
    """
    problem, config = searched.problem, searched.config
    costs = [constraint.costs for constraint in problem.constraints]
    others = [constraint.target for constraint in problem.constraints[1:]]
    targets = [feasible_target(costs[0], target), *others]
    found = derive_finalists(searched.supernet, costs, targets, config.finalists)
    best = rank(searched.supernet, found, problem, config, data, torch.device("cpu"))[0]
    test = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
    figures = {"target": target, "predicted": problem.predictor.predict(best.arch)}
    interval = list(problem.predictor.interval(best.arch))
    provenance = {
        "table": problem.table.name,
        "metric": problem.table.metric,
        **in_unit({**figures, "predicted_interval": interval}, problem.unit),
        "seed": config.seed,
    }
    return {
        "architecture": replace(best.arch, provenance=provenance),
        "network": best.network,
        "metric": problem.table.metric,
        **in_unit({**figures, "expected": None, "measured": None}, problem.unit),
        "accuracy": accuracy(best.network, test, torch.device("cpu")),
    }


def load_search_data(searched: Searched) -> DataSplits:
    """The data set of a search.

    Raises:
        DataError: its files are not there any more.
    """
    return load_data(data_config(searched.config))


def save_derived(folder: Path, derived: dict[str, Any]) -> None:
    """Writes architecture.json and network.pt of a derived network into a folder.

    Raises:
        ArchitectureError, SearchError: the place cannot be written.
    """
    arch: Architecture = derived["architecture"]
    run = SearchFolder(folder)
    save_tensors(run.network, {"state_dict": derived["network"].state_dict()}, SearchError)
    arch.save(run.architecture)


def front(searched: Searched, points: int) -> list[dict[str, Any]]:
    """The exact optimum at `points` budgets over the feasible range."""
    return pareto_points(searched.supernet, searched.problem.constraints[0].costs, points)
