"""Networks that were both predicted and measured, and what the supernet's weights promised."""

from __future__ import annotations

from typing import Any

from proxyless_hw.drawing.canvas import Canvas
from proxyless_hw.drawing.charts import Series, scatter_chart
from proxyless_hw.errors import PredictorError, ReportError
from proxyless_hw.predictors.calibration import calibration_path, network_from
from proxyless_hw.report.epochs import number_of
from proxyless_hw.report.run_data import RunData
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.units import figure_key

Points = list[tuple[float, float]]


def verified(run: RunData) -> Points:
    """(sum of the table, measured) in the run's unit of the networks that `--verify` measured.

    Raises:
        ReportError: result.json holds something else there.
    """
    where = f"{run.path / 'result.json'}: verify"
    rounds = run.verify.get("rounds", [])
    if not isinstance(rounds, list) or not all(isinstance(item, dict) for item in rounds):
        raise ReportError(f"{where} must be an object with a list of rounds.")
    return [
        _pair(row, f"{where}.rounds[{index}]")
        for index, item in enumerate(rounds)
        for row in _list(item.get("networks"), f"{where}.rounds[{index}].networks")
    ]


def calibrated_on(run: RunData) -> Points:
    """(sum of the table, measured) in ms of the networks of the table's calibration, if any.

    Raises:
        ReportError: the file is malformed.
    """
    if run.table is None:
        return []
    path = calibration_path(run.table.name)
    if not path.is_file():
        return []
    document = parse_json(read_text(path, ReportError, "calibration"), ReportError, str(path))
    networks = _list((document or {}).get("networks"), f"{path}: networks")
    try:
        found = [network_from(item, f"{path}: networks[{i}]") for i, item in enumerate(networks)]
    except PredictorError as cause:
        raise ReportError(str(cause)) from cause
    return [(item.predicted_ms, item.measured_ms) for item in found]


def agreement_figure(run: RunData) -> Canvas | None:
    """Measured against the table's sum, with the line on which they are equal; None without any."""
    groups = (
        ("this search", verified(run)),
        ("calibration of the table", calibrated_on(run)),
    )
    series = [
        Series(name=name, x=[x for x, _ in points], y=[y for _, y in points], dots=True)
        for name, points in groups
        if points
    ]
    if not series:
        return None
    return scatter_chart(
        f"Measured against the sum of the table, {run.cost_unit}",
        series,
        x_label=f"sum of the table, {run.cost_unit}",
    )


def trained_accuracy(run: RunData) -> float | None:
    """Test accuracy of the training that stands in the run's ``train`` folder, if one is done.

    Raises:
        ReportError: its result.json is malformed.
    """
    path = run.path / "train" / "result.json"
    if run.kind != "search" or not path.is_file():
        return None
    document = parse_json(read_text(path, ReportError, "result"), ReportError, str(path))
    if not isinstance(document, dict):
        raise ReportError(f"{path} must hold a JSON object.")
    return number_of(document, "top1", str(path))


def gap_sentence(run: RunData) -> str | None:
    """How far the supernet's weights were from the network trained on its own; None if unknown."""
    inherited, trained = run.accuracy, trained_accuracy(run)
    if inherited is None or trained is None:
        return None
    return (
        f"With the supernet's weights the network reached {inherited:.1%} of the test images, "
        f"trained on its own {trained:.1%}: a gap of {100 * (trained - inherited):.1f} points."
    )


def _pair(row: Any, where: str) -> tuple[float, float]:
    if not isinstance(row, dict):
        raise ReportError(f"{where} must hold objects.")
    predicted = number_of(row, figure_key(row, "predicted"), where)
    measured = number_of(row, figure_key(row, "measured"), where)
    if predicted is None or measured is None:
        raise ReportError(f"{where} must hold predicted and measured values.")
    return predicted, measured


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ReportError(f"{where} must be a list: received {str(value)[:60]!r}.")
    return value
