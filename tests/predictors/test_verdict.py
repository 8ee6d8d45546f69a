"""Agrees, undecided, missed: what a measurement with its interval says of a target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.predictors.verdict import (
    TOLERANCE,
    Verification,
    verdict_of,
    verification_of,
)
from proxyless_hw.profilers.protocol.measurement import Measurement, TableSpeed

TARGETS = st.floats(1e-3, 1e4)
RATIOS = st.floats(0.2, 5.0)
WIDTHS = st.floats(0.0, 1.0)
RANK = {"agrees": 0, "undecided": 1, "missed": 2}


def bounds(median: float, below: float, above: float) -> tuple[float, float, float]:
    return median, median * (1 - below), median * (1 + above)


@settings(deadline=None, max_examples=60)
@given(TARGETS, RATIOS, WIDTHS, WIDTHS)
def test_what_is_above_its_tolerance_never_agrees(
    target: float, ratio: float, below: float, above: float
) -> None:
    value = bounds(target * ratio, below, above)
    if ratio > 1 + TOLERANCE + 1e-9:
        assert verdict_of(target, *value) != "agrees"


@settings(deadline=None, max_examples=60)
@given(TARGETS, RATIOS, WIDTHS, WIDTHS)
def test_what_may_be_within_its_tolerance_is_never_missed(
    target: float, ratio: float, below: float, above: float
) -> None:
    value = bounds(target * ratio, below, above)
    if value[1] <= target * (1 + TOLERANCE):
        assert verdict_of(target, *value) != "missed"


@settings(deadline=None, max_examples=60)
@given(TARGETS, RATIOS, st.floats(1.0, 3.0), WIDTHS, WIDTHS)
def test_a_slower_network_never_gets_a_better_verdict(
    target: float, ratio: float, slower: float, below: float, above: float
) -> None:
    first = verdict_of(target, *bounds(target * ratio, below, above))
    second = verdict_of(target, *bounds(target * ratio * slower, below, above))
    assert RANK[second] >= RANK[first]


@settings(deadline=None, max_examples=60)
@given(TARGETS, RATIOS, WIDTHS, st.floats(1.0, 3.0))
def test_a_larger_target_never_makes_a_verdict_worse(
    target: float, ratio: float, width: float, larger: float
) -> None:
    value = bounds(target * ratio, width, width)
    assert RANK[verdict_of(target * larger, *value)] <= RANK[verdict_of(target, *value)]


@settings(deadline=None, max_examples=60)
@given(TARGETS, RATIOS, WIDTHS, st.floats(0.0, 1.0))
def test_a_narrower_interval_decides_at_least_as_much(
    target: float, ratio: float, width: float, share: float
) -> None:
    wide = verdict_of(target, *bounds(target * ratio, width, width))
    narrow = verdict_of(target, *bounds(target * ratio, width * share, width * share))
    assert wide in ("undecided", narrow)


@settings(deadline=None, max_examples=60)
@given(TARGETS, RATIOS, st.floats(1e-3, 1e3))
def test_the_unit_makes_no_difference(target: float, ratio: float, unit: float) -> None:
    # Ratios on the border itself are left to rounding.
    if min(abs(ratio - edge) for edge in (1.03, 1.03 / 0.98, 1.06 / 1.02)) > 1e-6:
        value = bounds(target * ratio, 0.02, 0.02)
        scaled = tuple(unit * item for item in value)
        assert verdict_of(target, *value) == verdict_of(unit * target, *scaled)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("median", "low", "high", "verdict"),
    [
        (10.0, 9.9, 10.1, "agrees"),
        (10.29, 10.2, 10.4, "agrees"),
        (7.0, 6.9, 7.1, "agrees"),  # a budget is an upper bound
        (7.0, 0.0, 14.0, "undecided"),  # a single visit
        (10.2, 9.7, 10.7, "undecided"),
        (10.4, 10.25, 10.5, "undecided"),
        (10.6, 10.5, 10.7, "missed"),
        (20.0, 10.31, 40.0, "missed"),
    ],
)
def test_verdicts_about_a_target_of_ten(
    median: float, low: float, high: float, verdict: str
) -> None:
    assert verdict_of(10.0, median, low, high) == verdict


def measured(median: float, speed: TableSpeed | None = None, unit: str = "ms") -> Measurement:
    return Measurement(
        name="net.onnx", median=median, ci_low=0.99 * median, ci_high=1.01 * median,
        p90=1.1 * median, min=0.9 * median, unit=unit, rounds=20, samples=200, converged=True,
        table_speed=speed,
    )  # fmt: skip


def at(median: float, machine_speed: float) -> TableSpeed:
    return TableSpeed(
        median=median, ci_low=0.99 * median, ci_high=1.01 * median, machine_speed=machine_speed
    )


def test_the_value_at_the_tables_speed_decides() -> None:
    """20 ms now, on a machine half as fast as then: 10 ms meet the target of 10 ms."""
    found = verification_of(10.0, 10.1, measured(20.0, at(10.0, 0.5)))
    assert found.verdict == "agrees"
    assert found.decisive == (10.0, pytest.approx(9.9), pytest.approx(10.1))
    assert "50% slower" in found.sentence()
    assert "at the table's speed" in found.sentence()
    document = found.to_json()
    assert document["measured_ms"] == 20.0
    assert document["table_speed_ms"] == 10.0
    assert document["machine_speed"] == 0.5
    assert {"target_ms", "predicted_ms", "verdict"} <= set(document)


def test_a_faster_machine_hides_no_miss() -> None:
    found = verification_of(10.0, None, measured(10.0, at(12.0, 1.2)))
    assert found.verdict == "missed"
    assert "20% faster" in found.sentence()
    assert "predicted" not in found.sentence()


def test_without_anchors_the_raw_value_decides() -> None:
    found = verification_of(10.0, None, measured(20.0))
    assert found.verdict == "missed"
    assert found.to_json()["table_speed_ms"] is None
    assert "table's speed" not in found.sentence()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (measured(10.0), "Agrees: +0.0% from the target."),
        (measured(5.0), "Agrees: 50.0% below the target; a larger network would fit too."),
        (measured(12.0), "Missed: 20.0% above the target, more than the 3% allowed."),
        (measured(10.35), "Undecided: the interval is too wide"),
    ],
)
def test_the_sentence_says_the_verdict_and_the_way_on(value: Measurement, words: str) -> None:
    assert words in verification_of(10.0, 10.0, value).sentence()


def test_energy_is_judged_in_its_own_unit() -> None:
    """The machine now takes 24 mJ for what took 12 mJ when the table was made."""
    found = verification_of(10.0, 10.1, measured(24.0, at(12.0, 0.5), "mJ"))
    sentence = found.sentence()
    assert sentence.startswith("target 10 mJ, predicted 10.1 mJ, measured 12 mJ corrected by")
    assert "24 mJ as the machine is now, 100% more than when the table was made." in sentence
    assert "derive RUN --target ..." in sentence
    assert " ms" not in sentence
    assert "-ms" not in sentence
    assert "calibrate" not in sentence
    document = found.to_json()
    assert [document[key] for key in ("target", "predicted", "measured", "table_speed")] == [
        *(10.0, 10.1, 24.0, 12.0)
    ]
    assert document["unit"] == "mJ"
    assert not [key for key in document if key.endswith("_ms")]


def test_latency_has_its_figures_under_both_names() -> None:
    document = verification_of(10.0, 10.1, measured(20.0, at(10.0, 0.5))).to_json()
    assert document["unit"] == "ms"
    for name in ("target", "predicted", "measured", "table_speed", "table_speed_interval"):
        assert document[name] == document[f"{name}_ms"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (measured(10.0, at(10.0, 1.0), "mJ"), "10 mJ as the machine is now, as much as then."),
        (measured(8.0, at(10.0, 1.25), "mJ"), "8 mJ as the machine is now, 20% less than when"),
        (measured(8.0, at(10.0, 1.25)), "8.00 ms as the machine is now, 25% faster than when"),
    ],
)
def test_a_changed_machine_is_told_in_the_words_of_the_unit(item: Measurement, words: str) -> None:
    assert words in verification_of(10.0, None, item).sentence()


def test_a_verification_is_made_from_what_it_says() -> None:
    make: Callable[..., Verification] = verification_of
    assert make(10.0, None, measured(10.0)) == Verification(
        name="net.onnx",
        target=10.0,
        predicted=None,
        measured=measured(10.0),
        verdict="agrees",
    )
