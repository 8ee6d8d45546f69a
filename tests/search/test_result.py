"""The typed result of a search and its file form, of this version and of the first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxyless_hw.errors import SearchError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.verdict import verification_of
from proxyless_hw.profilers.protocol.measurement import Measurement, TableSpeed
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.search.derive import Derived
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.search.result_rows import (
    ConstraintCost,
    ParetoPoint,
    RankedNetwork,
    ResolutionResult,
)
from proxyless_hw.search.verification import (
    MeasuredNetwork,
    SearchVerification,
    VerificationRound,
)

ARCH = load_architecture("mobilenet-v2")


def result_of(unit: str = "ms") -> SearchResult:
    """A result in which every field is set; numbers have no short decimal form."""
    derived = Derived((0, 2, 1), -1 / 3, (7.1 / 3, 0.55))
    return SearchResult(
        folder=Path("run"),
        architecture=ARCH,
        metric="latency" if unit == "ms" else "energy",
        unit=unit,
        target=8 / 3,
        predicted=7.1 / 3,
        predicted_interval=(2.3, 2.4),
        expected=2.5,
        measured=2.45,
        measured_interval=(2.4, 2.5),
        accuracy=0.94,
        supernet_accuracy=0.93,
        constraints=(ConstraintCost(name="mine", unit=unit, target=8 / 3, predicted=7.1 / 3),),
        finalists=(RankedNetwork(derived=derived, accuracy=0.93),),
        margins=(0.25, 1 / 7),
        pareto=(ParetoPoint(budget=3.0, derived=Derived((1, 1, 1), -2.0, (2.9,))),),
        seconds=12.25,
        verification=SearchVerification(
            name="network 0",
            unit=unit,
            target=8 / 3,
            predicted=7.1 / 3,
            measured=2.45,
            interval=(2.4, 2.5),
            raw_measured=4.9,
            raw_interval=(4.8, 5.0),
            table_speed=2.45,
            table_speed_interval=(2.4, 2.5),
            machine_speed=0.5,
            table_sum=2.3,
            correction=1.03,
            verdict="undecided",
            sentence="Undecided.",
            failure=None,
            rounds=(
                VerificationRound(
                    correction=1.0,
                    networks=(
                        MeasuredNetwork(
                            predicted=2.3, measured=2.45, interval=(2.4, 2.5), unit=unit
                        ),
                    ),
                ),
            ),
            device="this CPU",
            resolution=224,
            num_classes=10,
        ),
        resolutions=(
            ResolutionResult(resolution=32, train_resolution=16, infeasible="out of range"),
            ResolutionResult(
                resolution=64,
                train_resolution=32,
                predicted=2.3,
                measured=2.45,
                supernet_accuracy=0.93,
                accuracy=0.94,
                run="r64",
                unit=unit,
            ),
        ),
        file={"verdict": "agrees"},
    )


@pytest.mark.parametrize("unit", ["ms", "mJ"])
def test_a_result_reads_back_what_it_wrote(unit: str) -> None:
    result = result_of(unit)
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert SearchResult.from_json(document, result.folder, ARCH) == result
    assert ("predicted_ms" in document) == (unit == "ms")
    assert result.predicted_ms == (result.predicted if unit == "ms" else None)


def first_version() -> dict[str, Any]:
    """What version 0.1 wrote for a verified search."""
    return {
        "architecture": json.loads(ARCH.to_json()),
        "target_ms": 8.0,
        "predicted_ms": 7.9,
        "predicted_interval_ms": [7.8, 8.0],
        "expected_ms": 8.1,
        "measured_ms": 7.95,
        "measured_interval_ms": [7.9, 8.0],
        "accuracy": 0.9,
        "supernet_accuracy": 0.91,
        "constraints": [{"name": "latency", "unit": "ms", "target": 8.0, "predicted": 7.9}],
        "finalists": [
            {"choices": [1, 0], "predicted_ms": 7.9, "log_probability": -1.0, "accuracy": 0.91}
        ],
        "margins": [0.5, 0.25],
        "pareto": [
            {"budget_ms": 6.0, "latency_ms": 5.5, "log_probability": -3.0, "choices": [0, 0]}
        ],
        "seconds": 100.0,
        "verify": {
            "target_ms": 8.0,
            "table_ms": 7.5,
            "predicted_ms": 7.9,
            "correction": 1.05,
            "measured_ms": 7.95,
            "interval_ms": [7.9, 8.0],
            "agrees": False,
            "tolerance": 0.03,
            "rounds": [],
        },
    }


def test_a_file_of_the_first_version_is_read() -> None:
    result = SearchResult.from_json(first_version(), Path("run"), ARCH)
    assert (result.metric, result.unit) == ("latency", "ms")
    assert (result.target, result.predicted, result.measured) == (8.0, 7.9, 7.95)
    assert result.predicted_interval == (7.8, 8.0)
    assert result.finalists[0].derived == Derived((1, 0), -1.0, (7.9,))
    assert (result.pareto[0].budget, result.pareto[0].cost) == (6.0, 5.5)
    assert result.verdict == "missed"
    assert result.verification is not None
    assert (result.verification.table_sum, result.correction) == (7.5, 1.05)


@pytest.mark.parametrize(
    ("document", "verdict"),
    [
        ({"verdict": "undecided", "agrees": False}, "undecided"),
        ({"agrees": True}, "agrees"),
        ({"agrees": False}, "missed"),
        ({}, None),
    ],
)
def test_verdicts_of_older_versions_are_read(
    document: dict[str, object], verdict: str | None
) -> None:
    read = ResultFields(document, "result.json: verify", SearchError, inside=True)
    assert SearchVerification.from_json(read).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_ms": None}, "lacks target_ms"),
        ({"accuracy": "high"}, "accuracy must be a number: received 'high'"),
        ({"predicted_interval_ms": [1, 2, 3]}, "predicted_interval_ms must be two numbers"),
        ({"finalists": [{"predicted_ms": 1.0}]}, r"finalists\[0\] lacks log_probability"),
        ({"margins": [True]}, "margins must be a list of numbers"),
        ({"verify": {"verdict": "maybe"}}, "verify.verdict must be one of agrees, undecided"),
        ({"verify": {"rounds": [{"networks": [{"predicted": 1}]}]}}, "lacks measured"),
        ({"resolutions": [{"train_resolution": 8}]}, r"resolutions\[0\] lacks resolution"),
        ({"constraints": [{"name": 3}]}, r"constraints\[0\].name must be text"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_file_and_field(
    changes: dict[str, Any], message: str
) -> None:
    document = {**first_version(), **changes}
    with pytest.raises(SearchError, match=message) as caught:
        SearchResult.from_json(document, Path("run"), ARCH)
    assert str(Path("run") / "result.json") in str(caught.value)


def test_a_run_that_is_not_finished_is_refused_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="--resume"):
        read_result(tmp_path)


def test_a_measured_file_takes_the_place_of_the_network() -> None:
    measured = Measurement(
        name="net.onnx", median=5.0, ci_low=4.9, ci_high=5.1, p90=5.5, min=4.8, unit="ms",
        rounds=9, samples=99, converged=True,
        table_speed=TableSpeed(median=2.6, ci_low=2.5, ci_high=2.7, machine_speed=0.5),
    )  # fmt: skip
    found = verification_of(8 / 3, 2.4, measured)
    value, low, high = found.decisive
    result = result_of().with_measured(value, (low, high), found.to_json())
    assert (result.measured, result.measured_interval) == (2.6, (2.5, 2.7))
    assert result.architecture.provenance["measured_ms"] == 2.6
    assert replace(result, file=None).to_json()["measured_ms"] == 2.6
    assert result.to_json()["file"] == found.to_json()
