"""The shell loop that runs many models on a device in one go, and the reading of its output.

One loop serves the phone behind adb and the script of a bundle. Every word that reaches a shell
is quoted, and each model's output stands between two marker lines, so that whatever the tool
prints, or fails to print, belongs to one model.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxyless_hw.profilers.android.runtime_info import RESULT_FLAG, RUNTIME_INFO_FLAG

MARK: Final = "@proxyless-hw"

SIDE_FILES: Final = ("info", "result")
"""Endings of the files that newer builds of the tool write; see `runtime_info`."""

_BEGIN = re.compile(rf"{MARK} begin (\d{{1,6}})")
_FILE = re.compile(rf"{MARK} file ({'|'.join(SIDE_FILES)})")
_END = re.compile(rf"{MARK} end (\d{{1,6}}) (\d{{1,3}})")


@dataclass(frozen=True, slots=True)
class LoopRun:
    """One model's turn in a loop.

    Attributes:
        output: what the tool printed, both streams.
        exit_code: its exit code; None when the loop ended before it did.
        files: what it wrote beside its output, in base64, by the ending of `SIDE_FILES`.
    """

    output: str
    exit_code: int | None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoopOutput:
    """The parsed output of a loop.

    Attributes:
        runs: one per model that was begun, in order.
        tail: what was printed after the last model (the device's state).
        finished: whether the loop reached its end.
    """

    runs: tuple[LoopRun, ...]
    tail: str
    finished: bool


def loop_script(
    models: Sequence[str],
    command: str,
    flags: Sequence[str],
    state: Sequence[str] = (),
    side_file: str | None = None,
) -> str:
    """The shell text that runs a tool on each model in turn.

    Args:
        models: paths of the models on the device, in order.
        command: the tool with what comes before its model (``taskset f0 .../benchmark_model``),
            as shell text whose words are quoted already.
        flags: its flags after ``--graph``.
        state: shell commands without user text that print the device's state at the end.
        side_file: path on the device, without an ending, of the files of `SIDE_FILES`; a tool whose
            help names their flags then writes them. None: no such files.
    """
    listed = " ".join(shlex.quote(model) for model in models)
    rest = shlex.join(flags)
    lines = [
        *([] if side_file is None else _side_file_flags(command, side_file)),
        "i=0",
        f"for m in {listed}; do",
        f"printf '\\n{MARK} begin %d\\n' \"$i\"",
        f'{command} --graph="$m" {rest}{"" if side_file is None else SIDE_ARGUMENTS} 2>&1',
        "c=$?",
        *([] if side_file is None else _print_side_files(side_file)),
        f'printf \'\\n{MARK} end %d %d\\n\' "$i" "$c"',
        "i=$((i+1))",
        "done",
        *state,
        f"printf '\\n{MARK} done\\n'",
    ]
    return "\n".join(lines) + "\n"


SIDE_ARGUMENTS: Final = ' "$@"'


def _side_file_flags(command: str, side_file: str) -> list[str]:
    """Puts the flags for the files into the shell's arguments where the tool's help knows them."""
    path = shlex.quote(side_file)
    return [
        "set --",
        f"rm -f {path}.info {path}.result",
        f'case "$({command} --help 2>&1)" in *{RUNTIME_INFO_FLAG}*)',
        f"set -- {RUNTIME_INFO_FLAG}={path}.info {RESULT_FLAG}={path}.result ;;",
        "esac",
    ]


def _print_side_files(side_file: str) -> list[str]:
    path = shlex.quote(side_file)
    return [
        f"for f in {' '.join(SIDE_FILES)}; do",
        f"if [ -s {path}.$f ]; then",
        f"printf '\\n{MARK} file %s\\n' \"$f\"",
        f"base64 {path}.$f 2>/dev/null",
        f"rm -f {path}.$f",
        "fi",
        "done",
    ]


def split_runs(text: str) -> LoopOutput:
    """Parses the output of `loop_script`. A part that was cut off is kept as unfinished."""
    runs: list[LoopRun] = []
    current: list[str] | None = None
    files: dict[str, list[str]] = {}
    tail: list[str] = []
    finished = False
    into = tail
    for line in text.replace("\r", "").splitlines(keepends=True):
        stripped = line.strip()
        if _BEGIN.fullmatch(stripped):
            if current is not None:
                runs.append(_run(current, None, files))
            current, tail, files = [], [], {}
            into = current
        elif (end := _END.fullmatch(stripped)) and current is not None:
            runs.append(_run(current, int(end[2]), files))
            current, into = None, tail
        elif (file := _FILE.fullmatch(stripped)) and current is not None:
            into = files.setdefault(file[1], [])
        elif stripped == f"{MARK} done":
            finished = True
        else:
            into.append(line)
    if current is not None:
        runs.append(_run(current, None, files))
    return LoopOutput(tuple(runs), "".join(tail), finished)


def _run(output: list[str], exit_code: int | None, files: Mapping[str, list[str]]) -> LoopRun:
    whole = {ending: text for ending, parts in files.items() if (text := "".join(parts).strip())}
    return LoopRun("".join(output), exit_code, whole)
