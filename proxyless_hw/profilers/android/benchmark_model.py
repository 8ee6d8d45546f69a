"""A parser of the output of TFLite's ``benchmark_model`` and LiteRT 2.x's tools.

The tool prints a statistics line for its warm-up and one for its measured runs, then a summary;
LiteRT 2.x's tools print a block of results. Builds differ in prefixes and in which statistics they
print; every variant known is read, and whatever is incomplete or contradicts itself is refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.delegate_log import whole_lines

SUMMARY_ROUNDING_US: Final = 6.0
"""LiteRT 2.x rounds its summary to hundredths of a millisecond: half of one at most is lost."""

# Profiles of ops and of memory that follow the measurement are not statistics of it.
_STATS = re.compile(r"^(?!.*(?:Timings|Memory) \()(?:.*\s)?count=(\d{1,12})(?=\s|$)(.*)$")
_FIELD = re.compile(r"(?:^|\s)(first|curr|min|max|avg|std|p5|median|p95)=([^\s(]+)")
_SUMMARY = re.compile(r"Inference timings in us:.*?Inference(?: \(avg\))?: (\S+?)(?:,|$)")
_OLD_SUMMARY = re.compile(r"Average inference timings in us:.*?no stats: (\S+?)(?:,|$)")
_INIT = re.compile(r"timings in us:.*?Init: (\S+?)(?:,|$)")

# LiteRT 2.x: benchmark_litert_model's and litert-benchmark's block of results, in ms.
_RESULTS = "BENCHMARK RESULTS"
_RESULT = re.compile(
    r"Inference \((avg|min|max|median|p95)\):\s+(\S+) ms(?: \((\d{1,12}) runs\))?\s*$"
)
_RESULT_INIT = re.compile(r"Model initialization:\s+(\S+) ms\s*$")
_NO_RUNS = "No inference runs were performed"

_PEAK_MEMORY = re.compile(
    r"Overall peak memory footprint \(MB\)[^:]*: (\S+)|\bPeak memory:\s+(\S+) MB"
    r"|Peak memory footprint \(MB\):.*\boverall=(\S+)"
)
_OVERALL_MEMORY = re.compile(
    r"\bOverall footprint:\s+(\S+) MB|Memory footprint delta.*\boverall=(\S+)"
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
        overall_memory_mb: what memory grew by from the tool's start to its end; None where it was
            not printed.
        rounded_ms: what the printed times are rounded to; None where they are exact enough.
    """

    measured: Stats
    warm_up: Stats | None
    init_us: float | None = None
    peak_memory_mb: float | None = None
    overall_memory_mb: float | None = None
    rounded_ms: float | None = None


def parse_output(text: str, name: str) -> BenchmarkRun:
    """Reads the output of one run.

    Args:
        text: what the tool printed; a last line without its line feed counts as cut off.
        name: names the model in messages.

    Raises:
        ProfilingError: no measurement is in it, it was cut off, a number cannot be read, no
            inference ran, or the statistics contradict the summary.
    """
    lines = whole_lines(text)
    stats = [_stats(match, name) for line in lines if (match := _STATS.search(line))]
    block = _results_block(lines, name)
    if block is None:
        measured, warm_up = _measured(stats, _told(lines, name), name)
    else:
        measured, warm_up = _measured_by_block(stats, block, name)
    if measured.count == 0:
        raise ProfilingError(f"benchmark_model ran no inference of {name} (count=0).")
    if not (measured.avg if measured.median is None else measured.median) > 0:
        raise ProfilingError(
            f"{name} takes less time than the tool prints: its figure is rounded to 0. Use a tool "
            "that prints microseconds, as benchmark_model does."
        )
    init_ms = _first_number(lines, _RESULT_INIT, name, "Model initialization")
    return BenchmarkRun(
        measured=measured,
        warm_up=warm_up,
        init_us=_first_number(lines, _INIT, name, "Init") if init_ms is None else init_ms * 1e3,
        peak_memory_mb=_first_number(lines, _PEAK_MEMORY, name, "peak memory"),
        overall_memory_mb=_first_number(lines, _OVERALL_MEMORY, name, "overall footprint"),
        rounded_ms=0.01 if block is not None and measured is block else None,
    )


def _told(lines: list[str], name: str) -> float | None:
    """The mean that the summary of TFLite's tool states; None without one."""
    for pattern, field in ((_SUMMARY, "Inference"), (_OLD_SUMMARY, "no stats")):
        values = {
            _number(match[1], name, field) for line in lines if (match := pattern.search(line))
        }
        if len(values) > 1:
            raise ProfilingError(
                f"benchmark_model's output for {name} has {len(values)} summaries that differ. "
                "Is the log of two runs mixed?"
            )
        if values:
            return values.pop()
    return None


def _measured(
    stats: list[Stats | None], told: float | None, name: str
) -> tuple[Stats, Stats | None]:
    """The second statistics line; the summary's mean where a very old build printed only that."""
    if len(stats) >= 2:
        second = stats[1]
        if second is None:
            return Stats(0, 0.0, 0.0, 0.0), stats[0]
        if told is not None and not math.isclose(second.avg, told, rel_tol=2e-3, abs_tol=1.0):
            raise _contradiction(name, second.avg, told)
        return second, stats[0]
    if told is not None:
        if stats and stats[0] is not None and math.isclose(stats[0].avg, told, rel_tol=2e-3):
            return stats[0], None
        return Stats(None, told, told, told), stats[0] if stats else None
    found = "only its warm-up is there" if stats else "no statistics line is there"
    raise ProfilingError(
        f"benchmark_model's output for {name} was cut off or is not its own: {found}."
    )


def _measured_by_block(
    stats: list[Stats | None], block: Stats, name: str
) -> tuple[Stats, Stats | None]:
    """The statistics line that a block of results sums up, or the block without one."""
    if block.count == 0 or not stats:
        return block, None
    for index in reversed(range(len(stats))):
        line = stats[index]
        if line is not None and line.count == block.count and _agree(line.avg, block.avg):
            return line, stats[index - 1] if index else None
    last = stats[-1]
    raise _contradiction(name, last.avg if last else 0.0, block.avg)


def _agree(exact_us: float, rounded_us: float) -> bool:
    return math.isclose(exact_us, rounded_us, rel_tol=2e-3, abs_tol=SUMMARY_ROUNDING_US)


def _contradiction(name: str, statistics_us: float, summary_us: float) -> ProfilingError:
    return ProfilingError(
        f"benchmark_model's output for {name} contradicts itself: its statistics give "
        f"{statistics_us:g} us, its summary {summary_us:g} us. Is the log of two runs mixed?"
    )


def _results_block(lines: list[str], name: str) -> Stats | None:
    """LiteRT 2.x's block of results in microseconds; None where there is no such block."""
    starts = [index for index, line in enumerate(lines) if _RESULTS in line]
    if not starts:
        return None
    if len(starts) > 1:
        raise ProfilingError(
            f"the output for {name} has {len(starts)} blocks of results. Is the log of two runs "
            "mixed?"
        )
    rest = lines[starts[0] :]
    found: dict[str, float] = {}
    count: int | None = None
    for match in filter(None, map(_RESULT.search, rest)):
        found[match[1]] = _number(match[2], name, match[1]) * 1e3
        count = int(match[3]) if match[3] else count
    if any(_NO_RUNS in line for line in rest):
        count = 0
    if count == 0:
        return Stats(0, 0.0, 0.0, 0.0)
    if "avg" not in found or count is None:
        raise ProfilingError(
            f"the block of results for {name} was cut off: it has no 'Inference (avg)'."
        )
    return Stats(
        count=count,
        avg=found["avg"],
        min=found.get("min", found["avg"]),
        max=found.get("max", found["avg"]),
        median=found.get("median"),
        p95=found.get("p95"),
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
            return _number(match[match.lastindex or 0], name, field)
    return None


def failure_reason(text: str) -> str:
    """The most informative line of a failed run: an error, or else the last line."""
    lines = [line.strip() for line in text.replace("\r", "").split("\n") if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|abort|signal|denied", line, re.I)]
    chosen = errors[-1] if errors else lines[-1] if lines else "it printed nothing"
    return "".join(character if character.isprintable() else "?" for character in chosen[:200])
