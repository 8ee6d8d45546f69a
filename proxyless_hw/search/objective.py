"""How latency enters the search: expectations, multipliers, and what they add to alpha's gradient.

Every objective is written as ``dL/dalpha = scale * dCE/dalpha + sum_c slope_c * dE_c/dalpha``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.gates import pair_gradient, path_probabilities


@dataclass(frozen=True)
class Constraint:
    """One cost to be held at a target.

    Attributes:
        expected: the differentiable expectation of the cost.
        target: T, in the cost's unit.
    """

    expected: ExpectedLatency
    target: float

    @property
    def costs(self) -> CostTable:
        """What every choice costs."""
        return self.expected.costs

    @property
    def name(self) -> str:
        """The constraint's name, unique within a search."""
        return self.costs.name


@dataclass
class Multipliers:
    """The Lagrange multipliers of the `constraint` objective and their schedule.

    lambda += eta g after each update of alpha, clipped to either sign. While the ramp lasts, the
    target moves geometrically from the first expectation to T: a far target would otherwise wind
    lambda up long before alpha can follow (a departure from a plain multiplier method).

    Attributes:
        values: lambda, one per constraint.
        first: the expectations when alpha first moved; None before.
        updates: updates of alpha so far.
    """

    values: list[float]
    first: list[float] | None = None
    updates: int = 0


class Penalty:
    """Turns expectations into the weights of the gradient, by the objective of a configuration.

    Args:
        config: objective and its constants.
        constraints: the constraints, in order.
        total_updates: updates of alpha that the search will make.
    """

    def __init__(
        self, config: SearchConfig, constraints: Sequence[Constraint], total_updates: int
    ) -> None:
        self.config = config
        self.constraints = list(constraints)
        self.total_updates = max(1, total_updates)
        self.eta = config.eta if config.eta is not None else default_eta(config, total_updates)
        if config.objective == "mul-log":
            self._check_logs()

    def _check_logs(self) -> None:
        for constraint in self.constraints:
            low = constraint.costs.range[0]
            if min(low, constraint.target) <= 1:
                raise SearchError(
                    "mul-log needs every cost and the target above 1: its logarithms change "
                    f"sign there. '{constraint.name}' reaches down to {low:.3g} "
                    f"{constraint.costs.unit}, target {constraint.target:.3g}. "
                    "Use --objective constraint."
                )

    def current_targets(self, state: Multipliers) -> list[float]:
        """The target of each constraint at this update: ramped from the first expectation to T."""
        ramp = self.config.ramp * self.total_updates
        done = 1.0 if ramp <= 0 else min(1.0, state.updates / ramp)
        if state.first is None or done >= 1:
            return [constraint.target for constraint in self.constraints]
        return [
            math.exp((1 - done) * math.log(first) + done * math.log(constraint.target))
            for first, constraint in zip(state.first, self.constraints, strict=True)
        ]

    def gaps(self, costs: Sequence[float], state: Multipliers) -> list[float]:
        """g = log(cost / current target) of each constraint."""
        targets = self.current_targets(state)
        return [math.log(cost / target) for cost, target in zip(costs, targets, strict=True)]

    def weights(
        self, loss: float, expectations: Sequence[float], state: Multipliers
    ) -> tuple[float, list[float]]:
        """(scale of dCE/dalpha, slope of each dE/dalpha) at the current expectations."""
        config = self.config
        targets = [constraint.target for constraint in self.constraints]
        if config.objective == "none":
            return 1.0, [0.0] * len(targets)
        if config.objective == "add-linear":
            return 1.0, [config.add_linear_c / target for target in targets]
        if config.objective == "mul-log":
            powers = [
                (math.log(value) / math.log(target)) ** config.mul_log_b
                for value, target in zip(expectations, targets, strict=True)
            ]
            scale = config.mul_log_a * math.prod(powers)
            return scale, [
                loss * scale * config.mul_log_b / (math.log(value) * value)
                for value in expectations
            ]
        gaps = self.gaps(expectations, state)
        return 1.0, [
            (multiplier + config.rho * gap) / value
            for multiplier, gap, value in zip(state.values, gaps, expectations, strict=True)
        ]

    def reward_penalty(self, costs: Sequence[float], state: Multipliers) -> float:
        """lambda g + (rho / 2) g^2, summed over constraints, for one sampled network."""
        return sum(
            multiplier * gap + self.config.rho / 2 * gap**2
            for multiplier, gap in zip(state.values, self.gaps(costs, state), strict=True)
        )

    def advance(self, expectations: Sequence[float], state: Multipliers) -> None:
        """Moves the multipliers after an update of alpha."""
        if state.first is None:
            state.first = list(expectations)
        limit = self.config.multiplier_limit
        if self.config.objective == "constraint":
            gaps = self.gaps(expectations, state)
            state.values = [
                max(-limit, min(limit, value + self.eta * gap))
                for value, gap in zip(state.values, gaps, strict=True)
            ]
        state.updates += 1


def default_eta(config: SearchConfig, total_updates: int) -> float:
    """A multiplier step that spends a damped integral over the updates a search has.

    With lambda' = eta g and the quadratic term rho g acting as the damper, eta is kept well
    under rho over the number of updates in which alpha can respond (about a sixth of them).
    """
    return 6.0 * config.rho / max(1, total_updates)


def expectations_of(
    constraints: Sequence[Constraint], alpha: Tensor
) -> tuple[list[float], list[Tensor]]:
    """E of every constraint and dE/dalpha, each (slots, max_candidates)."""
    pairs = [constraint.expected.value_and_slope(alpha) for constraint in constraints]
    return [value for value, _ in pairs], [slope for _, slope in pairs]


def pair_expectation_slopes(
    constraints: Sequence[Constraint],
    alpha: Tensor,
    mask: Tensor,
    first: Sequence[int],
    second: Sequence[int],
) -> list[Tensor]:
    """dE/dalpha of a two-path update, m = p_a + p_b held fixed: m q_a q_b (L_a - L_b)."""
    p = path_probabilities(alpha.detach(), mask)
    rows = torch.arange(len(first))
    a, b = torch.as_tensor(first), torch.as_tensor(second)
    mass = p[rows, a] + p[rows, b]
    slopes = []
    for constraint in constraints:
        slots = constraint.expected.slots.to(p)
        slopes.append(pair_gradient(mass * (slots[rows, a] - slots[rows, b]), p, first, second))
    return slopes
