"""TensorBoard events of a search, beside metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Protocol

from proxyless_hw.errors import BackendUnavailableError
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.observer import SearchMetrics, SearchObserver
from proxyless_hw.terminal.progress import Say

FOLDER = "tensorboard"


class _Writer(Protocol):
    """TensorBoard's writer of event files."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


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
        self.writer: _Writer = SummaryWriter(str(run / FOLDER))

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.inner.start(total_steps, done_steps, message)

    def step(self, loss: float, expectations: Sequence[float], entropy: float | None) -> None:
        self.inner.step(loss, expectations, entropy)

    def epoch(self, metrics: SearchMetrics) -> None:
        prefix, number = metrics["phase"], metrics["epoch"]
        scalars = {
            "train_loss": metrics["train_loss"],
            "train_accuracy": metrics["train_accuracy"],
            "holdout_loss": metrics["holdout_loss"],
            "entropy": metrics["entropy"],
            **{f"expected/{name}": value for name, value in metrics["expected"].items()},
            **{f"multiplier/{name}": value for name, value in metrics["multiplier"].items()},
        }
        for name, value in scalars.items():
            if value is not None:
                self.writer.add_scalar(f"{prefix}/{name}", value, number)
        self.writer.flush()
        self.inner.epoch(metrics)

    def note(self, message: str) -> None:
        self.inner.note(message)

    def phase(self, title: str) -> AbstractContextManager[Say]:
        return self.inner.phase(title)

    def __exit__(self, *exc_info: object) -> None:
        """Ends the event file; whoever made the other observer ends that one."""
        self.writer.close()


def recorded(
    config: SearchConfig, observer: SearchObserver
) -> AbstractContextManager[SearchObserver]:
    """The observer, with TensorBoard events beside it where they are asked for."""
    if not config.tensorboard:
        return nullcontext(observer)
    return TensorBoardObserver(observer, Path(config.output or "."))
