"""What a search holds fixed while it runs, beside the state that moves."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.loop import full_batches
from proxyless_hw.runs.precision import autocast_of
from proxyless_hw.runs.task import Task, name_of
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.given import SearchObjects
from proxyless_hw.search.objective import Constraint, Penalty
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.schedule import alpha_updates
from proxyless_hw.search.weights import StartingWeights
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.units import in_unit


@dataclass(frozen=True)
class Context:
    """What every part of a search needs beside the state.

    Attributes:
        config: the settings.
        problem: space, table, predictor, constraints.
        data: the splits.
        penalty: the objective.
        device: where tensors are.
        world: this process among its peers.
        given: objects that the search was given in place of names.
        weights: what the supernet starts from; None where its weights are drawn.
    """

    config: SearchConfig
    problem: Problem
    data: DataSplits
    penalty: Penalty
    device: torch.device
    world: World
    given: SearchObjects = SearchObjects()
    weights: StartingWeights | None = None

    @property
    def task(self) -> Task:
        """Loss and metric."""
        return self.given.task_or_default

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Costs and targets; the first is the table's."""
        return self.problem.constraints

    @property
    def constrained(self) -> bool:
        """Whether the found network has to meet the targets."""
        return self.config.objective != "none"  # an own objective leaves it at its default

    @property
    def objective_name(self) -> str:
        """Name of the objective; of the user's function where there is one."""
        own = self.given.objective
        return self.config.objective if own is None else name_of(own)

    def require_usable_targets(self) -> None:
        """Checks the first targets of data that were given against the task.

        Raises:
            TaskError: loss or metric cannot take them.
            DataError: the first batch cannot be loaded.
        """
        if self.given.data is not None:
            self.task.require_usable(self.given.data.first_targets())

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Mixed precision as configured; a context that changes nothing in float32."""
        return autocast_of(self.config.autocast, self.device)

    def config_document(self, objects: Mapping[str, JsonObject]) -> JsonObject:
        """The object that config.json holds: settings, table, both shapes and limits.

        Args:
            objects: facts of the objects that the search was given.
        """
        config, problem, data = self.config, self.problem, self.data
        return {
            "settings": config.to_dict(),
            "table": config.table,
            "table_header": dict(problem.table.metadata),
            "space": problem.space.id,
            "data": config.data,
            "metric": problem.table.metric,
            **in_unit({"target": problem.target}, problem.unit),
            "resolution": problem.resolution,
            "num_classes": problem.num_classes,
            "training": {
                "resolution": data.resolution,
                "num_classes": data.num_classes,
                "class_names": list(data.class_names),
                "mean": None if data.mean is None else list(data.mean),
                "std": None if data.std is None else list(data.std),
            },
            "constraints": [
                {
                    "name": constraint.name,
                    "unit": constraint.costs.unit,
                    "target": constraint.target,
                    "reachable": list(constraint.costs.range),
                }
                for constraint in self.constraints
            ],
            "precision": problem.precision,
            **({} if problem.memory is None else {"memory_limit": asdict(problem.memory)}),
            **({"peak_limits": [asdict(p) for p in problem.peaks]} if problem.peaks else {}),
            **({"objects": dict(objects)} if objects else {}),
            **({"weights": self.weights.facts} if self.weights and self.weights.facts else {}),
        }


def make_context(
    config: SearchConfig,
    problem: Problem,
    data: DataSplits,
    device: torch.device,
    world: World | None = None,
    given: SearchObjects | None = None,
    weights: StartingWeights | None = None,
) -> Context:
    """Joins settings, problem and data with the objective that follows from them.

    Raises:
        SearchError: the training split holds less than one batch for each process, or the
            objective does not fit the costs.
    """
    world = world or World()
    steps = full_batches(data.train, config.batch_size, world, SearchError)
    given = given or SearchObjects()
    updates = alpha_updates(config, steps)
    penalty = Penalty(config, problem.constraints, updates, given.objective)
    return Context(config, problem, data, penalty, device, world, given, weights)


def data_config(config: SearchConfig) -> DataConfig:
    """The data settings of a search."""
    return DataConfig(**config.data_settings())
