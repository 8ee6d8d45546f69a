"""An objective of the user's: its slopes by autograd, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from proxyless_hw.errors import TaskError
from proxyless_hw.predictors.costs import counted_costs
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.objective import Constraint, Multipliers, Penalty
from proxyless_hw.space.search_space import SearchSpace


def penalty(own: Any, **settings: Any) -> tuple[Penalty, Constraint]:
    space = SearchSpace.load("cifar-mbconv")

    costs = counted_costs("macs", space, 32, 10)
    constraint = Constraint(ExpectedLatency.from_costs(costs), sum(costs.range) / 2)
    return Penalty(SearchConfig(**settings), [constraint], 10, own), constraint


def test_the_slopes_of_an_objective_are_those_of_the_built_in_form() -> None:
    """mul-log, CE a (log E / log T)^b, written as a function."""
    built_in, constraint = penalty(None, objective="mul-log")
    a, b = built_in.config.mul_log_a, built_in.config.mul_log_b
    own, _ = penalty(
        lambda loss, values, targets: loss * a * (values[0].log() / math.log(targets[0])) ** b
    )
    at = (1.7, [0.8 * constraint.target])
    expected_scale, expected_slopes = built_in.weights(*at, Multipliers([0.0]))
    scale, slopes = own.weights(*at, Multipliers([0.0]))
    assert scale == pytest.approx(expected_scale, rel=1e-12)
    assert slopes == pytest.approx(expected_slopes, rel=1e-12)


def test_no_multiplier_moves_under_an_objective_of_ones_own() -> None:
    own, constraint = penalty(lambda loss, values, targets: loss + values[0])
    state = Multipliers([0.0])
    own.advance([2 * constraint.target], state)
    assert (state.values, state.updates) == ([0.0], 1)


@pytest.mark.parametrize(
    "objective",
    [
        lambda loss, values, targets: 1.0,
        lambda loss, values, targets: loss.item() * math.log(values[0].item()),
        lambda loss, values, targets: torch.stack([loss, values[0]]),
        lambda loss, values, targets: loss * math.nan,
        lambda loss, values, targets: (values[0] - values[0]).sqrt() + loss,
    ],
)
def test_an_objective_without_finite_slopes_is_refused(objective: Any) -> None:
    own, constraint = penalty(objective)
    with pytest.raises(TaskError, match="the objective '<lambda>'"):
        own.weights(1.0, [constraint.target], Multipliers([0.0]))
