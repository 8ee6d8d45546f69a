"""Time per op of a .tflite file, from the profiler in LiteRT's library."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.host.environment import package_version
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.child_process import reply_of, run_python
from proxyless_hw.profilers.models.file_shapes import file_setting
from proxyless_hw.profilers.models.input_request import file_request
from proxyless_hw.profilers.node_time import NodeTime
from proxyless_hw.profilers.op_profile import ProfiledOp, parse_op_profile
from proxyless_hw.profilers.runtimes.litert_library import library_path
from proxyless_hw.terminal.notices import notice

SESSIONS: Final = 10
"""Times that the file is opened and profiled."""
RUNS: Final = 5
"""Profiled runs of each."""
TIMEOUT_S: Final = 600.0
OLDEST: Final = (2, 3)
"""Version of LiteRT whose C interface is known (`litert_library`)."""

_BUILT_IN: Final = re.compile(r"\[Builtin\]:(\d{1,7})")
_INSIDE_DELEGATE: Final = re.compile(r"\[Delegate\]:(\d{1,7})")


def litert_node_times(
    path: Path, settings: ProfilerSettings, shape: FileShape | None = None
) -> list[NodeTime]:
    """Times every op of a .tflite file in a process of its own.

    Ops that XNNPACK runs are its own, after it has fused what it fuses: they have no names of the
    file. The file is opened `SESSIONS` times, and an op's time is the median of the means that
    LiteRT prints of `RUNS` runs each. A call counts as whole microseconds, rounded down by LiteRT.

    Args:
        path: a .tflite file.
        settings: threads, batch size and delegate.
        shape: what the user says about the file's shape.

    Raises:
        BackendUnavailableError: LiteRT is missing, or older than what is known.
        ProfilingError: the file cannot be run, or the profile has an unknown form.
    """
    version = require_profiler()
    setting = file_setting(path, shape, settings.batch_size)
    request = {
        **file_request(path, settings, setting),
        "signature": setting.signature,
        "sessions": SESSIONS,
        "runs": RUNS,
    }
    done = run_python(
        ("-m", "proxyless_hw.profilers.runtimes.litert_library"),
        request,
        TIMEOUT_S,
        f"profiling the ops of {path} took more than {TIMEOUT_S:g} s and was ended.",
    )
    what = f"the process that profiles the ops of {path} with LiteRT {version}"
    reply = reply_of(done.stdout, done.stderr, done.returncode, what, ProfilingError)
    return median_times(reply["profiles"], reply["ops"], str(path))


def require_profiler() -> str:
    """Checks that LiteRT's profiler is here; returns LiteRT's version.

    Raises:
        BackendUnavailableError: LiteRT is missing, or older than what is known.
    """
    library_path()
    version = package_version("ai-edge-litert")
    numbers = tuple(map(int, re.findall(r"\d{1,6}", version)[:2]))
    if numbers < OLDEST:
        raise BackendUnavailableError(
            "--per-op needs ai-edge-litert 2.3 or newer, whose profiler "
            f"is known: {version} is installed. Update it: pip install 'ai-edge-litert>=2.3'"
        )
    return version


def median_times(profiles: Sequence[str], outputs: Sequence[str], source: str) -> list[NodeTime]:
    """Joins the profiles of sessions: the median of each op.

    Args:
        profiles: what the profiler printed, of `RUNS` runs each.
        outputs: name of the first output of every op of the file, by the op's number.
        source: names the model in messages.

    Raises:
        ProfilingError: a profile has an unknown form.
    """
    times: dict[ProfiledOp, list[float]] = {}
    ops: dict[tuple[str, str, str | None], ProfiledOp] = {}
    for number, text in enumerate(profiles):
        for op in parse_op_profile(text, source, RUNS):
            first = ops.setdefault((op.op_type, op.name, op.inside), op)
            # An op that a session leaves out (a branch that was not taken) took no time in it.
            times.setdefault(first, [0.0] * len(profiles))[number] = op.ms
    medians = {op: float(np.median(values)) for op, values in times.items()}
    total = sum(ms for op, ms in medians.items() if op.inside is None)
    if not total:
        notice(
            f"LiteRT counts the time of an op in whole microseconds, and every op of {source} "
            "takes less than one: their times are given as 0."
        )
    return [
        NodeTime(_name(op, outputs), op.op_type, ms, ms / total if total else 0.0, op.inside)
        for op, ms in medians.items()
    ]


def _name(op: ProfiledOp, outputs: Sequence[str]) -> str:
    """The op's output for an op of the file; else the number that a delegate gave it."""
    name = op.name
    inside, own = _INSIDE_DELEGATE.fullmatch(name), _BUILT_IN.fullmatch(name)
    if inside is not None:
        name = f"XNNPACK op {inside[1]}"
    elif own is not None and op.inside is None and int(own[1]) < len(outputs):
        name = outputs[int(own[1])] or f"op {own[1]}"
    return name if op.calls == 1 else f"{name} ({op.calls:g} calls)"
