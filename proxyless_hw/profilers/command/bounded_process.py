"""Running a foreign command, and a foreign pattern over its output, with limits on both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.models.child_process import run_python

PATTERN_SECONDS: Final = 5.0
MAX_LINE: Final = 2000
"""Characters of a line that a pattern sees."""


@dataclass(frozen=True, slots=True)
class ProcessOutput:
    """What a command did.

    Attributes:
        text: both streams, as far as they were read.
        exit_code: its exit code, negative for a signal.
        timed_out: it was stopped because it took too long.
        too_long: it was stopped because it printed too much.
    """

    text: str
    exit_code: int
    timed_out: bool = False
    too_long: bool = False


def run_bounded(words: Sequence[str], seconds: float, most_bytes: int) -> ProcessOutput:
    """Runs a command without a shell; it and its children are ended when it exceeds a limit.

    Raises:
        BackendUnavailableError: it cannot be started.
    """
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as cause:
        raise BackendUnavailableError(f"'{words[0]}' cannot be started: {cause}.") from cause
    assert process.stdout is not None
    reader = _Reader(process.stdout, most_bytes, lambda: _end(process))
    reader.start()
    timed_out = False
    try:
        process.wait(timeout=seconds)
        # A child that keeps the pipe open must not block this process.
        reader.join(timeout=1.0)
    except subprocess.TimeoutExpired:
        timed_out = not reader.too_long
    finally:
        _end(process)
        process.wait()
        reader.join(timeout=5.0)
    text = bytes(reader.content).decode("utf-8", errors="replace")
    return ProcessOutput(text, process.returncode, timed_out, reader.too_long)


class _Reader(threading.Thread):
    """Takes what a process prints, up to a limit."""

    def __init__(self, stream: IO[bytes], most_bytes: int, on_excess: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self.stream = stream
        self.most_bytes = most_bytes
        self.on_excess = on_excess
        self.content = bytearray()
        self.too_long = False

    def run(self) -> None:
        with self.stream:
            while chunk := os.read(self.stream.fileno(), 65536):
                self.content += chunk[: self.most_bytes - len(self.content)]
                if len(self.content) >= self.most_bytes and not self.too_long:
                    self.too_long = True
                    self.on_excess()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the command's whole process group; a group that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def read_result_file(path: Path, program: str, name: str, most_bytes: int) -> str:
    """What a tool wrote where {result} stands in its command.

    Raises:
        ProfilingError: it wrote nothing, or too much.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as cause:
        raise ProfilingError(
            f"'{program}' wrote no result file on {name} ({cause.strerror}). Is {{result}} "
            "where its command takes the path of one?"
        ) from cause
    if len(content) > most_bytes:
        raise ProfilingError(
            f"the result file of '{program}' on {name} has more than {most_bytes >> 10} KiB. Make "
            "it write less."
        )
    return content.decode("utf-8", errors="replace")


_SEARCH = """
import json, re, sys
pattern, lines = json.load(sys.stdin)
compiled = re.compile(pattern)
unit = compiled.groupindex.get("unit")
value = compiled.groupindex.get("value")
if value is None:
    value = next(group for group in range(1, compiled.groups + 1) if group != unit)
found = [
    (line, *match.span(value), match.group(unit) if unit else None)
    for line in lines
    for match in compiled.finditer(line)
    if match.group(value) is not None
]
json.dump(found[-1] if found else None, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """Where a pattern found a number.

    Attributes:
        line: the line.
        start, end: where the number stands in it.
        unit: what the pattern's group named ``unit`` matched; None without such a group.
    """

    line: str
    start: int
    end: int
    unit: str | None


def last_match(pattern: str, text: str) -> PatternMatch | None:
    """The last match of a pattern, line by line; None where nothing matches.

    The number is the group named ``value``, else the first group that is not named ``unit``. The
    search runs in a process of its own with a time limit, since a pattern can need exponential
    time and Python's cannot be interrupted.

    Raises:
        ProfilingError: the search took too long.
    """
    lines = [line[:MAX_LINE] for line in text.splitlines()]
    result = run_python(
        ("-I", "-S", "-c", _SEARCH),
        [pattern, lines],
        PATTERN_SECONDS,
        f"--pattern {pattern[:120]!r} needs more than {PATTERN_SECONDS:g} s on the command's "
        "output. Write one without nested repetition.",
    )
    result.check_returncode()
    found = json.loads(result.stdout)
    return None if found is None else PatternMatch(*found)
