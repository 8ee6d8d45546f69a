"""What a running search tells the outside: nothing by default, a progress bar on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from proxyless_hw.search.objective import Constraint


class SearchObserver:
    """Receives the search's events; this base class ignores them."""

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        """The search begins (or goes on) with so many weight steps in all."""

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        """A weight step, and the update of alpha after it, are done."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """An epoch is done; `metrics` is its line of metrics.jsonl."""

    def note(self, message: str) -> None:
        """A line for people."""

    def __enter__(self) -> SearchObserver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class TerminalObserver(SearchObserver):
    """One line per epoch and a progress bar with time left, on stderr.

    Args:
        constraints: names, targets and units for display.
    """

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.constraints = list(constraints)
        self.console = Console(stderr=True)
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.console.print(message, highlight=False)
        self.task = self.progress.add_task("search", total=total_steps, completed=done_steps)

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        if self.task is None:
            return
        shown = ", ".join(
            f"E {value:.4g}/{constraint.target:.4g} {constraint.costs.unit}"
            for constraint, value in zip(self.constraints, expectations, strict=True)
        )
        tail = "" if entropy is None else f", entropy {entropy:.2f}"
        self.progress.update(self.task, advance=1, description=f"loss {loss:.3f}, {shown}{tail}")

    def epoch(self, metrics: dict[str, Any]) -> None:
        self.console.print(epoch_line(metrics, self.constraints), highlight=False)

    def note(self, message: str) -> None:
        self.console.print(message, highlight=False, markup=False)

    def __enter__(self) -> TerminalObserver:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.progress.stop()


def epoch_line(metrics: dict[str, Any], constraints: Sequence[Constraint]) -> str:
    """One epoch in one line."""
    text = (
        f"{metrics['phase']:>7} {metrics['epoch'] + 1:>3}  train loss {metrics['train_loss']:.3f} "
        f"accuracy {metrics['train_accuracy']:6.1%}"
    )
    if metrics["holdout_loss"] is not None:
        text += f"  held-out loss {metrics['holdout_loss']:.3f}"
    for constraint in constraints:
        value = metrics["expected"][constraint.name]
        text += f"  E {value:.4g} of {constraint.target:.4g} {constraint.costs.unit}"
        if metrics["phase"] == "search":
            text += f" (lambda {metrics['multiplier'][constraint.name]:+.2f})"
    return f"{text}  entropy {metrics['entropy']:.2f}  {metrics['seconds']:.1f} s"
