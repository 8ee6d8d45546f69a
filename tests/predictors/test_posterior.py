"""The posterior of a device's costs, against closed forms, slopes and a general optimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from proxyless_hw.predictors.posterior import Measurements, Prior, condition, log_density

DRAW = np.random.default_rng(0)
SIZE, KINDS = 6, 3


def prior_of(kinds: int = KINDS, residual: float = 0.2) -> Prior:
    draw = np.random.default_rng(1)
    root = draw.standard_normal((kinds, kinds))
    return Prior(
        amounts=draw.uniform(0.1, 2.0, (SIZE, kinds)),
        log_rates=draw.standard_normal(kinds),
        covariance=root @ root.T + 0.5 * np.eye(kinds),
        offset=0.1 * draw.standard_normal(SIZE),
        residual=residual**2 * (np.eye(SIZE) + 0.5),
    )


def networks(log_value: np.ndarray | None = None) -> Measurements:
    counts = np.array([[1, 2, 0, 0, 1, 0], [0, 1, 1, 0, 0, 3], [1, 1, 1, 1, 1, 1.0]])
    return Measurements(counts, np.array([1.0, 2.5, 1.8]) if log_value is None else log_value)


def test_one_rate_and_single_ops_are_a_linear_gaussian_model() -> None:
    prior = prior_of(kinds=1)
    at = np.array([4, 1])
    measured = Measurements.of_ops(at, np.array([0.7, -0.2]), SIZE)
    found = condition(prior, measured, np.array([0.01, 0.04]))
    mean = np.log(prior.amounts[:, 0]) + prior.log_rates[0] + prior.offset
    covariance = prior.covariance[0, 0] + prior.residual
    gram = covariance[np.ix_(at, at)] + np.diag([0.01, 0.04])
    gain = covariance[:, at] @ np.linalg.inv(gram)
    assert np.allclose(found.log_cost, mean + gain @ (measured.log_value - mean[at]))
    assert np.allclose(found.covariance(), covariance - gain @ covariance[at])
    density = multivariate_normal(mean[at], gram).logpdf(measured.log_value)
    assert found.log_evidence() == pytest.approx(density + np.log(2 * np.pi))


def test_held_out_measurements_are_those_of_a_fit_without_them() -> None:
    prior = prior_of(kinds=1)
    at, values, noise = (
        np.array([4, 1, 2]),
        np.array([0.7, -0.2, 0.4]),
        np.array([0.01, 0.04, 0.02]),
    )
    error, deviation = condition(prior, Measurements.of_ops(at, values, SIZE), noise).held_out()
    for left_out in range(3):
        kept = np.arange(3) != left_out
        without = condition(prior, Measurements.of_ops(at[kept], values[kept], SIZE), noise[kept])
        op = at[left_out]
        assert error[left_out] == pytest.approx(without.log_cost[op] - values[left_out])
        variance = without.covariance()[op, op] + noise[left_out]
        assert deviation[left_out] == pytest.approx(np.sqrt(variance))


@pytest.mark.parametrize("kind", ["ops", "networks"])
def test_the_mode_is_what_a_general_optimiser_finds(kind: str) -> None:
    prior = prior_of()
    measured = networks()
    if kind == "ops":
        measured = Measurements.of_ops(np.array([0, 3, 5]), np.array([1.0, 2.5, 1.8]), SIZE)
    noise = np.array([0.02, 0.01, 0.03])
    found = condition(prior, measured, noise)

    def negative_log_density(point: np.ndarray) -> float:
        rates, residual = point[:KINDS], point[KINDS:]
        cost = np.exp(np.log(prior.amounts @ np.exp(rates)) + prior.offset + residual)
        error = measured.log_value - np.log(measured.counts @ cost)
        away = rates - prior.log_rates
        return float(
            (error**2 / noise).sum()
            + away @ np.linalg.solve(prior.covariance, away)
            + residual @ np.linalg.solve(prior.residual, residual)
        )

    start = np.concatenate([prior.log_rates, np.zeros(SIZE)])
    best = minimize(negative_log_density, start, method="BFGS", options={"gtol": 1e-7})
    assert best.fun < negative_log_density(start) - 1
    for start_from in (None, found):
        mode = condition(prior, measured, noise, start=start_from)
        at = np.concatenate([mode.log_rates, prior.residual @ mode.pull])
        assert negative_log_density(at) == pytest.approx(best.fun, abs=0.01)
        costs = np.log(prior.amounts @ np.exp(best.x[:KINDS])) + prior.offset + best.x[KINDS:]
        assert np.allclose(mode.log_cost, costs, atol=0.02)


def test_shares_are_the_slope_of_what_networks_cost() -> None:
    measured, log_cost = networks(), DRAW.standard_normal(SIZE)
    shares = measured.shares(log_cost)
    for op in range(SIZE):
        step = np.zeros(SIZE)
        step[op] = 1e-6
        slope = (measured.predicted(log_cost + step) - measured.predicted(log_cost - step)) / 2e-6
        assert np.allclose(shares[:, op], slope, atol=1e-6)


def test_a_network_costs_the_sum_of_its_ops() -> None:
    log_cost = DRAW.standard_normal(SIZE)
    cost = np.exp(log_cost)
    expected = [cost[0] + 2 * cost[1] + cost[4], cost[1] + cost[2] + 3 * cost[5], cost.sum()]
    assert np.allclose(np.exp(networks().predicted(log_cost)), expected)


def test_networks_of_one_op_each_are_single_ops() -> None:
    at, values = np.array([0, 3, 5]), np.array([1.0, 2.5, 1.8])
    single = Measurements.of_ops(at, values, SIZE)
    general = Measurements(single.counts, values)
    noise = np.full(3, 0.02)
    one, other = condition(prior_of(), single, noise), condition(prior_of(), general, noise)
    assert np.allclose(one.log_cost, other.log_cost)
    assert np.allclose(one.covariance(), other.covariance())


def test_more_measurements_leave_less_variance() -> None:
    prior = prior_of()
    few = condition(prior, Measurements.of_ops(np.array([0]), np.ones(1), SIZE), np.full(1, 0.01))
    more = condition(
        prior, Measurements.of_ops(np.array([0, 3]), np.ones(2), SIZE), np.full(2, 0.01)
    )
    assert (np.diag(more.covariance()) < np.diag(few.covariance())).all()
    assert np.linalg.eigvalsh(more.rate_covariance()).min() > 0


def test_densities_are_those_of_scipy() -> None:
    roots = DRAW.standard_normal((4, 3, 3))
    grams = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    vector = DRAW.standard_normal(3)
    expected = [multivariate_normal(np.zeros(3), gram).logpdf(vector) for gram in grams]
    assert np.allclose(log_density(grams, vector) - 1.5 * np.log(2 * np.pi), expected)
