"""The integer program against enumeration."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch

from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.search.derive import (
    derive,
    feasible_target,
    geometric_mean_target,
    most_probable,
    most_probable_within,
    pareto,
)


def problem(seed: int = 0, slots: int = 5) -> tuple[np.ndarray, CostTable]:
    rng = np.random.default_rng(seed)
    mask = np.ones((slots, 4), dtype=bool)
    mask[1, 3] = mask[2, 2:] = False
    log_p = np.log(rng.dirichlet(np.ones(4), slots))
    return log_p, CostTable("made-up", "ms", 2.0, rng.random((slots, 4)) * 4, mask)


def enumerate_all(log_p: np.ndarray, costs: CostTable) -> list[tuple[float, float, tuple]]:
    options = itertools.product(*(np.flatnonzero(row).tolist() for row in costs.mask))
    return [
        (float(log_p[np.arange(len(c)), list(c)].sum()), costs.cost(c), tuple(c)) for c in options
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_best_networks_within_the_window_are_found_in_order(seed: int) -> None:
    log_p, costs = problem(seed)
    target = geometric_mean_target(costs)
    truth = sorted(
        (item for item in enumerate_all(log_p, costs) if 0.99 * target <= item[1] <= target),
        reverse=True,
    )
    found = most_probable_within(log_p, [costs], [target], count=4)
    assert [item.choices for item in found] == [item[2] for item in truth[:4]]
    np.testing.assert_allclose([f.log_probability for f in found], [t[0] for t in truth[:4]])
    np.testing.assert_allclose([f.costs[0] for f in found], [t[1] for t in truth[:4]])


@pytest.mark.parametrize("seed", range(4))
def test_every_constraint_is_met_and_one_window_is_filled(seed: int) -> None:
    log_p, first = problem(seed)
    second = CostTable("other", "M", 1.0, problem(seed + 50)[1].slots, first.mask)
    targets = [geometric_mean_target(first) * 1.1, geometric_mean_target(second) * 1.1]
    every = [(lp, cost, second.cost(c), c) for lp, cost, c in enumerate_all(log_p, first)]
    allowed = [
        item for item in every
        if item[1] <= targets[0] and item[2] <= targets[1]
        and (item[1] >= 0.99 * targets[0] or item[2] >= 0.99 * targets[1])
    ]  # fmt: skip
    best = most_probable_within(log_p, [first, second], targets)[0]
    assert best.choices == max(allowed)[3]


def test_a_target_out_of_range_states_the_range() -> None:
    _, costs = problem()
    low, high = costs.range
    with pytest.raises(SearchError, match=r"can reach on 'made-up': \S+ to \S+ ms") as caught:
        feasible_target(costs, low / 2)
    named = [float(word) for word in re.findall(r"[\d.]+", str(caught.value).split("up': ")[1])[:2]]
    # Rounded, but inwards: what is named can be asked for.
    assert low <= named[0] < low * 1.001
    assert high * 0.999 < named[1] <= high


def test_a_target_equal_to_the_minimum_gives_the_cheapest_network() -> None:
    log_p, costs = problem()
    cheapest = min(enumerate_all(log_p, costs), key=lambda item: item[1])
    assert most_probable_within(log_p, [costs], [costs.range[0]])[0].choices == cheapest[2]


def test_an_empty_window_names_the_nearest_costs() -> None:
    mask = np.ones((2, 2), dtype=bool)
    costs = CostTable("gaps", "ms", 0.0, np.array([[1.0, 10.0], [1.0, 10.0]]), mask)
    with pytest.raises(SearchError, match="nearest cost 11 and 20 ms"):
        most_probable_within(np.log(np.full((2, 2), 0.5)), [costs], [15.0])


def test_probabilities_that_vanish_do_not_break_the_program() -> None:
    log_p, costs = problem()
    log_p[:, 0] = -np.inf
    assert most_probable_within(log_p, [costs], [geometric_mean_target(costs)])


def test_without_constraints_each_slot_takes_its_most_probable_candidate() -> None:
    log_p, costs = problem()
    best = most_probable(log_p, [costs], 1)[0]
    masked = np.where(costs.mask, log_p, -np.inf)
    assert best.choices == tuple(masked.argmax(1).tolist())


def test_the_pareto_front_is_exact_at_each_budget() -> None:
    log_p, costs = problem(3)
    every = enumerate_all(log_p, costs)
    front = pareto(log_p, costs, points=12)
    for budget, item in front:
        best = max(lp for lp, cost, _ in every if cost <= budget + 1e-12)
        assert item.log_probability == pytest.approx(best)
        assert item.costs[0] <= budget + 1e-9
    scores = [item.log_probability for _, item in front]
    assert scores == sorted(scores)


def test_probabilities_and_costs_as_objects_give_the_enumerated_best() -> None:
    log_p, costs = problem(3)
    probabilities = torch.tensor(np.where(costs.mask, np.exp(log_p), 0.0))
    probabilities /= probabilities.sum(1, keepdim=True)
    target = geometric_mean_target(costs)
    every = enumerate_all(np.log(probabilities.numpy().clip(1e-300)), costs)
    truth = sorted((item for item in every if 0.99 * target <= item[1] <= target), reverse=True)
    expected = ExpectedLatency.from_costs(costs)
    for cost in (costs, expected):
        found = derive(probabilities.requires_grad_(), [(cost, target)], best=3)
        assert [item.choices for item in found] == [item[2] for item in truth[:3]]
        np.testing.assert_allclose([f.log_probability for f in found], [t[0] for t in truth[:3]])
    assert expected.score([found[0].choices])[0] == pytest.approx(found[0].costs[0], abs=1e-12)


def test_what_are_no_probabilities_is_refused() -> None:
    log_p, costs = problem()
    good = np.where(costs.mask, np.exp(log_p), 0.0)
    good /= good.sum(1, keepdims=True)
    target = geometric_mean_target(costs)
    for bad in (log_p, good * 2, np.full_like(good, np.nan)):
        with pytest.raises(SearchError, match="sum to 1 in every slot"):
            derive(bad, [(costs, target)])
    with pytest.raises(SearchError, match="must have shape"):
        derive(good[:2], [(costs, target)])
    with pytest.raises(SearchError, match="needs a constraint"):
        derive(good, [])
    with pytest.raises(SearchError, match="at least 1"):
        derive(good, [(costs, target)], best=0)
    other = CostTable("other", "ms", 0.0, costs.slots, np.ones_like(costs.mask))
    with pytest.raises(SearchError, match="have the same candidates"):
        derive(good, [(costs, target), (other, target)])


@pytest.mark.parametrize("pair", [("latency", 1.0), 3.0, (1.0,)])
def test_a_constraint_that_is_no_pair_of_a_cost_and_a_target_is_refused(pair: object) -> None:
    with pytest.raises(SearchError, match="is a pair"):
        derive([[0.5, 0.5]], [pair])  # type: ignore[list-item]
