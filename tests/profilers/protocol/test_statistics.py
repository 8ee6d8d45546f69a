"""Intervals over sessions against made-up measurements whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from proxyless_hw.profilers.protocol.statistics import (
    Fit,
    FloatArray,
    fit_sessions,
    interval_of,
    median_with_error,
    middle_of,
)

WORKLOADS = 60
OFFSET = 0.01
LEVEL = 0.006
NOISE = 0.004

Sessions = list[dict[int, FloatArray]]


def measured(
    generator: np.random.Generator,
    visits: Sequence[int],
    *,
    workloads: int = WORKLOADS,
    truth: FloatArray | None = None,
    level: float = LEVEL,
    offset: float = OFFSET,
    noise: float = NOISE,
) -> Sessions:
    """Every session moves all workloads together, each by itself, and its visits scatter."""
    levels = generator.normal(0.0, level, len(visits))
    centres = np.zeros(workloads) if truth is None else truth
    return [
        {
            part: centre
            + levels[part]
            + generator.normal(0.0, offset)
            + generator.normal(0.0, noise, count)
            for part, count in enumerate(visits)
        }
        for centre in centres
    ]


def covered(visits: Sequence[int], repeats: int) -> tuple[float, float]:
    """Share of own and of whole intervals that hold the truth.

    A workload's own interval is about its place among the others, so the error that all have in
    common, the mean over workloads, is taken out of it. Sessions move all workloads together by
    no more than each by itself, as the fit takes it.
    """
    generator = np.random.default_rng(1)
    own, whole = [], []
    for _ in range(repeats):
        fit = fit_sessions(measured(generator, visits, workloads=12))
        errors = fit.estimates - fit.estimates.mean()
        own += (np.abs(errors) <= fit.own).tolist()
        for index in range(12):
            interval = fit.interval(index)
            whole.append(interval.low <= 1.0 <= interval.high)
    return float(np.mean(own)), float(np.mean(whole))


@pytest.mark.parametrize("visits", [[12, 12], [12, 12, 12], [12] * 8, [30, 4, 4, 9, 2]])
def test_intervals_hold_the_truth_as_often_as_they_say(visits: list[int]) -> None:
    own, whole = covered(visits, 200)
    assert 0.92 <= own <= 0.99
    assert 0.92 <= whole <= 0.99


def test_the_intervals_of_one_session_know_nothing_about_the_next() -> None:
    """What building the runners anew changes cannot show in one session."""
    fit = fit_sessions(measured(np.random.default_rng(2), [12]))
    assert fit.level is None
    own, whole = covered([12], 60)
    assert own < 0.6
    assert whole < 0.6


def test_visits_of_one_session_cover_the_median_where_sessions_do_not_differ() -> None:
    generator = np.random.default_rng(4)
    inside = []
    for _ in range(40):
        fit = fit_sessions(measured(generator, [12], level=0.0, offset=0.0))
        inside += (np.abs(fit.estimates) <= fit.own).tolist()
    assert 0.92 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("visits", [[9, 9, 9], [40, 3, 5], [7]])
def test_estimates_are_where_the_truth_is(visits: list[int]) -> None:
    truth = np.linspace(-4.0, 3.0, WORKLOADS)
    fit = fit_sessions(measured(np.random.default_rng(5), visits, truth=truth))
    errors = fit.estimates - truth
    assert np.abs(errors - np.median(errors)).max() < 4 * OFFSET
    assert abs(float(np.median(errors))) < 3 * LEVEL


def test_workloads_that_some_sessions_missed_are_on_the_level_of_the_others() -> None:
    """Sessions 20% apart: whoever is missing from one of them must not lean to the others."""
    generator = np.random.default_rng(6)
    values = []
    for index in range(30):
        sessions = {part: 1.0 + 0.2 * part + generator.normal(0.0, 0.002, 6) for part in range(3)}
        if index < 10:
            del sessions[index % 3]
        values.append(sessions)
    fit = fit_sessions(values)
    assert np.ptp(fit.estimates) < 0.01
    assert np.median(fit.estimates) == pytest.approx(1.2, abs=0.005)
    assert np.median(fit.own[:10]) > np.median(fit.own[10:])


def test_a_workload_of_one_session_only_is_placed_by_the_others_levels() -> None:
    generator = np.random.default_rng(7)
    values = [
        {part: part * 0.1 + generator.normal(0.0, 0.001, 5) for part in range(3)} for _ in range(20)
    ]
    values.append({2: 0.2 + generator.normal(0.0, 0.001, 5)})
    fit = fit_sessions(values)
    assert fit.estimates[-1] == pytest.approx(float(np.median(fit.estimates)), abs=0.005)
    assert np.isfinite(fit.own[-1])
    assert fit.own[-1] > np.median(fit.own[:-1])


@pytest.mark.parametrize("disturbed", [0, 2, 4])
def test_a_session_disturbed_from_end_to_end_moves_no_estimate_by_more_than_its_interval(
    disturbed: int,
) -> None:
    """All of one session is 50% slower, as beside another job: the others decide."""
    calm = measured(np.random.default_rng(8), [10] * 5)
    values = [
        {part: logs + (np.log(1.5) if part == disturbed else 0.0) for part, logs in item.items()}
        for item in calm
    ]
    before, after = fit_sessions(calm), fit_sessions(values)
    widths = np.array([after.interval(index).relative for index in range(WORKLOADS)])
    assert np.all(np.abs(after.estimates - before.estimates) <= widths)
    assert np.median(widths) < 0.05


def test_a_workload_whose_sessions_disagree_has_a_wider_interval_than_its_neighbours() -> None:
    generator = np.random.default_rng(9)
    values = measured(generator, [20] * 4, workloads=20, level=0.0, offset=0.001, noise=0.001)
    values.append({part: generator.normal(0.04 * (-1) ** part, 0.001, 20) for part in range(4)})
    fit = fit_sessions(values)
    assert fit.own[-1] > 3 * fit.own[:-1].max()


def test_more_visits_and_more_sessions_narrow_the_interval() -> None:
    def width(visits: list[int], offset: float) -> float:
        generator = np.random.default_rng(10)
        fit = fit_sessions(measured(generator, visits, offset=offset))
        return float(np.median(fit.own))

    assert width([40] * 3, 0.0) < 0.7 * width([10] * 3, 0.0)
    assert width([10] * 8, OFFSET) < 0.8 * width([10] * 3, OFFSET)
    # More visits in as many sessions do not know more about what sessions change.
    assert width([400] * 3, OFFSET) > 0.8 * width([100] * 3, OFFSET)


def test_what_moves_all_workloads_together_is_the_level_and_not_their_own() -> None:
    generator = np.random.default_rng(11)
    apart = measured(generator, [15] * 6, level=0.02, offset=0.0005, noise=0.001)
    fit = fit_sessions(apart)
    assert fit.level is not None
    assert 0.008 < fit.level < 0.05
    assert np.median(fit.own) < 0.1 * fit.level
    together = fit_sessions(measured(generator, [15] * 6, level=0.0, offset=0.0005, noise=0.001))
    assert together.level is not None
    assert together.level < 0.002


def test_the_level_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(12)
    inside = []
    for _ in range(200):
        values = measured(generator, [4] * 4, workloads=12)
        fit = fit_sessions(values)
        assert fit.level is not None
        inside.append(abs(float(np.median(fit.estimates))) <= fit.level)
    assert np.mean(inside) >= 0.92


def test_a_single_visit_is_known_from_zero_to_twice() -> None:
    values = [{0: np.array([np.log(4.0)])}, {0: np.log(np.array([1.0, 1.01, 1.02]))}]
    fit = fit_sessions(values)
    interval = fit.interval(0)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((4.0, 0.0, 8.0))
    assert interval.relative == pytest.approx(1.0)
    assert fit.interval(1).relative < 0.1


def test_visits_that_agree_exactly_have_an_interval_without_width() -> None:
    fit: Fit = fit_sessions([{0: np.zeros(5), 1: np.zeros(5)} for _ in range(3)])
    assert fit.interval(0).relative < 1e-6


def test_an_interval_encloses_its_estimate_and_never_reaches_zero() -> None:
    wide = interval_of(np.log(2.0), 3.0)
    assert 0 < wide.low < wide.estimate < wide.high
    assert wide.estimate == pytest.approx(2.0)
    assert interval_of(0.0, float("inf")).low == 0.0


def test_the_middle_of_a_few_values_is_their_median_with_what_they_scatter() -> None:
    middle, width = middle_of(np.array([0.1, 0.11, 0.09, 0.5, 0.1]), np.full(5, 0.01))
    assert middle == pytest.approx(0.1)
    agreeing, narrow = middle_of(np.array([0.1, 0.11, 0.09, 0.105, 0.1]), np.full(5, 0.01))
    assert agreeing == pytest.approx(0.1)
    # One that moves by itself moves neither the median nor much of its interval.
    assert narrow <= width < 0.03


def test_the_middle_of_values_that_agree_is_known_as_theory_says() -> None:
    generator = np.random.default_rng(5)
    scales = np.array([0.006] * 6 + [0.03] * 2)
    found = [middle_of(generator.normal(0.0, scales), 2 * scales) for _ in range(2000)]
    held = np.mean([abs(middle) <= width for middle, width in found])
    assert held >= 0.93
    spread = np.std([middle for middle, _ in found])
    assert np.median([width for _, width in found]) == pytest.approx(2.2 * spread, rel=0.35)


def test_the_middle_holds_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(13)
    inside = []
    for _ in range(600):
        middle, width = middle_of(generator.normal(0.0, 0.01, 8), np.full(8, 1.96 * 0.01))
        inside.append(abs(middle) <= width)
    assert 0.92 <= np.mean(inside) <= 0.995


def test_values_that_agree_by_luck_are_no_better_known_than_they_say_themselves() -> None:
    _, width = middle_of(np.zeros(5), np.full(5, 0.02))
    assert width > 0.005


def test_the_middle_of_values_of_which_nothing_is_known_has_no_bounds() -> None:
    """Anchors that were each visited once say a speed and not how well it is known."""
    middle, width = middle_of(np.array([0.1, 0.2, 0.3]), np.full(3, np.inf))
    assert middle == pytest.approx(0.2)
    assert width == np.inf
    _, known = middle_of(np.array([0.1, 0.2, 0.3]), np.array([np.inf, 0.01, 0.02]))
    assert np.isfinite(known)


def test_the_median_of_different_quantities_is_known_as_their_errors_say() -> None:
    """Against what many measurements of the same twelve quantities scatter by."""
    generator = np.random.default_rng(3)
    truth = generator.normal(0.0, 0.03, 12)
    scales = generator.uniform(0.004, 0.01, 12)
    found = [median_with_error(generator.normal(truth, scales), 1.96 * scales) for _ in range(400)]
    spread = 1.96 * np.std([middle for middle, _ in found])
    assert np.mean([width for _, width in found]) == pytest.approx(spread, rel=0.25)
    # As values that should agree they would be known far worse.
    assert middle_of(truth, 1.96 * scales)[1] > 2 * spread


def test_an_unknown_quantity_counts_as_the_one_known_least() -> None:
    values = np.array([0.1, 0.2, 0.3])
    assert median_with_error(values, np.full(3, np.inf)) == (pytest.approx(0.2), np.inf)
    assert median_with_error(values, np.zeros(3))[1] == pytest.approx(0.0, abs=1e-12)
    some = median_with_error(values, np.array([0.02, np.inf, 0.04]))
    assert some == median_with_error(values, np.array([0.02, 0.04, 0.04]))
