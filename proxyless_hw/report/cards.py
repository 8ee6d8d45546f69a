"""The figures at the top of a run's page."""

from __future__ import annotations

from collections.abc import Iterator

from proxyless_hw.report.agreement import trained_accuracy
from proxyless_hw.report.page import Card, amount, percent
from proxyless_hw.report.run_data import RunData
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.units import figure_key, format_count, format_duration


def cards(run: RunData) -> Iterator[Card]:
    """What was asked and what came out, as far as the run says it."""
    unit, result = run.cost_unit, run.result or {}
    target, predicted, measured = (run.figure(name) for name in ("target", "predicted", "measured"))
    interval = run.interval(figure_key(result, "measured_interval"))
    if target is not None:
        yield Card(name="target", value=amount(target, unit), note="asked for")
    if predicted is not None:
        bounds = run.interval(figure_key(result, "predicted_interval"))
        note = "" if bounds is None else f"90% interval {_between(bounds)}"
        yield Card(name="predicted", value=amount(predicted, unit), note=note)
    if measured is not None:
        note = "" if interval is None else f"95% interval {_between(interval)}"
        yield Card(name="measured", value=amount(measured, unit), note=note, badge=run.verdict)
    accuracy = run.accuracy
    if accuracy is not None:
        data = run.settings.get("data", "the data")
        yield Card(name="accuracy", value=percent(accuracy), note=f"test images of {data}")
    if run.arch is not None:
        note = f"{run.arch.num_classes} classes"
        value = format_count(count_parameters(run.arch))
        yield Card(name="parameters", value=value, note=note)
        note = f"at {run.arch.resolution} px, per image"
        value = format_count(count_macs(run.arch))
        yield Card(name="MACs", value=value, note=note)
    trained = trained_accuracy(run)
    if trained is not None:
        yield Card(name="trained", value=percent(trained), note="test images, weights of its own")
    seconds = run.number("seconds")
    if seconds is not None:
        note = "training" if run.kind == "train" else "search, in all"
        yield Card(name="time", value=format_duration(seconds), note=note)


def _between(interval: tuple[float, float]) -> str:
    """Both bounds, kept on one line."""
    return f"{interval[0]:.4g} to {interval[1]:.4g}".replace(" ", "\u00a0")
