"""When a table is good, fair or too poor for its use, and the record that validate leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.calibration import (
    CalibrationNetwork,
    fit_calibration,
    save_calibration,
)
from proxyless_hw.predictors.judgement import (
    GOOD_HALF_WIDTH,
    GOOD_MAPE,
    POOR_BIAS,
    POOR_HALF_WIDTH,
    POOR_MAPE,
    ValidationRecord,
    judge_intervals,
    judge_networks,
    load_record,
    record_path,
    require_usable,
    save_record,
)
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable

WIDTH = "quality_median_half_width"
OPS = [OpSpec("conv", 8, 8, 8, 8, 8, width) for width in range(8, 16)]
GOOD = ValidationRecord(networks=55, mape=0.03, bias=-0.02, calibrated_mape=0.011)
BIASED = ValidationRecord(networks=10, mape=0.7, bias=0.697, calibrated_mape=None)


def table_of(width: str | None = "0.01", name: str = "mine.csv") -> LatencyTable:
    header = {"metric": "latency", "unit": "ms"}
    if width is not None:
        header[WIDTH] = width
    return LatencyTable({op: Entry(float(op.out_c)) for op in OPS}, header, name)


@pytest.fixture
def saved(tmp_path: Path) -> LatencyTable:
    path = tmp_path / "mine.csv"
    table_of().save(path)
    return LatencyTable.load(path)


@pytest.mark.parametrize(
    ("width", "grade"),
    [
        (0.0, "good"),
        (GOOD_HALF_WIDTH, "good"),
        (GOOD_HALF_WIDTH + 1e-4, "fair"),
        (POOR_HALF_WIDTH, "fair"),
        (POOR_HALF_WIDTH + 1e-4, "poor"),
        (0.71, "poor"),
    ],
)
def test_half_widths_have_their_limits(width: float, grade: str) -> None:
    found = judge_intervals(table_of(f"{width:.5f}"))
    assert found.grade == grade
    assert found.sentence.startswith(grade.capitalize())
    assert ("--budget" in found.sentence) == (grade == "poor")


def test_the_machines_drift_alone_condemns_nothing() -> None:
    restless = table_of("0.01").with_metadata(quality_drift="0.9", quality_disturbed="0.8")
    assert judge_intervals(restless).grade == "good"


def test_a_table_that_does_not_say_is_unknown_and_not_refused() -> None:
    assert judge_intervals(table_of(None)).grade == "unknown"
    require_usable(table_of(None), "search")
    require_usable(LatencyTable.load("pixel1"), "search")


def test_a_half_width_that_is_no_number_is_an_error() -> None:
    with pytest.raises(PredictorError, match=r"quality_median_half_width.*received 'small'"):
        judge_intervals(table_of("small"))


@pytest.mark.parametrize(
    ("bias", "mape", "after", "grade"),
    [
        (0.0, GOOD_MAPE, None, "good"),
        (0.1, POOR_MAPE, None, "fair"),
        (0.1, POOR_MAPE + 1e-4, None, "poor"),
        (POOR_BIAS + 1e-4, 0.16, None, "poor"),
        (-POOR_BIAS - 1e-4, 0.16, None, "poor"),
        (0.697, 0.697, GOOD_MAPE, "good"),
        (0.697, 0.697, POOR_MAPE, "fair"),
        (0.01, 0.01, POOR_MAPE + 1e-4, "poor"),
    ],
)
def test_errors_on_whole_networks_have_their_limits(
    bias: float, mape: float, after: float | None, grade: str
) -> None:
    record = ValidationRecord(networks=20, mape=mape, bias=bias, calibrated_mape=after)
    found = judge_networks(record, "mine.csv")
    assert found.grade == grade
    assert found.sentence.startswith(grade.capitalize())
    if abs(bias) > POOR_BIAS and after is None:
        assert "validate --table mine.csv --calibrate" in found.sentence


def test_wide_intervals_are_refused_with_the_way_on() -> None:
    with pytest.raises(PredictorError, match=r"too poor to search with.*±9.8%.*--force"):
        require_usable(table_of("0.098"), "search")


def test_a_large_bias_is_refused_until_there_is_a_calibration(saved: LatencyTable) -> None:
    save_record(saved.name, BIASED)
    with pytest.raises(PredictorError, match=r"\+69.7% off.*--calibrate.*--force"):
        require_usable(saved, "search")
    require_usable(saved, "validate", networks=False)  # that is how it is calibrated
    networks = [
        CalibrationNetwork(name=str(n), predicted_ms=float(n), blocks=n % 3, measured_ms=0.6 * n)
        for n in range(5, 15)
    ]
    calibration = fit_calibration(
        [item.predicted_ms for item in networks],
        [item.blocks for item in networks],
        [item.measured_ms for item in networks],
        [item.name for item in networks],
    )
    save_calibration(saved.name, calibration)
    require_usable(saved, "search")


def test_a_good_record_is_no_hindrance(saved: LatencyTable) -> None:
    save_record(saved.name, GOOD)
    require_usable(saved, "search")


@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        ValidationRecord,
        networks=st.integers(0, 10**6),
        mape=st.floats(0, 10),
        bias=st.floats(-1, 10),
        calibrated_mape=st.none() | st.floats(0, 10),
    )
)
def test_a_record_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, record: ValidationRecord
) -> None:
    path = tmp_path_factory.mktemp("record") / "mine.csv"
    table_of().save(path)
    assert save_record(path, record) == record_path(path)
    assert load_record(LatencyTable.load(path)) == record


def test_without_a_record_there_is_none(saved: LatencyTable) -> None:
    assert load_record(saved) is None
    assert load_record(LatencyTable.load("pixel1")) is None


def test_a_record_of_other_rows_is_not_taken_for_one_of_these(saved: LatencyTable) -> None:
    save_record(saved.name, BIASED)
    rows = {**saved.entries, OPS[0]: Entry(99.0)}
    LatencyTable(rows, saved.metadata).save(Path(saved.name))
    again = LatencyTable.load(saved.name)
    assert load_record(again) is None
    require_usable(again, "search")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema": "another/1"}',
        "nonsense",
    ],
)
def test_a_malformed_record_is_an_error_that_names_it(saved: LatencyTable, text: str) -> None:
    record_path(saved.name).write_text(text)
    with pytest.raises(PredictorError, match=r"mine\.validation\.json"):
        load_record(saved)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mape", "small"),
        ("mape", None),
        ("mape", True),
        ("bias", [0.1]),
        ("bias", None),
        ("networks", None),
        ("networks", "20"),
        ("calibrated_mape", {}),
    ],
)
def test_a_field_that_is_no_number_is_named(saved: LatencyTable, key: str, value: object) -> None:
    path = save_record(saved.name, GOOD)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, key: value}))
    with pytest.raises(PredictorError, match=f"{key} must be a number"):
        load_record(saved)


@pytest.mark.parametrize("key", ["networks", "mape", "bias"])
def test_a_field_that_is_missing_is_no_zero(saved: LatencyTable, key: str) -> None:
    path = save_record(saved.name, GOOD)
    document = json.loads(path.read_text())
    del document[key]
    path.write_text(json.dumps(document))
    with pytest.raises(PredictorError, match=f"{key} must be a number"):
        load_record(saved)
