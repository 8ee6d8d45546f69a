"""Objectives against autograd of the written-out loss; REINFORCE against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.objective import (
    Constraint,
    Multipliers,
    Penalty,
    expectations_of,
    pair_expectation_slopes,
)
from proxyless_hw.search.steps import reinforce_gradient

MASK = np.array([[True, True, True], [True, True, False]])


def constraint(target: float = 6.0, scale: float = 1.0) -> Constraint:
    slots = np.array([[1.0, 2.0, 0.0], [3.0, 5.0, np.nan]]) * scale
    costs = CostTable("made-up", "ms", 2.0 * scale, slots, MASK)
    return Constraint(ExpectedLatency.from_costs(costs), target)


def alpha() -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_expectation_is_the_enumerated_mean() -> None:
    c, logits, mask = constraint(), alpha(), torch.as_tensor(MASK)
    p = torch.softmax(logits.masked_fill(~mask, -torch.inf), 1)
    mean = sum(
        float(p[0, a] * p[1, b]) * c.costs.cost((a, b))
        for a, b in itertools.product(range(3), range(2))
    )
    (value,), _ = expectations_of([c], logits)
    assert value == pytest.approx(mean, rel=1e-12)
    assert float(c.expected(logits)) == pytest.approx(mean, rel=1e-12)


def test_expectation_slopes_equal_finite_differences() -> None:
    c, logits = constraint(), alpha()
    _, (slope,) = expectations_of([c], logits)
    for row, column in np.argwhere(MASK):
        step = torch.zeros_like(logits)
        step[row, column] = 1e-5
        high, low = (expectations_of([c], logits + s)[0][0] for s in (step, -step))
        assert float(slope[row, column]) == pytest.approx((high - low) / 2e-5, rel=1e-6)


def written_out(config: SearchConfig, loss: float, state: Multipliers, c: Constraint,
                logits: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """The loss as DESIGN writes it, with the task loss a function w . alpha + const of value
    `loss`, so that its gradient is w."""
    weights = torch.arange(6.0, dtype=torch.float64).view(2, 3) / 10
    task = loss + (weights * logits).sum() - float((weights * logits.detach()).sum())
    e = c.expected(logits)
    if config.objective == "constraint":
        g = torch.log(e / c.target)
        return task + state.values[0] * g + config.rho / 2 * g**2
    if config.objective == "add-linear":
        return task + config.add_linear_c * (e - c.target) / c.target
    return task * config.mul_log_a * (torch.log(e) / math.log(c.target)) ** config.mul_log_b


def test_the_expectation_has_the_gradient_of_its_values() -> None:
    logits = alpha().requires_grad_()
    assert torch.autograd.gradcheck(constraint().expected, (logits,))
    value, slope = constraint().expected.value_and_slope(logits)
    constraint().expected(logits).backward()
    assert value == pytest.approx(float(constraint().expected(logits.detach())))
    torch.testing.assert_close(slope, logits.grad)


@pytest.mark.parametrize("objective", ["constraint", "add-linear", "mul-log"])
def test_each_objective_has_the_gradient_of_its_formula(objective: str) -> None:
    config = SearchConfig(objective=objective, ramp=0.0)  # type: ignore[arg-type]
    c, state, loss = constraint(), Multipliers([0.7], first=[7.0]), 1.7
    logits = alpha().requires_grad_()
    written_out(config, loss, state, c, logits).backward()
    values, slopes = expectations_of([c], logits)
    scale, (weight,) = Penalty(config, [c], 10).weights(loss, values, state)
    task = torch.arange(6.0, dtype=torch.float64).view(2, 3) / 10
    assert logits.grad is not None
    torch.testing.assert_close(scale * task + weight * slopes[0], logits.grad)


def test_mul_log_is_refused_where_its_logarithms_change_sign() -> None:
    config = SearchConfig(objective="mul-log")
    with pytest.raises(SearchError, match="above 1"):
        Penalty(config, [constraint(target=0.6, scale=0.1)], 10)


def test_the_multiplier_rises_while_too_slow_and_falls_while_too_fast() -> None:
    config = SearchConfig(ramp=0.0, eta=0.5)
    penalty, state = Penalty(config, [constraint()], 10), Multipliers([0.0])
    penalty.advance([9.0], state)
    assert state.values[0] == pytest.approx(0.5 * math.log(1.5))
    penalty.advance([4.0], state)
    assert state.values[0] == pytest.approx(0.5 * (math.log(1.5) + math.log(4 / 6)))


def test_the_multiplier_is_clipped_to_either_sign() -> None:
    config = SearchConfig(ramp=0.0, eta=1e6, multiplier_limit=3.0)
    penalty, state = Penalty(config, [constraint()], 10), Multipliers([0.0])
    penalty.advance([9.0], state)
    assert state.values == [3.0]
    penalty.advance([1.0], state)
    assert state.values == [-3.0]


def test_a_further_constraint_is_an_upper_bound() -> None:
    """Its penalty is that of an inequality: (max(0, lambda + rho g)^2 - lambda^2) / (2 rho)."""
    config = SearchConfig(ramp=0.0, eta=0.5, rho=2.0)
    penalty = Penalty(config, [constraint(), constraint()], 10)
    for cost in (2.0, 5.0, 5.9, 6.5, 9.0):
        for multiplier in (0.0, 0.1, 1.0):
            state = Multipliers([0.0, multiplier], first=[6.0, 6.0])
            g = math.log(cost / 6.0)
            expected = (max(0.0, multiplier + 2 * g) ** 2 - multiplier**2) / 4
            assert penalty.reward_penalty([6.0, cost], state) == pytest.approx(expected)
            _, (_, slope) = penalty.weights(1.0, [6.0, cost], state)
            assert slope == pytest.approx(max(0.0, multiplier + 2 * g) / cost)
            penalty.advance([6.0, cost], state)
            assert state.values[1] == pytest.approx(max(0.0, multiplier + 0.5 * g))


def test_the_target_of_a_bound_that_is_kept_does_not_move() -> None:
    penalty = Penalty(SearchConfig(ramp=0.5), [constraint(), constraint()], 20)
    state = Multipliers([0.0, 0.0])
    penalty.advance([3.0, 3.0], state)
    first, further = penalty.current_targets(state)
    assert first < further == 6.0


def test_the_ramp_moves_the_target_from_the_first_expectation_to_the_given_one() -> None:
    config = SearchConfig(ramp=0.5)
    penalty, state = Penalty(config, [constraint()], 20), Multipliers([0.0])
    penalty.advance([9.0], state)
    seen = []
    for _ in range(12):
        seen.append(penalty.current_targets(state)[0])
        penalty.advance([8.0], state)
    assert seen[0] == pytest.approx(9.0 * (6.0 / 9.0) ** 0.1)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 6.0


def test_the_pair_slope_is_the_expectation_moved_within_the_pair() -> None:
    c, logits, mask = constraint(), alpha(), torch.as_tensor(MASK)
    (slope,) = pair_expectation_slopes([c], logits, mask, (0, 1), (2, 0))
    p = torch.softmax(logits.masked_fill(~mask, -torch.inf), 1)
    mass, q = p[0, 0] + p[0, 2], p[0, 0] / (p[0, 0] + p[0, 2])
    expected = mass * q * (1 - q) * (1.0 - 0.0)
    assert float(slope[0, 0]) == pytest.approx(float(expected))
    assert float(slope[0, 2]) == pytest.approx(-float(expected))


def test_reinforce_is_unbiased_against_enumeration() -> None:
    mask = torch.as_tensor(MASK)
    logits = alpha().requires_grad_()
    rewards = {c: math.sin(3 * c[0] + 5 * c[1]) for c in itertools.product(range(3), range(2))}
    p = torch.softmax(logits.masked_fill(~mask, -torch.inf), 1)
    mean = sum(p[0, a] * p[1, b] * rewards[a, b] for a, b in rewards)
    assert isinstance(mean, torch.Tensor)
    mean.backward()
    total = torch.zeros(2, 3, dtype=torch.float64)
    for baseline in (0.0, 0.4):
        total.zero_()
        for choices, reward in rewards.items():
            weight = float((p[0, choices[0]] * p[1, choices[1]]).detach())
            total += weight * reinforce_gradient(p.detach(), [choices], [reward - baseline])
        assert logits.grad is not None
        torch.testing.assert_close(total, logits.grad)
