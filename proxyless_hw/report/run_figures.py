"""The pictures of one run, each present when its data is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from proxyless_hw.drawing.canvas import Canvas
from proxyless_hw.drawing.charts import (
    Level,
    Series,
    bar_chart,
    heat_map,
    interval_chart,
    line_chart,
)
from proxyless_hw.drawing.figures import architecture_canvas
from proxyless_hw.errors import ArchitectureError, MissingEntryError, TableError
from proxyless_hw.report.agreement import agreement_figure
from proxyless_hw.report.page import Frame
from proxyless_hw.report.run_data import RunData
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import describe

MAX_FRAMES: Final = 120
"""Moments of the heat map that are kept; longer runs are thinned evenly."""


def run_figures(run: RunData) -> dict[str, Canvas]:
    """Every picture that the run's data allows, by name."""
    makers: dict[str, Callable[[RunData], Canvas | None]] = {
        "architecture": lambda run: architecture_canvas(run.arch) if run.arch else None,
        "loss": _loss,
        "accuracy": _accuracy,
        "entropy": _entropy,
        "multiplier": _multiplier,
        "alpha": _alpha,
        "latency": _latency,
        "agreement": agreement_figure,
        "breakdown": _breakdown,
        "margins": _margins,
        "pareto": _pareto,
    }
    drawn = {name: make(run) for name, make in makers.items()}
    drawn.update(_expected(run))
    return {name: canvas for name, canvas in drawn.items() if canvas is not None}


def alpha_frames(run: RunData) -> list[Frame]:
    """The moments of the heat map, evenly thinned."""
    frames = [
        Frame(_moment(run, index), epoch.alpha)
        for index, epoch in enumerate(run.epochs)
        if epoch.alpha is not None
    ]
    if len(frames) <= MAX_FRAMES:
        return frames
    step = (len(frames) - 1) / (MAX_FRAMES - 1)
    return [frames[round(index * step)] for index in range(MAX_FRAMES)]


def block_breakdown(run: RunData) -> list[tuple[str, float]]:
    """Cost by block from the table's exact entries; empty without the table or its entries."""
    if run.table is None or run.arch is None:
        return []
    try:
        run.table.require_additive()
        run.table.require(run.arch.ops())
    except (MissingEntryError, TableError):
        return []
    layers = [(layer, op) for layer, op in run.arch.layer_ops() if op is not None]
    return [
        (f"{index} · {describe(layer)} · {layer.out_c}", run.table.entries[op].value)
        for index, (layer, op) in enumerate(layers)
    ]


def _moment(run: RunData, index: int) -> str:
    phase = run.epochs[index].phase
    number = sum(epoch.phase == phase for epoch in run.epochs[: index + 1])
    total = sum(epoch.phase == phase for epoch in run.epochs)
    name = {"warmup": "warm-up", "search": "search", "train": "training"}.get(phase, phase)
    return f"{name} epoch {number} of {total}"


def _axis(run: RunData) -> tuple[list[float], list[tuple[float, str]]]:
    """Epochs counted over all phases, and a mark where the search begins after warm-up."""
    warmup = sum(epoch.phase == "warmup" for epoch in run.epochs)
    marks = [(warmup + 0.5, "search")] if 0 < warmup < len(run.epochs) else []
    return [float(index + 1) for index in range(len(run.epochs))], marks


def _curves(
    run: RunData,
    title: str,
    curves: list[tuple[str, list[float | None]]],
    levels: Sequence[Level] = (),
) -> Canvas | None:
    xs, marks = _axis(run)
    present = [
        Series(name=name, x=xs, y=values)
        for name, values in curves
        if any(value is not None for value in values)
    ]
    if not present:
        return None
    return line_chart(title, present, x_label="epoch", marks=marks, levels=levels)


def _expected(run: RunData) -> dict[str, Canvas | None]:
    """One chart per constraint: ``expected`` for the first, ``expected-NAME`` for others."""
    charts = {}
    names = list(dict.fromkeys(name for epoch in run.epochs for name in epoch.expected))
    for index, name in enumerate(names):
        unit = run.unit(name)
        targets = [epoch.targets[name] for epoch in run.epochs if name in epoch.targets]
        levels = [Level(name=f"target {target:.4g} {unit}", y=target) for target in targets[-1:]]
        values = [epoch.expected.get(name) for epoch in run.epochs]
        what = run.metric if unit == run.cost_unit else name
        title = f"Expected {what}, {unit}"
        key = "expected" if index == 0 else f"expected-{index}"
        charts[key] = _curves(run, title, [(name, values)], levels=levels)
    return charts


def _loss(run: RunData) -> Canvas | None:
    return _curves(
        run,
        "Loss",
        [
            ("training", [epoch.train_loss for epoch in run.epochs]),
            ("held out", [epoch.holdout_loss for epoch in run.epochs]),
        ],
    )


def _accuracy(run: RunData) -> Canvas | None:
    return _curves(
        run,
        "Accuracy, %" if run.kind == "train" else "Accuracy of sampled paths, %",
        [
            ("training", [_percent(epoch.train_accuracy) for epoch in run.epochs]),
            ("held out", [_percent(epoch.holdout_accuracy) for epoch in run.epochs]),
        ],
    )


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _entropy(run: RunData) -> Canvas | None:
    values = [epoch.entropy for epoch in run.epochs]
    return _curves(run, "Mean entropy of a slot, nats", [("entropy", values)])


def _multiplier(run: RunData) -> Canvas | None:
    names = list(dict.fromkeys(name for epoch in run.epochs for name in epoch.multiplier))
    curves = [(name, [epoch.multiplier.get(name) for epoch in run.epochs]) for name in names]
    if not any(value for _, values in curves for value in values):
        return None
    return _curves(run, "Constraint multiplier", curves)


def _alpha(run: RunData) -> Canvas | None:
    frames = alpha_frames(run)
    if not frames:
        return None
    rows = frames[-1].alpha
    columns = max(len(row) for row in rows)
    candidates = [f"option {index + 1}" for index in range(columns)]
    names = [f"slot {index + 1}" for index in range(len(rows))]
    if run.space is not None and len(run.space.slots) == len(rows):
        widest = max(run.space.slots, key=lambda slot: len(slot.candidates))
        candidates = [describe(layer) for layer in widest.candidates]
        names = [
            f"{index + 1} · {slot.candidates[0].out_c}"
            for index, slot in enumerate(run.space.slots)
        ]
    if len(candidates) != columns:
        candidates = [f"option {index + 1}" for index in range(columns)]
    return heat_map("Path probabilities", rows, names, candidates, _chosen(run, len(rows)))


def _chosen(run: RunData, slots: int) -> list[int | None]:
    if run.arch is not None and run.space is not None:
        try:
            choices = run.arch.choices_in(run.space)
        except ArchitectureError:
            return [None] * slots
        if len(choices) == slots:
            return list(choices)
    return [None] * slots


def chosen_against_the_odds(run: RunData) -> list[int]:
    """Slots whose chosen candidate is not the most probable one at the end."""
    frames = alpha_frames(run)
    if not frames:
        return []
    rows = frames[-1].alpha
    return [
        slot
        for slot, (row, choice) in enumerate(zip(rows, _chosen(run, len(rows)), strict=True))
        if choice is not None
        and choice < len(row)
        and (row[choice] or 0.0) < max(value for value in row if value is not None)
    ]


def _margins(run: RunData) -> Canvas | None:
    """How far the best candidate of each slot is ahead of the second."""
    margins = () if run.search is None else run.search.margins
    if not margins:
        return None
    bars = [(f"slot {index + 1}", 100 * value) for index, value in enumerate(margins)]
    return bar_chart("Lead of the best candidate over the second", bars, "points")


def _latency(run: RunData) -> Canvas | None:
    rows = [(name, value, *(interval or (None, None))) for name, value, interval in run.figures]
    if not rows:
        return None
    return interval_chart("Target, prediction and measurement", rows, run.cost_unit)


def _breakdown(run: RunData) -> Canvas | None:
    bars = block_breakdown(run)
    title = f"{run.metric.capitalize()} by block"
    return bar_chart(title, bars, run.cost_unit) if bars else None


def _pareto(run: RunData) -> Canvas | None:
    if not run.pareto:
        return None
    ordered = sorted(run.pareto, key=lambda point: point.cost)
    marks = [] if run.target is None else [(run.target, "target")]
    curve = Series(
        name="optimum",
        x=[point.cost * run.correction for point in ordered],
        y=[point.derived.log_probability for point in ordered],
        dots=True,
    )
    return line_chart(
        f"Best log probability within a budget of {run.metric}",
        [curve],
        x_label=f"predicted {run.metric}, {run.cost_unit}",
        marks=marks,
    )


def architecture_of(arch: Architecture) -> str:
    """The architecture as SVG for use inside a page."""
    return architecture_canvas(arch).svg()
