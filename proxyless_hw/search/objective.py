"""How latency enters the search: expectations, multipliers, and what they add to alpha's gradient.

Every objective is written as ``dL/dalpha = scale * dCE/dalpha + sum_c slope_c * dE_c/dalpha``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from proxyless_hw.errors import SearchError, TaskError
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.runs.task import called, name_of
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.gates import pair_gradient, path_probabilities

ObjectiveFunction: TypeAlias = Callable[
    [Tensor, tuple[Tensor, ...], tuple[float, ...]],
    Tensor,
]
"""``objective(loss, values, targets) -> scalar tensor`` that alpha lowers.

`loss` is the held-out loss and `values` are the expected costs, one per constraint, as scalar
tensors (float64); `targets` are their limits as floats. Its slopes are taken by autograd.
"""


RewardFunction: TypeAlias = Callable[[float, tuple[float, ...], tuple[float, ...]], float]
"""``reward(metric, costs, targets) -> float`` of one sampled network, which REINFORCE raises.

`metric` is the task's on a held-out batch; `costs` and `targets` are floats, one per constraint.
"""


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

    lambda += eta g after each update of alpha. The first constraint is an equality: its lambda has
    either sign. Further ones are upper bounds: their lambda is not negative, and one that is kept
    has no effect (the augmented Lagrangian of an inequality). While the ramp lasts, the target
    moves geometrically from the first expectation to T: a far target would otherwise wind lambda
    up long before alpha can follow (a departure from a plain multiplier method).

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
        own: an objective of the user's, in place of the configuration's.
    """

    def __init__(
        self,
        config: SearchConfig,
        constraints: Sequence[Constraint],
        total_updates: int,
        own: ObjectiveFunction | None = None,
    ) -> None:
        self.own = own
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
            constraint.target  # of a bound that is kept already
            if number > 0 and first <= constraint.target
            else math.exp((1 - done) * math.log(first) + done * math.log(constraint.target))
            for number, (first, constraint) in enumerate(
                zip(state.first, self.constraints, strict=True)
            )
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
        if self.own is not None:
            return slopes_of(self.own, loss, expectations, targets)
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
        pulls = self._pulls(expectations, state)
        return 1.0, [pull / value for pull, value in zip(pulls, expectations, strict=True)]

    def _pulls(self, costs: Sequence[float], state: Multipliers) -> list[float]:
        """Slope of the penalty by each g: lambda + rho g, of a further constraint at least 0."""
        return [
            max(-math.inf if number == 0 else 0.0, multiplier + self.config.rho * gap)
            for number, (multiplier, gap) in enumerate(
                zip(state.values, self.gaps(costs, state), strict=True)
            )
        ]

    def reward_penalty(self, costs: Sequence[float], state: Multipliers) -> float:
        """lambda g + (rho / 2) g^2, summed over constraints, for one sampled network.

        Of a further constraint it is constant where it has no slope.
        """
        rho, total = self.config.rho, 0.0
        pulls = self._pulls(costs, state)
        for multiplier, gap, pull in zip(state.values, self.gaps(costs, state), pulls, strict=True):
            # Where the slope is 0: at the gap at which it becomes so.
            at = gap if pull or not rho else -multiplier / rho
            total += multiplier * at + rho / 2 * at**2
        return total

    def advance(self, expectations: Sequence[float], state: Multipliers) -> None:
        """Moves the multipliers after an update of alpha."""
        if state.first is None:
            state.first = list(expectations)
        limit = self.config.multiplier_limit
        if self.config.objective == "constraint" and self.own is None:
            gaps = self.gaps(expectations, state)
            state.values = [
                max(-limit if number == 0 else 0.0, min(limit, value + self.eta * gap))
                for number, (value, gap) in enumerate(zip(state.values, gaps, strict=True))
            ]
        state.updates += 1


def slopes_of(
    objective: ObjectiveFunction, loss: float, values: Sequence[float], targets: Sequence[float]
) -> tuple[float, list[float]]:
    """Slopes of an objective of the user's, by autograd: (d/dloss, d/dvalue of each constraint).

    Raises:
        TaskError: it gives no finite scalar tensor that depends on the loss or a value.
    """
    with torch.enable_grad():
        at = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (loss, *values)]
        total = called("objective", objective, at[0], tuple(at[1:]), tuple(targets))
        if not isinstance(total, Tensor) or total.dim() or not total.requires_grad:
            raise TaskError(
                f"the objective '{name_of(objective)}' must return a scalar tensor computed from "
                "loss and values by torch operations (values[0].log(), not math.log): received "
                f"{repr(total)[:100]}."
            )
        slopes = torch.autograd.grad(total, at, allow_unused=True)
    end = float(total.detach())
    scale, *rest = (0.0 if slope is None else float(slope) for slope in slopes)
    if not all(math.isfinite(value) for value in (end, scale, *rest)):
        raise TaskError(
            f"the objective '{name_of(objective)}' and its slopes must be finite: received "
            f"{end:g} with slopes {', '.join(f'{v:g}' for v in (scale, *rest))} at loss "
            f"{loss:g}, values {', '.join(f'{v:g}' for v in values)}."
        )
    return scale, rest


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
