"""Progress where stderr is no terminal: lines at the right times, by a made-up clock."""

from __future__ import annotations

import io
import itertools
import sys
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from proxyless_hw.terminal import progress
from proxyless_hw.terminal.progress import StepDisplay, Ticker, phase


class MadeUpTime:
    """A clock that only `wait` moves; after `end_s` the work has ended."""

    def __init__(self, end_s: float) -> None:
        self.now = 100.0
        self.end = self.now + end_s
        self.lines: list[tuple[float, str]] = []

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now > self.end

    def write(self, text: str) -> None:
        self.lines.append((self.now - 100.0, text))

    def ticker(self, text: Callable[[float], str]) -> Ticker:
        return Ticker(text, write=self.write, clock=self.clock, wait=self.wait)


def times(end_s: float) -> list[float]:
    made_up = MadeUpTime(end_s)
    made_up.ticker(lambda elapsed: f"{elapsed:.0f}").run()
    assert all(text == f"{at:.0f}" for at, text in made_up.lines)
    return [at for at, _ in made_up.lines]


def test_short_work_is_silent_and_longer_work_has_a_line_every_ten_seconds() -> None:
    assert times(1.5) == []
    assert times(45) == [2, 12, 22, 32, 42]


def test_a_day_of_work_has_hundreds_of_lines_and_is_never_silent_for_long() -> None:
    written = times(86400)
    assert 200 < len(written) < 600
    assert max(b - a for a, b in itertools.pairwise(written)) <= 601


def test_nothing_is_written_while_there_is_nothing_to_say() -> None:
    made_up = MadeUpTime(60)
    made_up.ticker(lambda elapsed: "" if elapsed < 30 else "now").run()
    assert [at for at, _ in made_up.lines] == [30, 40, 50, 60]


def test_another_line_puts_the_next_one_off_and_a_new_start_brings_it_near() -> None:
    made_up = MadeUpTime(40)
    ticker = made_up.ticker(lambda elapsed: str(elapsed))
    wait = made_up.wait

    def wait_and_act(seconds: float) -> bool:
        ended = wait(seconds)
        if made_up.now == 111.0:
            ticker.rest()
        if made_up.now == 125.0:
            ticker.restart()
        return ended

    ticker._wait = wait_and_act
    ticker.run()
    assert made_up.lines == [(2, "2.0"), (21, "21.0"), (27, "2.0"), (37, "12.0")]


def test_a_closed_stderr_ends_the_lines_and_not_the_work() -> None:
    def closed(text: str) -> None:
        raise BrokenPipeError

    made_up = MadeUpTime(30)
    ticker = Ticker(lambda _: "line", write=closed, clock=made_up.clock, wait=made_up.wait)
    ticker.run()
    assert made_up.now < made_up.end


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines come at each look, so that tests need not wait."""
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setattr(progress, "LINES_APART", 0.0)
    monkeypatch.setattr(progress, "LOOK_EVERY_S", 0.001)


class Awaited(io.StringIO):
    """A stream that lets a test wait until something was written."""

    def until(self, text: str) -> str:
        for _ in range(2000):
            if text in self.getvalue():
                return self.getvalue()
            time.sleep(0.001)
        raise AssertionError(f"{text!r} was never written: {self.getvalue()!r}")


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Awaited:
    """Stands in for stderr."""
    stream = Awaited()
    monkeypatch.setattr(progress, "print_line", lambda text: print(text, file=stream))
    monkeypatch.setattr(progress, "stderr_console", lambda: Console(file=stream))
    return stream


def test_a_phase_says_what_goes_on_and_how_far_it_is(at_once: None, stderr: Awaited) -> None:
    with phase("deriving [bold] for 8 ms") as say:
        stderr.until("deriving [bold] for 8 ms: 0 s so far\n")
        say("2 of 5")
        stderr.until("deriving [bold] for 8 ms: 2 of 5, 0 s so far\n")
    length = len(stderr.getvalue())
    time.sleep(0.01)
    assert len(stderr.getvalue()) == length


def test_a_quiet_phase_says_nothing(at_once: None, stderr: Awaited) -> None:
    with phase("deriving", quiet=True) as say:
        say("2 of 5")
        time.sleep(0.01)
    assert stderr.getvalue() == ""


def test_an_error_ends_a_phase_and_passes(at_once: None, stderr: Awaited) -> None:
    with pytest.raises(ZeroDivisionError), phase("deriving"):
        raise ZeroDivisionError
    assert "progress" not in [thread.name for thread in threading.enumerate()]


def test_steps_and_the_phases_around_them_take_turns(at_once: None, stderr: Awaited) -> None:
    with StepDisplay("search") as display:
        with display.phase("loading the data"):
            stderr.until("loading the data: 0 s so far\n")
        display.line("searching")
        display.start(4, 1)
        display.advance("loss 2.0")
        shown = stderr.until("search: 2/4 steps, loss 2.0, about")
        assert "searching\n" in shown
        assert "left\n" in stderr.until("left\n")
        display.advance("loss 1.9")
        display.advance("loss 1.8")
        with display.phase("deriving") as say:
            say("2 of 3 targets")
            stderr.until("deriving: 2 of 3 targets, 0 s so far\n")


class Terminal(Awaited):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar_and_no_lines(
    at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    with phase("deriving") as say:
        say("1 of 2")
    with StepDisplay("search") as display:
        display.start(2, 0)
        display.advance("loss 2.0")
        with display.phase("testing"):
            display.line("a line")
    shown = terminal.getvalue()
    for text in ("deriving", "loss 2.0", "1/2 steps", "testing", "a line"):
        assert text in shown
    assert "so far" not in shown


def test_a_terminal_that_cannot_redraw_gets_lines(
    at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", terminal)
    with phase("deriving"):
        terminal.until("deriving: 0 s so far\n")
