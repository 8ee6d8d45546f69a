"""After the last epoch: derive finalists exactly and rank them on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from proxyless_hw.data.base import DataSplits
from proxyless_hw.network.network import Network
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.derive import Derived, derive, most_probable, pareto
from proxyless_hw.search.derived import accuracy, derived_network
from proxyless_hw.search.gates import log_probabilities
from proxyless_hw.search.objective import Constraint
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.units import in_unit


@dataclass(frozen=True)
class Finalist:
    """One derived network and how the supernet's weights do in it.

    Attributes:
        derived: choices, log probability, costs.
        arch: the network at its deployment shape.
        network: with the supernet's weights and recalibrated BatchNorm, the data's classes.
        accuracy: top-1 on the held-out images.
    """

    derived: Derived
    arch: Architecture
    network: Network
    accuracy: float


def log_p(supernet: SuperNet) -> np.ndarray[Any, np.dtype[np.float64]]:
    """log p of every candidate, (slots, max_candidates), float64."""
    alpha = supernet.alpha.detach().double().cpu()
    values: np.ndarray[Any, np.dtype[np.float64]] = log_probabilities(
        alpha, supernet.mask.cpu()
    ).numpy()
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
    return derive(log_p(supernet), costs, targets, count)


def rank(
    supernet: SuperNet,
    found: Sequence[Derived],
    problem: Problem,
    config: SearchConfig,
    data: DataSplits,
    device: torch.device,
) -> list[Finalist]:
    """Finalists by held-out accuracy of the supernet's weights, then by log probability."""
    training = TrainingShape(data.resolution, data.num_classes, config.data)
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
        finalists.append(Finalist(derived, arch, network, accuracy(network, held_out, device)))
    return sorted(finalists, key=lambda item: (-item.accuracy, -item.derived.log_probability))


def slot_margins(supernet: SuperNet) -> list[float]:
    """Per slot the probability of the best candidate minus that of the second."""
    p = np.sort(np.exp(log_p(supernet)), axis=1)
    return [float(value) for value in p[:, -1] - p[:, -2]]


def pareto_points(supernet: SuperNet, costs: CostTable, points: int = 50) -> list[dict[str, Any]]:
    """The exact optimum at `points` budgets over the feasible range, for result.json.

    ``budget`` and ``value`` are in ``unit``; in milliseconds also under ``budget_ms`` and
    ``latency_ms``.
    """
    return [
        {
            **in_unit({"budget": budget}, costs.unit),
            "value": item.costs[0],
            **({"latency_ms": item.costs[0]} if costs.unit == "ms" else {}),
            "log_probability": item.log_probability,
            "choices": list(item.choices),
        }
        for budget, item in pareto(log_p(supernet), costs, points)
    ]


def constraint_report(constraints: Sequence[Constraint], derived: Derived) -> list[dict[str, Any]]:
    """Name, unit, target and predicted cost of every constraint."""
    return [
        {
            "name": constraint.name,
            "unit": constraint.costs.unit,
            "target": constraint.target,
            "predicted": cost,
        }
        for constraint, cost in zip(constraints, derived.costs, strict=True)
    ]
