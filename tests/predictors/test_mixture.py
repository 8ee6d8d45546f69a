"""Intervals of mixtures, against scipy's quantiles and draws."""

import numpy as np
import pytest
from scipy.stats import norm

from proxyless_hw.predictors.mixture import Mixture


def test_one_part_has_the_quantiles_of_a_gaussian() -> None:
    mixture = Mixture(np.ones(1), np.array([[1.0, -2.0]]), np.array([[0.5, 3.0]]))
    for coverage in (0.5, 0.9, 0.95):
        low, high = mixture.interval(coverage)
        expected = norm(np.array([1.0, -2.0]), np.array([0.5, 3.0])).interval(coverage)
        assert np.allclose([low, high], expected, atol=1e-9)


def test_an_interval_holds_as_many_draws_as_it_says() -> None:
    weights, means, deviations = np.array([0.7, 0.3]), [[0.0], [4.0]], [[1.0], [0.5]]
    mixture = Mixture(weights, np.array(means), np.array(deviations))
    draw = np.random.default_rng(0)
    part = (draw.random(100_000) < 0.3).astype(int)
    drawn = draw.normal(np.array(means)[part, 0], np.array(deviations)[part, 0])
    (low,), (high,) = mixture.interval(0.9)
    assert np.mean(drawn < low) == pytest.approx(0.05, abs=0.005)
    assert np.mean(drawn > high) == pytest.approx(0.05, abs=0.005)
    assert mixture.mean[0] == pytest.approx(drawn.mean(), abs=0.02)
    assert mixture.deviation[0] == pytest.approx(drawn.std(), abs=0.02)


def test_widening_keeps_the_mean_and_scales_all_distances() -> None:
    mixture = Mixture(np.array([0.5, 0.5]), np.array([[0.0], [2.0]]), np.array([[1.0], [0.1]]))
    wide = mixture.widened(3.0)
    assert wide.mean == pytest.approx(mixture.mean)
    assert wide.deviation == pytest.approx(3 * mixture.deviation)
    for narrow, far in zip(mixture.interval(0.8), wide.interval(0.8), strict=True):
        assert far - mixture.mean == pytest.approx(3 * (narrow - mixture.mean))
