"""TensorBoard events of a search, beside metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from proxyless_hw.errors import BackendUnavailableError
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.terminal.progress import Say

FOLDER = "tensorboard"


class TensorBoardObserver(SearchObserver):
    """Writes each epoch's scalars as events and passes everything on to another observer.

    Args:
        inner: the observer that shows the search.
        run: the run folder; events go to its sub-folder ``tensorboard``.

    Raises:
        BackendUnavailableError: TensorBoard is not installed.
    """

    def __init__(self, inner: SearchObserver, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as cause:
            raise BackendUnavailableError(
                "--tensorboard needs TensorBoard: pip install 'proxyless-hw[tensorboard]'."
            ) from cause
        self.inner = inner
        self.writer: Any = SummaryWriter(str(run / FOLDER))

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.inner.start(total_steps, done_steps, message)

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        self.inner.step(loss, expectations, entropy)

    def epoch(self, metrics: dict[str, Any]) -> None:
        prefix, number = metrics["phase"], metrics["epoch"]
        for name in ("train_loss", "train_accuracy", "holdout_loss", "entropy"):
            if metrics[name] is not None:
                self.writer.add_scalar(f"{prefix}/{name}", metrics[name], number)
        for group in ("expected", "multiplier"):
            for name, value in metrics[group].items():
                self.writer.add_scalar(f"{prefix}/{group}/{name}", value, number)
        self.writer.flush()
        self.inner.epoch(metrics)

    def note(self, message: str) -> None:
        self.inner.note(message)

    def phase(self, title: str) -> AbstractContextManager[Say]:
        return self.inner.phase(title)

    def close(self) -> None:
        """Ends the event file."""
        self.writer.close()
