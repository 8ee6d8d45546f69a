"""What a report says of prediction against measurement, margins and the supernet's gap."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import write_run

from proxyless_hw.drawing.canvas import Circle, Line
from proxyless_hw.drawing.charts import Series, scatter_chart
from proxyless_hw.errors import ReportError
from proxyless_hw.predictors.calibration import (
    CalibrationNetwork,
    fit_calibration,
    save_calibration,
)
from proxyless_hw.report.agreement import calibrated_on, gap_sentence, verified
from proxyless_hw.report.report import write_report
from proxyless_hw.report.run_data import read_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "first")


def change(folder: Path, **values: Any) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def rounds(*pairs: tuple[float, float]) -> dict[str, Any]:
    networks = [{"predicted_ms": x, "measured_ms": y, "interval_ms": [y, y]} for x, y in pairs]
    return {"rounds": [{"correction": 1.0, "networks": networks}]}


def test_measured_finalists_are_points_of_the_scatter(run: Path) -> None:
    change(run, verify=rounds((5.0, 5.1), (6.0, 5.9)))
    assert verified(read_run(run)) == [(5.0, 5.1), (6.0, 5.9)]
    assert "Measured against the sum of the table" in write_report(run).read_text()


def test_networks_of_the_calibration_are_points_too(run: Path) -> None:
    table = Path(read_run(run).settings["table"])
    networks = [
        CalibrationNetwork(
            name=f"n{index}",
            predicted_ms=4.0 + index,
            blocks=10 + index % 3,
            measured_ms=4.2 + 1.1 * index,
        )
        for index in range(6)
    ]
    fitted = fit_calibration(
        [item.predicted_ms for item in networks],
        [item.blocks for item in networks],
        [item.measured_ms for item in networks],
        [item.name for item in networks],
    )
    save_calibration(table, fitted)
    assert calibrated_on(read_run(run)) == [(n.predicted_ms, n.measured_ms) for n in networks]
    assert "calibration of the table" in write_report(run).read_text()


def test_without_measurements_there_is_no_scatter(run: Path) -> None:
    assert "Measured against the sum of the table" not in write_report(run).read_text()


@pytest.mark.parametrize(
    "verify",
    [
        {"rounds": 3},
        {"rounds": [{"networks": "all"}]},
        {"rounds": [{"networks": [{"predicted_ms": "5", "measured_ms": 5}]}]},
        {"rounds": [{"networks": [{"predicted_ms": 5}]}]},
    ],
)
def test_malformed_measurements_are_an_error_that_names_the_place(run: Path, verify: Any) -> None:
    change(run, verify=verify)
    with pytest.raises(ReportError, match=r"result\.json: verify"):
        write_report(run)


def test_points_on_the_diagonal_lie_on_the_drawn_line() -> None:
    canvas = scatter_chart("t", [Series(name="a", x=[2, 3, 7], y=[2, 3, 7])], x_label="x")
    line = next(shape for shape in canvas.shapes if isinstance(shape, Line) and shape.dashed)
    (x0, y0), (x1, y1) = line.points
    for point in (shape for shape in canvas.shapes if isinstance(shape, Circle)):
        assert (point.x - x0) / (x1 - x0) == pytest.approx((point.y - y0) / (y1 - y0))


def test_every_slot_has_its_margin(run: Path) -> None:
    change(run, margins=[0.5] * 21)
    text = write_report(run).read_text()
    assert text.count("50 points") == 21


def test_margins_that_are_no_numbers_are_refused(run: Path) -> None:
    change(run, margins=[0.5, None])
    with pytest.raises(ReportError, match="margins"):
        write_report(run)


def test_the_gap_between_supernet_and_training_is_stated(run: Path) -> None:
    assert gap_sentence(read_run(run)) is None
    (run / "train").mkdir()
    (run / "train" / "result.json").write_text(json.dumps({"top1": 0.963}))
    sentence = gap_sentence(read_run(run))
    assert sentence is not None
    assert "94.1%" in sentence
    assert "96.3%" in sentence
    assert "2.2 points" in sentence
    assert "96.3%" in write_report(run).read_text()


def test_every_resolution_of_an_outer_choice_is_listed(run: Path) -> None:
    row = {"resolution": 192, "train_resolution": 27, "predicted_ms": 5.5, "supernet_accuracy": 0.9}
    change(run, resolutions=[row, {"resolution": 128, "train_resolution": 18, "infeasible": "no"}])
    text = re.sub(r"\s+", " ", write_report(run).read_text())
    assert "Input resolutions" in text
    assert "192 px" in text
    assert "128 px" in text
