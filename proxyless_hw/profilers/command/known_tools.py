"""Benchmark tools whose output is known: which line holds the latency, and in which unit.

A tool is recognised by its output, never by its name, so that a wrapper or a remote shell changes
nothing. `docs/devices.md` lists what is read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.benchmark_model import BenchmarkRun, parse_output
from proxyless_hw.profilers.command.tool_numbers import (
    PrintedTime,
    Unit,
    printed_time,
    shown,
    unit_named,
)

_NUMBER = r"([0-9][0-9.eE+-]*)"


@dataclass(frozen=True, slots=True)
class ToolReading:
    """What a known tool measured.

    Attributes:
        tool: its name.
        ms: its latency in milliseconds.
        statistic: ``median`` or ``mean``.
        unit: the unit it was printed in.
        rounded_ms: the worth of the last digit printed.
        notes: further header fields that it gives.
    """

    tool: str
    ms: float
    statistic: str
    unit: Unit
    rounded_ms: float
    notes: tuple[tuple[str, str], ...] = ()


Times = list[PrintedTime]


def recognise(text: str, name: str) -> ToolReading | None:
    """Reads the output of a known tool; None where no known tool printed it.

    Args:
        text: what a tool printed, or wrote to its result file.
        name: names the model in messages.

    Raises:
        ProfilingError: the output is a known tool's, and holds several results, none, or one that
            contradicts itself.
    """
    lines = text.splitlines()
    readings = [reading for read in _READERS if (reading := read(lines, name)) is not None]
    if len(readings) > 1 and not _same(readings):
        raise ProfilingError(
            f"the output on {name} is of several tools: "
            f"{', '.join(reading.tool for reading in readings)}. Run one, or name the number: "
            "--pattern."
        )
    return readings[0] if readings else None


def _same(readings: Sequence[ToolReading]) -> bool:
    """Whether one tool gave one figure in two forms, as in its text and its result file."""
    first = readings[0]
    return all(
        reading.tool == first.tool and math.isclose(reading.ms, first.ms, rel_tol=1e-9)
        for reading in readings
    )


def read_memory(text: str, name: str) -> tuple[float, str] | None:
    """Peak memory in MB that a known tool printed, and which figure it is; None without one.

    Raises:
        ProfilingError: the output contradicts itself.
    """
    sizes = {match[1] for match in re.finditer(r"Peak working set size: ?([0-9]+) ?bytes", text)}
    if len(sizes) == 1:
        return int(sizes.pop()) / 2**20, "peak"
    if is_benchmark_model(text.splitlines()):
        run = parse_output(text + "\n", name)
        if run.peak_memory_mb:
            return run.peak_memory_mb, "peak"
        if run.overall_memory_mb:
            return run.overall_memory_mb, "overall footprint"
    return None


def _matches(lines: Sequence[str], pattern: str) -> list[re.Match[str]]:
    compiled = re.compile(pattern)
    return [match for line in lines if (match := compiled.search(line[:2000]))]


def _time(number: str, unit: str, line: str, tool: str, name: str) -> PrintedTime:
    known = unit_named(unit)
    if known is None:
        raise ProfilingError(
            f"{tool} printed a unit on {name} that is not known, '{unit[:20]}': {shown(line)}"
        )
    return printed_time(number, known, line, "", f"{tool}'s latency on {name}")


def _times(lines: Sequence[str], pattern: str, tool: str, name: str) -> Times:
    """The times of a pattern with number and unit as its first groups."""
    return [
        _time(match[1], match[2], match.string, tool, name) for match in _matches(lines, pattern)
    ]


def _one(times: Times, tool: str, statistic: str, name: str) -> ToolReading | None:
    """The only time found; None if no line has one."""
    if not times:
        return None
    if len({time.text for time in times}) > 1:
        raise ProfilingError(
            f"{tool} printed {len(times)} results on {name}: "
            f"{', '.join(time.text for time in times[:6])}. Let it run one model once, or name the "
            "number: --pattern."
        )
    first = times[0]
    return ToolReading(tool, first.ms, statistic, first.unit, first.rounded_ms)


def _incomplete(tool: str, name: str, line: str) -> ProfilingError:
    return ProfilingError(
        f"{tool}'s output on {name} was cut off: it has no line '{line}'. Run it again."
    )


def _trtexec(lines: Sequence[str], name: str) -> ToolReading | None:
    tool = "trtexec"
    if not _matches(lines, r"GPU Compute(?: Time)?(?::|\s*$)") or not _matches(
        lines, r"Throughput|Performance summary|Enqueue|Total GPU Compute Time|Host Latency"
    ):
        return None
    summary = rf"GPU Compute(?: Time)?: .*\bmedian = {_NUMBER} (\w+)"
    times = _times(lines, summary, tool, name)
    if not times:  # TensorRT 7 prints a section with one statistic per line
        section = _section(
            lines, r"GPU Compute\s*$", r"(?:min|max|mean|median|percentile|walltime)"
        )
        times = _times(section, rf"\bmedian: {_NUMBER} (\w+)", tool, name)
    if not times:
        raise _incomplete(tool, name, "GPU Compute Time: ... median = ...")
    return _one(times, tool, "median", name)


def _section(lines: Sequence[str], title: str, member: str) -> list[str]:
    """The lines under a title, as long as they look like its members."""
    found: list[str] = []
    inside = False
    for line in lines:
        if re.search(title, line):
            inside = True
        elif inside and not re.search(rf"\b{member}\b.*:", line):
            inside = False
        elif inside:
            found.append(line)
    return found


def _benchmark_app(lines: Sequence[str], name: str) -> ToolReading | None:
    tool = "benchmark_app"
    if not _matches(lines, r"\[Step 11/11\]|Dumping statistics report"):
        return None
    label = r"^\s*(?:\[ INFO \])?\s*"
    reading = None
    for words, statistic in (
        (rf"{label}Median:\s+{_NUMBER} (\w+)\s*$", "median"),
        (rf"{label}Latency:\s+{_NUMBER} (\w+)\s*$", "median"),  # before 2022
        (rf"{label}(?:Average|AVG):\s+{_NUMBER} (\w+)\s*$", "mean"),  # another percentile asked for
    ):
        reading = reading or _one(_times(lines, words, tool, name), tool, statistic, name)
    if reading is None:
        raise _incomplete(tool, name, "Median: ...")
    notes = []
    for key, words in (
        ("ran_on", r"(?:Execution Devices:|EXECUTION_DEVICES: )\s*\[(.{1,80}?)\]"),
        ("tool_precision", r"INFERENCE_PRECISION_HINT: (?:<Type: ')?(\w{1,20})"),
        ("tool_hint", r"PERFORMANCE_HINT: (?:\w+\.)?(\w{1,30})\s*$"),
        ("tool_threads", r"INFERENCE_NUM_THREADS: (\d{1,5})\s*$"),
        ("tool_streams", r"NUM_STREAMS: (\d{1,5})\s*$"),
    ):
        values = dict.fromkeys(match[1].replace("'", "") for match in _matches(lines, words))
        if values:
            notes.append((key, ", ".join(values)))
    return replace(reading, notes=tuple(notes))


def _onnxruntime_perf_test(lines: Sequence[str], name: str) -> ToolReading | None:
    tool = "onnxruntime_perf_test"
    average = rf"Average inference time cost(?: total)?: {_NUMBER} (\w+)"
    if not _matches(lines, average):
        return None
    medians = _times(lines, rf"P50 Latency: {_NUMBER} (\w+)", tool, name)
    mean = _one(_times(lines, average, tool, name), tool, "mean", name)
    return _one(medians, tool, "median", name) or mean


def _benchncnn(lines: Sequence[str], name: str) -> ToolReading | None:
    tool = "benchncnn"
    rows = _matches(lines, rf"\bmin =\s+{_NUMBER}\s+max =\s+{_NUMBER}\s+avg =\s+{_NUMBER}\s*$")
    times = [_time(row[3], "ms", row.string, tool, name) for row in rows]
    return _one(times, tool, "mean", name)


def _hailortcli(lines: Sequence[str], name: str) -> ToolReading | None:
    tool = "hailortcli"
    if _matches(lines, r"\(overall\)\s+=|Overall Latency:"):
        raise ProfilingError(
            f"{tool} printed the hardware's and the overall latency on {name}. Name the one meant: "
            "--pattern 'HW Latency: ([0-9.]+) (?P<unit>ms)'."
        )
    for words in (
        rf"Latency\s+\(hw\)\s+=\s+{_NUMBER} (\w+)",  # benchmark
        rf"^\s*HW Latency: {_NUMBER} (\w+)\s*$",  # run
        rf"100%.*HW Latency: {_NUMBER} (\w+) \|",  # its progress
    ):
        if reading := _one(_times(lines, words, tool, name), tool, "mean", name):
            return reading
    return None


def is_benchmark_model(lines: Sequence[str]) -> bool:
    """Whether TFLite's or LiteRT's tool printed these lines."""
    return bool(
        _matches(lines, r"Inference timings in us:|Average inference timings in us:")
        or _matches(lines, r"(?:^|\s)count=\d+ .*\b(?:avg|curr)=")
        or _matches(lines, r"Inference \(avg\):\s+\S+ ms \(\d+ runs\)")
    )


def _benchmark_model(lines: Sequence[str], name: str) -> ToolReading | None:
    if not is_benchmark_model(lines):
        return None
    run = parse_output("\n".join(lines) + "\n", name)
    python = _matches(lines, r"benchmark_litert_model: Model:|^Fully accelerated:")
    tool = "litert-benchmark" if python else "benchmark_model"
    return _of_run(run, tool)


def _of_run(run: BenchmarkRun, tool: str) -> ToolReading:
    stats = run.measured
    middle, statistic = (stats.avg, "mean") if stats.median is None else (stats.median, "median")
    unit: Unit = "us" if run.rounded_ms is None else "ms"
    return ToolReading(tool, middle / 1e3, statistic, unit, run.rounded_ms or 0.001)


def _litert_json(lines: Sequence[str], name: str) -> ToolReading | None:
    """What ``litert-benchmark --result_json`` writes."""
    document = json_in(lines)
    latency = document.get("latency") if isinstance(document, dict) else None
    if not isinstance(latency, dict) or "median_ms" not in latency:
        return None
    value, runs = latency["median_ms"], latency.get("num_runs")
    if not isinstance(value, int | float) or not value > 0 or not runs:
        raise ProfilingError(
            f"litert-benchmark's result on {name} must have runs and a median_ms above 0: received "
            f"{runs!r} and {value!r}. It rounds to hundredths of a millisecond."
        )
    return ToolReading("litert-benchmark", float(value), "median", "ms", 0.01)


def _google_benchmark(lines: Sequence[str], name: str) -> ToolReading | None:
    """iree-benchmark-module, whose output is Google Benchmark's: a table, or JSON."""
    document = json_in(lines)
    if isinstance(document, dict) and isinstance(document.get("benchmarks"), list):
        rows = [_json_row(row, name) for row in document["benchmarks"]]
    elif _matches(lines, r"^Benchmark\s+Time\s+CPU\s+Iterations"):
        row_form = rf"^(\S+)\s+{_NUMBER} (\w+)\s+{_NUMBER} \w+(?:\s+\d+)?(?:\s|$)"
        rows = [(row[1], row[2], row[3]) for row in _matches(lines, row_form)]
    else:
        return None
    tool = "iree-benchmark-module"
    for ending, statistic in (("_median", "median"), ("_mean", "mean"), ("", "mean")):
        chosen = [row for row in rows if _aggregate(row[0]) == ending]
        times = [_time(row[1], row[2], " ".join(row), tool, name) for row in chosen]
        if times:
            return _one(times, tool, statistic, name)
    raise _incomplete(tool, name, "BM_... Time ...")


def _aggregate(row: str) -> str:
    endings = ("_median", "_mean", "_stddev", "_cv", "_min", "_max")
    return next((ending for ending in endings if row.endswith(ending)), "")


def _json_row(row: Any, name: str) -> tuple[str, str, str]:
    values = [row.get(key) for key in ("name", "real_time", "time_unit")] if row else []
    if len(values) != 3 or any(value is None for value in values):
        raise ProfilingError(
            f"a benchmark in the JSON on {name} must have name, real_time and time_unit: received "
            f"{str(row)[:120]}."
        )
    return str(values[0]), str(values[1]), str(values[2])


def json_in(lines: Sequence[str]) -> Any:
    """The JSON object that stands between a line ``{`` and a line ``}``; None without one."""
    starts = [index for index, line in enumerate(lines) if line.strip().startswith("{")]
    ends = [index for index, line in enumerate(lines) if line.strip().endswith("}")]
    if not starts or not ends:
        return None
    try:
        return json.loads("\n".join(lines[starts[0] : ends[-1] + 1]))
    except (ValueError, RecursionError):
        return None


_READERS: Final[tuple[Callable[[Sequence[str], str], ToolReading | None], ...]] = (
    _trtexec,
    _benchmark_app,
    _onnxruntime_perf_test,
    _benchncnn,
    _hailortcli,
    _benchmark_model,
    _litert_json,
    _google_benchmark,
)
