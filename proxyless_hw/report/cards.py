"""The figures at the top of a run's page."""

from __future__ import annotations

from collections.abc import Iterator

from proxyless_hw.report.page import Card, amount, percent
from proxyless_hw.report.run_data import RunData, trained_here
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.units import format_bytes, format_count, format_duration


def cards(run: RunData) -> Iterator[Card]:
    """What was asked and what came out, as far as the run says it."""
    unit, found = run.cost_unit, run.search
    if found is not None:
        yield Card(name="target", value=amount(found.target, unit), note="asked for")
        bounds = found.predicted_interval
        note = "" if bounds is None else f"90% interval {_between(bounds)}"
        yield Card(name="predicted", value=amount(found.predicted, unit), note=note)
    if found is not None and found.measured is not None:
        bounds = found.measured_interval
        note = "" if bounds is None else f"95% interval {_between(bounds)}"
        yield Card(
            name="measured", value=amount(found.measured, unit), note=note, badge=run.verdict
        )
    accuracy = run.accuracy
    if accuracy is not None:
        own = "data" in run.config.objects
        data = "the data given" if own else run.settings.get("data", "the data")
        yield Card(name="accuracy", value=percent(accuracy), note=f"test images of {data}")
    task = run.task
    if task is not None:
        yield Card(name=task.metric, value=f"{task.test:.4g}", note="test images; higher is better")
    if run.arch is not None:
        note = f"{run.arch.num_classes} classes"
        value = format_count(count_parameters(run.arch))
        yield Card(name="parameters", value=value, note=note)
        note = f"at {run.arch.resolution} px, per image"
        value = format_count(count_macs(run.arch))
        yield Card(name="MACs", value=value, note=note)
    sizes = None if found is None else found.footprint
    if sizes is not None:
        note = f"weights, {sizes.precision}"
        yield Card(name="flash", value=format_bytes(sizes.flash), note=note)
    if sizes is not None and sizes.memory is not None:
        note = f"peak of the activations, {sizes.precision}"
        yield Card(name="memory", value=format_bytes(sizes.memory), note=note)
    trained = trained_here(run)
    if trained is not None and trained.task is not None:
        note = f"{trained.task.metric}, weights of its own"
        yield Card(name="trained", value=f"{trained.metric:.4g}", note=note)
    elif trained is not None:
        note = "test images, weights of its own"
        yield Card(name="trained", value=percent(trained.top1), note=note)
    seconds = run.seconds
    if seconds is not None:
        note = "training" if run.kind == "train" else "search, in all"
        yield Card(name="time", value=format_duration(seconds), note=note)


def _between(interval: tuple[float, float]) -> str:
    """Both bounds, kept on one line."""
    return f"{interval[0]:.4g} to {interval[1]:.4g}".replace(" ", "\u00a0")
