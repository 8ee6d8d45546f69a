"""Progress on stderr: a bar or a spinner on a terminal, a line every ten seconds elsewhere.

`phase` is for work that says nothing while it runs, `StepDisplay` for a loop of steps. Both show
nothing before two seconds have passed where stderr is a file or a pipe, so that short work stays
silent there.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from proxyless_hw.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LOOK_EVERY_S = 1.0
FIRST_LINE_S = 2.0
LINE_EVERY_S = 10.0
LINES_APART = 0.02
"""Lines of long work are this share of the time so far apart: a day's log holds hundreds of them,
not thousands."""
MOST_APART_S = 600.0

Say = Callable[[str], None]
"""Replaces what is said about the state of the work."""


def stderr_console() -> Console:
    """A console on stderr."""
    from rich.console import Console

    return Console(stderr=True)


def is_live(console: Console) -> bool:
    """Whether the console can redraw a line."""
    return console.is_terminal and not console.is_dumb_terminal


def print_line(text: str) -> None:
    """Writes a line to stderr at once."""
    print(text, file=sys.stderr, flush=True)


class Ticker:
    """Writes a line now and then while something runs, from a thread of its own.

    Args:
        text: gives the line from the seconds since the start; an empty one is not written.
        write: takes the line; stderr by default.
        clock: seconds, monotonic.
        wait: waits for a number of seconds; returns whether the end came meanwhile.
    """

    def __init__(
        self,
        text: Callable[[float], str],
        *,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._text = text
        self._write = write or print_line
        self._clock = clock
        self._end = threading.Event()
        self._wait = wait or self._end.wait
        self._thread = threading.Thread(target=self.run, name="progress", daemon=True)
        self.restart()

    def restart(self) -> None:
        """Begins anew: the first line comes soon, and seconds count from now."""
        self._start = self._clock()
        self._due = self._start + FIRST_LINE_S

    def rest(self) -> None:
        """Puts off the next line: another one has just been written."""
        elapsed = self._clock() - self._start
        apart = min(MOST_APART_S, max(LINE_EVERY_S, LINES_APART * elapsed))
        self._due = self._start + elapsed + apart

    def run(self) -> None:
        """Writes lines until the end, or until stderr is closed."""
        while not self._wait(LOOK_EVERY_S):
            line = self._text(self._clock() - self._start) if self._clock() >= self._due else ""
            if not line:
                continue
            try:
                self._write(line)
            except OSError:
                return  # stderr was closed; the work itself goes on
            self.rest()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()


@contextmanager
def phase(title: str, quiet: bool = False) -> Iterator[Say]:
    """Says that something goes on, and for how long.

    Args:
        title: what goes on, as in `deriving for 8 ms`.
        quiet: show nothing.

    Yields:
        A function that adds how far it is, as in `2 of 5`.
    """
    if quiet:
        yield lambda words: None
        return
    console = stderr_console()
    state = ""
    if not is_live(console):

        def say(words: str) -> None:
            nonlocal state
            state = words

        with Ticker(lambda elapsed: _so_far(title, state, elapsed)):
            yield say
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda words: bar.update(task, description=_joined(title, words))


def _so_far(title: str, state: str, elapsed: float) -> str:
    return _joined(title, state, f"{format_duration(elapsed)} so far")


def _joined(title: str, *parts: str) -> str:
    said = ", ".join(part for part in parts if part)
    return f"{title}: {said}" if said else title


class StepDisplay:
    """A loop of steps, and phases before and after it: bars on a terminal, lines elsewhere.

    Args:
        name: what the steps do, as in `search`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.console = stderr_console()
        self.live = is_live(self.console)
        self._bar = _step_bar(self.console, self.live)
        self._task: TaskID | None = None
        self._ticker = Ticker(lambda elapsed: self._text(elapsed))
        self._total = self._done = self._first = 0
        self._description = ""
        self._text: Callable[[float], str] = lambda elapsed: ""

    def start(self, total: int, done: int) -> None:
        """The loop begins, or goes on, with `done` of `total` steps behind it."""
        self._total, self._done, self._first = total, done, done
        self._task = self._bar.add_task(
            self.name, total=total, completed=done, count=f"{done}/{total} steps"
        )
        self._text = self._steps_text
        self._ticker.restart()

    def advance(self, description: str) -> None:
        """A step is done."""
        self._done += 1
        self._description = description
        if self._task is not None:
            count = f"{self._done}/{self._total} steps"
            self._bar.update(self._task, advance=1, description=description, count=count)

    def line(self, text: str) -> None:
        """Writes a line, above the bar where there is one."""
        self.console.print(text, highlight=False, markup=False)
        self._ticker.rest()

    @contextmanager
    def phase(self, title: str) -> Iterator[Say]:
        """As the function `phase`, below the bar of the steps."""
        task = self._bar.add_task(title, total=None, count="")
        before, state = self._text, ""

        def say(words: str) -> None:
            nonlocal state
            state = words
            self._bar.update(task, description=_joined(title, words))

        self._text = lambda elapsed: _so_far(title, state, elapsed)
        self._ticker.restart()
        try:
            yield say
        finally:
            self._bar.remove_task(task)
            self._text = before if self._done < self._total else lambda elapsed: ""
            self._ticker.restart()

    def _steps_text(self, elapsed: float) -> str:
        here = self._done - self._first
        if here == 0 or self._done >= self._total:
            return ""
        left = elapsed / here * (self._total - self._done)
        return _joined(
            self.name,
            f"{self._done}/{self._total} steps",
            self._description,
            f"about {format_duration(left)} left",
        )

    def __enter__(self) -> Self:
        self._bar.start()
        if not self.live:
            self._ticker.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self.live:
            self._ticker.__exit__()
        self._bar.stop()


def _step_bar(console: Console, live: bool) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not live,
    )
