"""Bootstrap intervals against distributions whose median is known."""

from __future__ import annotations

import numpy as np
import pytest

from proxyless_hw.profilers.statistics import level_half_width, median_intervals


def test_the_estimate_is_the_median_of_the_rounds() -> None:
    (interval,) = median_intervals([[np.array([3.0, 1.0, 2.0, 10.0, 2.5])]], 500, 0)
    assert interval.estimate == pytest.approx(2.5)
    assert interval.low <= interval.estimate <= interval.high


def test_intervals_of_a_known_distribution_cover_its_median_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    cases = [[np.exp(generator.normal(0.0, 0.1, 25))] for _ in range(600)]
    covered = [cover.low <= 1.0 <= cover.high for cover in median_intervals(cases, 400, 0)]
    # 95% nominal; 600 cases give a standard error of 0.9%, and the method is a little off at n=25.
    assert 0.91 <= np.mean(covered) <= 0.985


def test_the_width_follows_the_theory_of_the_median() -> None:
    generator = np.random.default_rng(2)
    cases = [[generator.normal(10.0, 1.0, 100)] for _ in range(200)]
    widths = [interval.half_width for interval in median_intervals(cases, 400, 0)]
    expected = 1.96 * np.sqrt(np.pi / 2 / 100)
    assert np.mean(widths) == pytest.approx(expected, rel=0.1)


def test_rounds_are_what_is_resampled() -> None:
    """Samples that agree inside a round but not between rounds must not look precise."""
    generator = np.random.default_rng(3)
    levels = generator.normal(1.0, 0.1, 9)
    (clustered,) = median_intervals([[levels]], 2000, 0)
    (pretended,) = median_intervals([[np.repeat(levels, 50)]], 2000, 0)
    assert clustered.half_width > 2 * pretended.half_width


def test_workloads_with_different_numbers_of_rounds_do_not_disturb_each_other() -> None:
    generator = np.random.default_rng(4)
    cases = [[generator.normal(5.0, 0.5, count)] for count in (7, 12, 7, 30)]
    together = median_intervals(cases, 300, 5)
    assert together == [median_intervals([case], 300, 5)[0] for case in cases]


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [[np.random.default_rng(6).normal(1.0, 0.1, 15)]]
    assert median_intervals(values, 200, 9) == median_intervals(values, 200, 9)
    assert median_intervals(values, 200, 9) != median_intervals(values, 200, 10)


def test_one_round_knows_nothing() -> None:
    (interval,) = median_intervals([[np.array([4.0])]], 100, 0)
    assert (interval.low, interval.high) == (0.0, 8.0)
    assert interval.relative == 1.0


def test_a_workload_whose_sessions_disagree_has_a_wider_interval_than_its_neighbours() -> None:
    generator = np.random.default_rng(7)
    alike = [[generator.normal(1.0, 0.001, 30) for _ in range(3)] for _ in range(20)]
    shifted = [alike[0][0], alike[0][1] * 1.04, alike[0][2] * 0.96]
    intervals = median_intervals([*alike, shifted], 1000, 0)
    assert max(interval.half_width for interval in intervals[:-1]) < 0.002
    assert intervals[-1].half_width > 0.02
    assert intervals[-1].estimate == pytest.approx(1.0, abs=0.002)


def measurement(generator: np.random.Generator, sessions: int, workloads: int = 400) -> list:
    """Every session gives every workload an offset of 1%; rounds scatter by 0.2% around it."""
    return [
        [np.exp(generator.normal(generator.normal(0.0, 0.01), 0.002, 20)) for _ in range(sessions)]
        for _ in range(workloads)
    ]


@pytest.mark.parametrize("sessions", [2, 3, 6])
def test_the_spread_between_sessions_is_covered_as_often_as_it_says(sessions: int) -> None:
    found = median_intervals(measurement(np.random.default_rng(8), sessions), 300, 0)
    covered = np.mean([interval.low <= 1.0 <= interval.high for interval in found])
    assert 0.92 <= covered <= 0.99


def test_intervals_of_one_session_claim_nothing_about_the_next() -> None:
    """The same workloads seen in one session only: the offset cannot show, and is not covered."""
    found = median_intervals(measurement(np.random.default_rng(9), 1), 300, 0)
    assert np.mean([interval.low <= 1.0 <= interval.high for interval in found]) < 0.3


def test_two_measurements_of_three_sessions_overlap() -> None:
    generator = np.random.default_rng(10)
    first = median_intervals(measurement(generator, 3), 300, 0)
    second = median_intervals(measurement(generator, 3), 300, 0)
    overlap = [a.low <= b.high and b.low <= a.high for a, b in zip(first, second, strict=True)]
    assert np.mean(overlap) > 0.95


def test_what_moves_all_workloads_together_is_told_from_what_moves_one() -> None:
    generator = np.random.default_rng(11)
    shifts = generator.normal(0.0, 0.02, 5)
    common = [[np.exp(generator.normal(shift, 0.001, 15)) for shift in shifts] for _ in range(200)]
    expected = 2.776 * shifts.std(ddof=1) / np.sqrt(5)
    assert level_half_width(common) == pytest.approx(expected, rel=0.05)
    own = measurement(np.random.default_rng(12), 5)
    assert 0 < level_half_width(own) < 0.0025
    assert level_half_width(measurement(np.random.default_rng(13), 1)) is None
