"""Bootstrap intervals against distributions whose median is known."""

from __future__ import annotations

import numpy as np
import pytest

from proxyless_hw.profilers.statistics import bootstrap_medians


def test_the_estimate_is_the_median_of_the_rounds() -> None:
    (interval,) = bootstrap_medians([[np.array([3.0, 1.0, 2.0, 10.0, 2.5])]], 500, 0)
    assert interval.estimate == 2.5
    assert interval.low <= interval.estimate <= interval.high


def test_intervals_of_a_known_distribution_cover_its_median_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    cases = [[np.exp(generator.normal(0.0, 0.1, 25))] for _ in range(600)]
    covered = [cover.low <= 1.0 <= cover.high for cover in bootstrap_medians(cases, 400, 0)]
    # 95% nominal; 600 cases give a standard error of 0.9%, and the method is a little off at n=25.
    assert 0.91 <= np.mean(covered) <= 0.985


def test_the_width_follows_the_theory_of_the_median() -> None:
    generator = np.random.default_rng(2)
    cases = [[generator.normal(10.0, 1.0, 100)] for _ in range(200)]
    widths = [interval.half_width for interval in bootstrap_medians(cases, 400, 0)]
    expected = 1.96 * np.sqrt(np.pi / 2 / 100)
    assert np.mean(widths) == pytest.approx(expected, rel=0.1)


def test_rounds_are_what_is_resampled() -> None:
    """Samples that agree inside a round but not between rounds must not look precise."""
    generator = np.random.default_rng(3)
    levels = generator.normal(1.0, 0.1, 9)
    (clustered,) = bootstrap_medians([[levels]], 2000, 0)
    (pretended,) = bootstrap_medians([[np.repeat(levels, 50)]], 2000, 0)
    assert clustered.half_width > 2 * pretended.half_width


def test_workloads_with_different_numbers_of_rounds_do_not_disturb_each_other() -> None:
    generator = np.random.default_rng(4)
    cases = [[generator.normal(5.0, 0.5, count)] for count in (7, 12, 7, 30)]
    together = bootstrap_medians(cases, 300, 5)
    assert together == [bootstrap_medians([case], 300, 5)[0] for case in cases]


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [[np.random.default_rng(6).normal(1.0, 0.1, 15)]]
    assert bootstrap_medians(values, 200, 9) == bootstrap_medians(values, 200, 9)
    assert bootstrap_medians(values, 200, 9) != bootstrap_medians(values, 200, 10)


def test_one_round_knows_nothing() -> None:
    (interval,) = bootstrap_medians([[np.array([4.0])]], 100, 0)
    assert (interval.low, interval.high) == (0.0, 8.0)
    assert interval.relative == 1.0


def test_sessions_that_disagree_widen_the_interval() -> None:
    generator = np.random.default_rng(7)
    same = [generator.normal(1.0, 0.001, 30) for _ in range(3)]
    shifted = [same[0], same[1] * 1.02, same[2] * 0.99]
    alike, apart = bootstrap_medians([same, shifted], 2000, 0)
    assert alike.half_width < 0.001
    assert apart.low < 0.992
    assert apart.high > 1.018
    assert apart.estimate == pytest.approx(1.0, abs=0.001)


def test_two_measurements_of_sessions_overlap_when_only_sessions_differ() -> None:
    """Each session has an offset of its own; two measurements of three sessions must agree."""
    generator = np.random.default_rng(8)

    def measurement() -> list[list[np.ndarray]]:
        return [
            [generator.normal(1.0 + generator.normal(0.0, 0.01), 0.002, 20) for _ in range(3)]
            for _ in range(200)
        ]

    first = bootstrap_medians(measurement(), 400, 0)
    second = bootstrap_medians(measurement(), 400, 0)
    overlap = [a.low <= b.high and b.low <= a.high for a, b in zip(first, second, strict=True)]
    assert np.mean(overlap) > 0.85
