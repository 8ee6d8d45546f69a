"""Observers of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from proxyless_hw.runs.observer import RunObserver, TerminalRun
from proxyless_hw.units import format_duration


class TrainMetrics(TypedDict):
    """One epoch: a line of metrics.jsonl.

    `epoch` counts from 0. `validation` holds the scores on the validation images by name; None
    where there are none.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    validation: Mapping[str, float | None] | None
    lr: float
    seconds: float


class TrainObserver(RunObserver):
    """Receives the training's events; this base class ignores them."""

    def step(self, loss: float, lr: float) -> None:
        """A step is done."""

    def epoch(self, metrics: TrainMetrics) -> None:
        """An epoch is done; `metrics` is its line of metrics.jsonl."""


class TerminalObserver(TerminalRun, TrainObserver):
    """Shows a line per epoch and the progress of the steps with the time left on stderr."""

    def __init__(self) -> None:
        super().__init__("train")

    def step(self, loss: float, lr: float) -> None:
        self.display.advance(f"loss {loss:.3f}, lr {lr:.4f}")

    def epoch(self, metrics: TrainMetrics) -> None:
        validation = metrics["validation"]
        shown = f"epoch {metrics['epoch'] + 1}: loss {metrics['train_loss']:.3f}"
        if metrics["train_accuracy"] is not None:
            shown += f", training accuracy {metrics['train_accuracy']:.2%}"
        if validation:
            own = validation.get("metric")
            top1 = validation["top1"]
            shown += f", validation {top1:.2%}" if own is None else f", validation {own:.4g}"
        self.display.line(f"{shown}, {format_duration(metrics['seconds'])}")
