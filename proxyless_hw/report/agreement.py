"""Networks that were both predicted and measured, and what the supernet's weights promised."""

from __future__ import annotations

from proxyless_hw.drawing.canvas import Canvas
from proxyless_hw.drawing.charts import Series, scatter_chart
from proxyless_hw.errors import ReportError
from proxyless_hw.predictors.calibration import calibration_path, networks_from
from proxyless_hw.report.run_data import RunData, trained_here
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.fields import Fields

Points = list[tuple[float, float]]


def verified(run: RunData) -> Points:
    """(sum of the table, measured) in the run's unit of the networks that `--verify` measured."""
    if run.search is None or run.search.verification is None:
        return []
    return [
        (network.predicted, network.measured)
        for item in run.search.verification.rounds
        for network in item.networks
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
    found = networks_from(Fields(document, str(path), ReportError))
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


def gap_sentence(run: RunData) -> str | None:
    """How far the supernet's weights were from the network trained on its own; None if unknown."""
    inherited, training = run.accuracy, trained_here(run)
    if inherited is None or training is None or training.top1 is None:
        return None
    trained = training.top1
    return (
        f"With the supernet's weights the network reached {inherited:.1%} of the test images, "
        f"trained on its own {trained:.1%}: a gap of {100 * (trained - inherited):.1f} points."
    )
