"""Observers receive the events of a run; one of them shows progress on stderr."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Self

from proxyless_hw.terminal.progress import Say, StepDisplay


class RunObserver:
    """Receives the events that every run has; this base class ignores them."""

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        """The run begins, or goes on: `done_steps` of `total_steps` weight steps are done."""

    def note(self, message: str) -> None:
        """A message for people."""

    def phase(self, title: str) -> AbstractContextManager[Say]:
        """Work before or after the steps that may take a while: `with observer.phase(...)`."""
        return nullcontext(lambda words: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """The run is over, or has failed."""


class TerminalRun(RunObserver):
    """Shows the progress of the steps, the time left and messages on stderr.

    Args:
        name: what is in progress.
    """

    def __init__(self, name: str) -> None:
        self.display = StepDisplay(name)

    def start(self, total_steps: int, done_steps: int, message: str) -> None:
        self.display.line(message)
        self.display.start(total_steps, done_steps)

    def note(self, message: str) -> None:
        self.display.line(message)

    def phase(self, title: str) -> AbstractContextManager[Say]:
        return self.display.phase(title)

    def __enter__(self) -> Self:
        self.display.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.display.__exit__(*exc_info)
