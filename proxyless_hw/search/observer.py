"""What a running search tells the outside: nothing by default, progress on stderr for people."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from proxyless_hw.search.objective import Constraint
from proxyless_hw.terminal.progress import Say, StepDisplay


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

    def phase(self, title: str) -> AbstractContextManager[Say]:
        """Work before or after the steps that may take a while: `with observer.phase(...)`."""
        return nullcontext(lambda words: None)

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
    """One line per epoch and the progress of the steps with time left, on stderr.

    Args:
        constraints: names, targets and units for display.
    """

    def __init__(self, constraints: Sequence[Constraint]) -> None:
        self.constraints = list(constraints)
        self.display = StepDisplay("search")

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.display.line(message)
        self.display.start(total_steps, done_steps)

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        shown = ", ".join(
            f"E {value:.4g}/{constraint.target:.4g} {constraint.costs.unit}"
            for constraint, value in zip(self.constraints, expectations, strict=True)
        )
        tail = "" if entropy is None else f", entropy {entropy:.2f}"
        self.display.advance(f"loss {loss:.3f}, {shown}{tail}")

    def epoch(self, metrics: dict[str, Any]) -> None:
        self.display.line(epoch_line(metrics, self.constraints))

    def note(self, message: str) -> None:
        self.display.line(message)

    def phase(self, title: str) -> AbstractContextManager[Say]:
        return self.display.phase(title)

    def __enter__(self) -> TerminalObserver:
        self.display.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.display.__exit__()


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
