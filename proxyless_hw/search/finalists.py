"""After the last epoch: derive finalists exactly and rank them on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.predictors.costs import PEAK, CostTable
from proxyless_hw.runs.evaluation import Score, evaluate
from proxyless_hw.runs.task import CLASSIFICATION, Task
from proxyless_hw.search.derive import Derived, most_probable, most_probable_within, pareto
from proxyless_hw.search.extract import derived_network
from proxyless_hw.search.gates import log_probabilities
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.result_rows import ConstraintCost, ParetoPoint, RankedNetwork
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.space.footprint import memory_bytes

FloatArray: TypeAlias = NDArray[np.float64]

LEAST_FINALISTS: Final = 3
MEASURED_FINALISTS: Final = 6
"""A verification measures at least and at most so many together."""


@dataclass(frozen=True)
class Finalist:
    """One derived network and how the supernet's weights do in it.

    Attributes:
        derived: choices, log probability, costs.
        arch: the network at its deployment shape.
        network: with the supernet's weights and recalibrated BatchNorm, the data's classes.
        score: on the held-out images.
    """

    derived: Derived
    arch: Architecture
    network: Network
    score: Score

    @property
    def row(self) -> RankedNetwork:
        """What result.json keeps of it."""
        return RankedNetwork(
            derived=self.derived, accuracy=self.score.top1, score=self.score.own_metric
        )


def log_p(supernet: SuperNet) -> FloatArray:
    """log p of every candidate, (slots, max_candidates), float64."""
    alpha = supernet.alpha.detach().double().cpu()
    values: FloatArray = log_probabilities(alpha, supernet.mask.cpu()).numpy()
    return values


def derive_finalists(
    supernet: SuperNet,
    costs: Sequence[CostTable],
    targets: Sequence[float],
    count: int,
    constrained: bool = True,
) -> list[Derived]:
    """The most probable networks, within the window unless the objective has no latency.

    Raises:
        SearchError: the window is empty; the nearest costs are named.
    """
    if not constrained:
        return most_probable(log_p(supernet), costs, count)
    return most_probable_within(log_p(supernet), costs, targets, count)


def rank(
    supernet: SuperNet,
    found: Sequence[Derived],
    problem: Problem,
    data: DataSplits,
    device: torch.device,
    task: Task = CLASSIFICATION,
) -> list[Finalist]:
    """Finalists by the held-out metric of the supernet's weights, then by log probability."""
    training = TrainingShape(data.resolution, data.num_classes, data.name)
    finalists = []
    for derived in found:
        arch = Architecture.from_choices(
            problem.space,
            derived.choices,
            resolution=problem.resolution,
            num_classes=problem.num_classes,
            training=training,
        )
        network = derived_network(supernet, arch, derived.choices, data, device)
        held_out = data.holdout.batches(0, shuffle=False, augment=False, drop_last=False)
        score = evaluate(network, held_out, device, SearchError, task)
        finalists.append(Finalist(derived, arch, network, score))
    return sorted(finalists, key=lambda item: (-item.score.metric, -item.derived.log_probability))


def slot_margins(supernet: SuperNet) -> tuple[float, ...]:
    """Per slot the probability of the best candidate minus that of the second."""
    p = np.sort(np.exp(log_p(supernet)), axis=1)
    return tuple(float(value) for value in p[:, -1] - p[:, -2])


def pareto_points(
    supernet: SuperNet, costs: CostTable, points: int = 50
) -> tuple[ParetoPoint, ...]:
    """The exact optimum at `points` budgets over the feasible range."""
    return tuple(
        ParetoPoint(budget=budget, derived=derived)
        for budget, derived in pareto(log_p(supernet), costs, points)
    )


def constraint_costs(problem: Problem, found: Finalist) -> tuple[ConstraintCost, ...]:
    """What a derived network costs under every limit, peaks last."""
    costs = [
        ConstraintCost(
            name=constraint.name,
            unit=constraint.costs.unit,
            target=constraint.target,
            predicted=cost,
        )
        for constraint, cost in zip(problem.constraints, found.derived.costs, strict=True)
    ]
    if problem.memory is not None:
        needs = memory_bytes(found.arch, problem.memory.precision)
        assert needs is not None, "a space with a limit of memory holds chains of built-in ops"
        costs.append(
            ConstraintCost(
                name=PEAK, unit="MB", target=problem.memory.limit / 1e6, predicted=needs / 1e6
            )
        )
    costs += [
        ConstraintCost(
            name=peak.name, unit=peak.unit, target=peak.limit, predicted=peak.of(found.arch)
        )
        for peak in problem.peaks
    ]
    return tuple(costs)
