"""What a running search tells the outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from proxyless_hw.runs.observer import RunObserver, TerminalRun
from proxyless_hw.search.objective import Constraint


class SearchMetrics(TypedDict):
    """One epoch: a line of metrics.jsonl.

    `epoch` counts within its phase, ``warmup`` or ``search``. `expected`, `expected_ms`, `targets`
    and `multiplier` are by constraint; `expected_ms` holds those in milliseconds. `alpha` holds
    path probabilities, slots by candidates; None where there is no candidate.
    """

    phase: str
    epoch: int
    train_loss: float
    train_accuracy: float
    holdout_loss: float | None
    expected: dict[str, float]
    expected_ms: dict[str, float]
    targets: dict[str, float]
    entropy: float
    multiplier: dict[str, float]
    baseline: float | None
    seconds: float
    alpha: list[list[float | None]]


class SearchObserver(RunObserver):
    """Receives the search's events; this base class ignores them."""

    def epoch(self, metrics: SearchMetrics) -> None:
        """An epoch is done; `metrics` is its line of metrics.jsonl."""

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        """A weight step, and the update of alpha after it, are done."""


class TerminalObserver(TerminalRun, SearchObserver):
    """One line per epoch and the progress of the steps with time left, on stderr.

    Args:
        constraints: names, targets and units for display.
    """

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        super().__init__("search")
        self.constraints = list(constraints)

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        shown = ", ".join(
            f"E {value:.4g}/{constraint.target:.4g} {constraint.costs.unit}"
            for constraint, value in zip(self.constraints, expectations, strict=True)
        )
        tail = "" if entropy is None else f", entropy {entropy:.2f}"
        self.display.advance(f"loss {loss:.3f}, {shown}{tail}")

    def epoch(self, metrics: SearchMetrics) -> None:
        self.display.line(epoch_line(metrics, self.constraints))


def epoch_line(metrics: SearchMetrics, constraints: Sequence[Constraint]) -> str:
    """One epoch in one line."""
    text = (
        f"{metrics['phase']:>7} {metrics['epoch'] + 1:>3}  train loss {metrics['train_loss']:.3f}"
    )
    if metrics["train_accuracy"] is not None:
        text += f" accuracy {metrics['train_accuracy']:6.1%}"
    if metrics["holdout_loss"] is not None:
        text += f"  held-out loss {metrics['holdout_loss']:.3f}"
    for constraint in constraints:
        value = metrics["expected"][constraint.name]
        text += f"  E {value:.4g} of {constraint.target:.4g} {constraint.costs.unit}"
        if metrics["phase"] == "search":
            text += f" (lambda {metrics['multiplier'][constraint.name]:+.2f})"
    return f"{text}  entropy {metrics['entropy']:.2f}  {metrics['seconds']:.1f} s"
