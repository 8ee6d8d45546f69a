"""The shell loop that runs many models on a device in one go, and the reading of its output.

One loop serves the phone behind adb and the script of a bundle. Every word that reaches a shell
is quoted, and each model's output stands between two marker lines, so that whatever the tool
prints, or fails to print, belongs to one model.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MARK: Final = "@proxyless-hw"

_BEGIN = re.compile(rf"{MARK} begin (\d{{1,6}})")
_END = re.compile(rf"{MARK} end (\d{{1,6}}) (\d{{1,3}})")


@dataclass(frozen=True, slots=True)
class LoopRun:
    """One model's turn in a loop.

    Attributes:
        output: what the tool printed, both streams.
        exit_code: its exit code; None when the loop ended before it did.
    """

    output: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class LoopOutput:
    """The output of a loop, taken apart.

    Attributes:
        runs: one per model that was begun, in order.
        tail: what was printed after the last model (the device's state).
        finished: whether the loop reached its end.
    """

    runs: tuple[LoopRun, ...]
    tail: str
    finished: bool


def loop_script(
    models: Sequence[str], command: str, flags: Sequence[str], state: Sequence[str] = ()
) -> str:
    """The shell text that runs a tool on each model in turn.

    Args:
        models: paths of the models on the device, in order.
        command: the tool with what comes before its model (``taskset f0 .../benchmark_model``),
            as shell text whose words are quoted already.
        flags: its flags after ``--graph``.
        state: shell commands without user text that print the device's state at the end.
    """
    listed = " ".join(shlex.quote(model) for model in models)
    rest = shlex.join(flags)
    lines = [
        "i=0",
        f"for m in {listed}; do",
        f"printf '\\n{MARK} begin %d\\n' \"$i\"",
        f'{command} --graph="$m" {rest} 2>&1',
        f'printf \'\\n{MARK} end %d %d\\n\' "$i" "$?"',
        "i=$((i+1))",
        "done",
        *state,
        f"printf '\\n{MARK} done\\n'",
    ]
    return "\n".join(lines) + "\n"


def split_runs(text: str) -> LoopOutput:
    """Takes the output of `loop_script` apart; what is cut off is kept as unfinished."""
    runs: list[LoopRun] = []
    current: list[str] | None = None
    tail: list[str] = []
    finished = False
    for line in text.replace("\r", "").splitlines(keepends=True):
        stripped = line.strip()
        if _BEGIN.fullmatch(stripped):
            if current is not None:
                runs.append(LoopRun("".join(current), None))
            current, tail = [], []
        elif (end := _END.fullmatch(stripped)) and current is not None:
            runs.append(LoopRun("".join(current), int(end[2])))
            current = None
        elif stripped == f"{MARK} done":
            finished = True
        elif current is not None:
            current.append(line)
        else:
            tail.append(line)
    if current is not None:
        runs.append(LoopRun("".join(current), None))
    return LoopOutput(tuple(runs), "".join(tail), finished)
