"""What TFLite's ``benchmark_model`` is told and what it says: flags, and a parser of its output.

The tool prints a statistics line for its warm-up and one for its measured runs, then a summary.
Builds differ in prefixes and in which statistics they print; every variant known is read, and
whatever is incomplete or contradicts itself is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal

from proxyless_hw.errors import ProfilingError, did_you_mean

DELEGATE_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "default": (),
    "none": ("--use_xnnpack=false",),
    "xnnpack": ("--use_xnnpack=true",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true",),
}
"""The tool's flags for each --delegate; ``default`` leaves the choice to the build."""

DelegateUse = Literal["whole", "partial", "unused", "refused", "unmentioned"]

MAX_LINE: Final = 2000

_STATS = re.compile(r"(?:^|\s)count=(\d{1,12})(?=\s|$)(.*)$")
_FIELD = re.compile(r"(?:^|\s)(first|curr|min|max|avg|std|p5|median|p95)=([^\s(]+)")
_SUMMARY = re.compile(r"Inference timings in us:.*?Inference(?: \(avg\))?: (\S+?)(?:,|$)")
_OLD_SUMMARY = re.compile(r"Average inference timings in us:.*?no stats: (\S+?)(?:,|$)")
_INIT = re.compile(r"timings in us:.*?Init: (\S+?)(?:,|$)")
_PEAK_MEMORY = re.compile(r"Overall peak memory footprint \(MB\)[^:]*: (\S+)")

_WHOLE = re.compile(r"[Aa]pplied .*delegate, and the model graph will be completely executed")
_PARTIAL = re.compile(r"[Aa]pplied .*delegate, and the model graph will be partially executed")
_UNUSED = re.compile(r"delegate is explicitly applied, the model graph will not be")
_REPLACING = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate")
_REFUSED = re.compile(
    r"Failed to apply (?:the default )?\S+ delegate|acceleration is unsupported on this platform"
    r"|Can't (?:create|apply) \S+ delegate|Disallowed CPU fallback detected"
    r"|Unconsumed cmdline flags:.*--use_\w+"
)


@dataclass(frozen=True, slots=True)
class Stats:
    """One statistics line, in microseconds per inference.

    Attributes:
        count: inferences; None where only a summary was printed.
        avg, min, max: mean and extremes; the extremes are the mean where only it was printed.
        median, p95: None where the build prints none.
    """

    count: int | None
    avg: float
    min: float
    max: float
    median: float | None = None
    p95: float | None = None


@dataclass(frozen=True, slots=True)
class BenchmarkRun:
    """One run of the tool.

    Attributes:
        measured: statistics of the measured inferences.
        warm_up: those of the warm-up; None where only a summary was printed.
        init_us: time to initialise; None where it was not printed.
        peak_memory_mb: peak memory footprint; None where it was not printed.
    """

    measured: Stats
    warm_up: Stats | None = None
    init_us: float | None = None
    peak_memory_mb: float | None = None


def parse_output(text: str, name: str) -> BenchmarkRun:
    """Reads the output of one run.

    Args:
        text: what the tool printed; a last line without its line feed counts as cut off.
        name: names the model in messages.

    Raises:
        ProfilingError: no measurement is in it, it was cut off, a number is none, no inference
            ran, or the statistics contradict the summary.
    """
    lines = _whole_lines(text)
    stats = [_stats(match, name) for line in lines if (match := _STATS.search(line))]
    summary = _first_number(lines, _SUMMARY, name, "Inference")
    old_summary = _first_number(lines, _OLD_SUMMARY, name, "no stats")
    told = summary if summary is not None else old_summary
    measured, warm_up = _measured(stats, told, name)
    if measured.count == 0:
        raise ProfilingError(f"benchmark_model ran no inference of {name} (count=0).")
    if told is not None and not math.isclose(measured.avg, told, rel_tol=2e-3, abs_tol=1.0):
        raise ProfilingError(
            f"benchmark_model's output for {name} contradicts itself: its statistics give "
            f"{measured.avg:g} us, its summary {told:g} us. Is the log of two runs mixed?"
        )
    return BenchmarkRun(
        measured=measured,
        warm_up=warm_up,
        init_us=_first_number(lines, _INIT, name, "Init"),
        peak_memory_mb=_first_number(lines, _PEAK_MEMORY, name, "peak memory"),
    )


def _whole_lines(text: str) -> list[str]:
    complete, _, _ = text.replace("\r", "").rpartition("\n")
    return [line[:MAX_LINE] for line in complete.split("\n")]


def _measured(
    stats: list[Stats | None], told: float | None, name: str
) -> tuple[Stats, Stats | None]:
    """The second statistics line; the summary's mean where a very old build printed only that."""
    if len(stats) >= 2:
        second = stats[1]
        if second is None:
            return Stats(0, 0.0, 0.0, 0.0), stats[0]
        return second, stats[0]
    if told is not None:
        if stats and stats[0] is not None and math.isclose(stats[0].avg, told, rel_tol=2e-3):
            return stats[0], None
        return Stats(None, told, told, told), stats[0] if stats else None
    found = "only its warm-up is there" if stats else "no statistics line is there"
    raise ProfilingError(
        f"benchmark_model's output for {name} was cut off or is not its own: {found}."
    )


def _stats(match: re.Match[str], name: str) -> Stats | None:
    """The statistics of a line; None for ``count=0``."""
    count = int(match[1])
    if count == 0:
        return None
    fields = {key: _number(text, name, key) for key, text in _FIELD.findall(match[2])}
    # One inference, or all equal: only the current value is printed.
    avg = fields.get("avg", fields.get("curr") if "min" not in fields else None)
    if avg is None:
        raise ProfilingError(
            f"benchmark_model's output for {name} was cut off: its statistics line has no "
            f"avg: {match[0].strip()[:120]!r}."
        )
    low, high = fields.get("min", avg), fields.get("max", avg)
    # Builds round the extremes to whole microseconds.
    if not low - 1 <= avg <= high + 1:
        raise ProfilingError(
            f"benchmark_model's statistics for {name} must have min <= avg <= max: received "
            f"{low:g}, {avg:g}, {high:g}."
        )
    alone = "min" not in fields
    return Stats(
        count=count,
        avg=avg,
        min=low,
        max=high,
        median=fields.get("median", avg if alone else None),
        p95=fields.get("p95", avg if alone else None),
    )


def _number(text: str, name: str, field: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ProfilingError(
            f"benchmark_model's output for {name} holds no number for {field}: "
            f"received {text[:60]!r}."
        )
    return value


def _first_number(
    lines: list[str], pattern: re.Pattern[str], name: str, field: str
) -> float | None:
    for line in lines:
        match = pattern.search(line)
        if match:
            return _number(match[1], name, field)
    return None


def delegate_use(text: str) -> DelegateUse:
    """What the output says about a requested delegate."""
    lines = _whole_lines(text)
    if any(_REFUSED.search(line) for line in lines):
        return "refused"
    if any(_UNUSED.search(line) for line in lines):
        return "unused"
    if any(_PARTIAL.search(line) for line in lines):
        return "partial"
    counts = [match for line in lines if (match := _REPLACING.search(line))]
    if any(match[1] != match[2] for match in counts):
        return "partial"
    if counts or any(_WHOLE.search(line) for line in lines):
        return "whole"
    return "unmentioned"


def check_delegate(text: str, delegate: str, allow_partial: bool, name: str) -> None:
    """Checks that a delegate that was asked for did the work.

    Args:
        text: output of one run.
        delegate: a key of `DELEGATE_FLAGS`.
        allow_partial: accept a model of which the processor ran a part.
        name: names the model in messages.

    Raises:
        ProfilingError: it was refused, or ran only a part or nothing of the model.
    """
    if delegate in ("default", "none"):
        return
    use = delegate_use(text)
    if use == "whole" or (use == "unmentioned" and delegate == "xnnpack"):
        return
    if use == "partial" and allow_partial:
        return
    happened = {
        "partial": "ran only a part of it, the CPU the rest",
        "unused": "was applied but ran nothing of it",
        "refused": f"was refused: {_reason(text)}",
        "unmentioned": "is not mentioned in the output, so it may not have been applied",
    }[use]
    accept = "Accept it with --option delegate_partial=allow, or choose"
    choose = accept if use == "partial" else "Choose"
    raise ProfilingError(
        f"the {delegate} delegate {happened} ({name}). {choose} another --delegate: "
        f"{', '.join(DELEGATE_FLAGS)}."
    )


def delegate_flags(delegate: str) -> tuple[str, ...]:
    """The tool's flags for a delegate.

    Raises:
        ProfilingError: no such delegate; the nearest is named.
    """
    if delegate not in DELEGATE_FLAGS:
        raise ProfilingError(
            f"--delegate must be one of {', '.join(DELEGATE_FLAGS)}: received "
            f"'{delegate[:60]}'.{did_you_mean(delegate, DELEGATE_FLAGS)}"
        )
    return DELEGATE_FLAGS[delegate]


def failure_reason(text: str) -> str:
    """The line of a failed run that says most: an error, else the last one."""
    lines = [line.strip() for line in text.replace("\r", "").split("\n") if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|abort|signal|denied", line, re.I)]
    chosen = errors[-1] if errors else lines[-1] if lines else "it printed nothing"
    return "".join(character if character.isprintable() else "?" for character in chosen[:200])


def _reason(text: str) -> str:
    for line in _whole_lines(text):
        if _REFUSED.search(line):
            return line.strip()[:200]
    return "no reason given"
