"""What a running training tells the outside: nothing by default, progress on stderr for people."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from proxyless_hw.terminal.progress import Say, StepDisplay
from proxyless_hw.units import format_duration


class TrainObserver:
    """Receives the training's events; this base class ignores them."""

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        """The training begins (or goes on) with so many steps in all."""

    def step(self, loss: float, lr: float) -> None:
        """A step is done."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """An epoch is done; `metrics` is its line of metrics.jsonl."""

    def phase(self, title: str) -> AbstractContextManager[Say]:
        """Work before or after the steps that may take a while: `with observer.phase(...)`."""
        return nullcontext(lambda words: None)

    def __enter__(self) -> TrainObserver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class TerminalObserver(TrainObserver):
    """One line per epoch and the progress of the steps with time left, on stderr."""

    def __init__(self) -> None:
        self.display = StepDisplay("train")

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.display.line(message)
        self.display.start(total_steps, done_steps)

    def step(self, loss: float, lr: float) -> None:
        self.display.advance(f"loss {loss:.3f}, lr {lr:.4f}")

    def epoch(self, metrics: dict[str, Any]) -> None:
        validation = metrics["validation"]
        shown = f", validation {validation['top1']:.2%}" if validation else ""
        self.display.line(
            f"epoch {metrics['epoch'] + 1}: loss {metrics['train_loss']:.3f}, training accuracy "
            f"{metrics['train_accuracy']:.2%}{shown}, {format_duration(metrics['seconds'])}"
        )

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
