"""What a running training tells the outside: nothing by default, a progress bar on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from proxyless_hw.units import format_duration


class TrainObserver:
    """Receives the training's events; this base class ignores them."""

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        """The training begins (or goes on) with so many steps in all."""

    def step(self, loss: float, lr: float) -> None:
        """A step is done."""

    def epoch(self, metrics: dict[str, Any]) -> None:
        """An epoch is done; `metrics` is its line of metrics.jsonl."""

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
    """One line per epoch and a progress bar with time left, on stderr."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps, left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.console.print(message, highlight=False)
        self.task = self.progress.add_task("train", total=total_steps, completed=done_steps)

    def step(self, loss: float, lr: float) -> None:
        if self.task is not None:
            text = f"loss {loss:.3f}, lr {lr:.4f}"
            self.progress.update(self.task, advance=1, description=text)

    def epoch(self, metrics: dict[str, Any]) -> None:
        validation = metrics["validation"]
        shown = f", validation {validation['top1']:.2%}" if validation else ""
        self.console.print(
            f"epoch {metrics['epoch'] + 1}: loss {metrics['train_loss']:.3f}, training accuracy "
            f"{metrics['train_accuracy']:.2%}{shown}, {format_duration(metrics['seconds'])}",
            highlight=False,
        )

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
