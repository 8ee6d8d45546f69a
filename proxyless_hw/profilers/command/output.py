"""Finds the latency in a command's output, by a pattern or by the known output of a tool."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.delegate_log import read_evidence
from proxyless_hw.profilers.android.delegates import check_delegate
from proxyless_hw.profilers.command.bounded_process import PatternMatch, last_match
from proxyless_hw.profilers.command.known_tools import (
    ToolReading,
    is_benchmark_model,
    read_memory,
    recognise,
)
from proxyless_hw.profilers.command.tool_numbers import (
    PrintedTime,
    Unit,
    check_same_unit,
    cuts_a_number,
    label_before,
    last_line,
    only_time,
    printed_time,
    shown,
    unit_after,
    unit_before,
    unit_named,
)

_DELEGATE_FLAGS = (
    ("--use_gpu", "gpu"),
    ("--use_npu", "npu"),
    ("--use_nnapi", "nnapi"),
    ("--external_delegate_path", "external"),
)
_ACCELERATORS = re.compile(r"Accelerators:\s+([A-Z]+(?: \| [A-Z]+)*)\s*$", re.MULTILINE)
_ACCELERATORS_JSON = re.compile(r'"accelerators": ?\[([^\]]{1,200})\]')
_PARTLY = re.compile(r'^Fully accelerated:\s+False|"fully_accelerated": ?false', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OutputRule:
    """How a command's output is read.

    Attributes:
        program: the command's first word, for messages.
        words: the whole command.
        metric: ``latency`` or ``memory``.
        pattern: regular expression that finds the number; None to recognise the tool.
        unit: unit of a number that is printed without one.
        allow_partial: a delegate may have run a part of the model.
    """

    program: str
    words: tuple[str, ...]
    metric: str = "latency"
    pattern: str | None = None
    unit: Unit | None = None
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a command measured.

    Attributes:
        value: in ms, or in MB for memory.
        statistic: ``median``, ``mean``, ``peak``, ... or ``as printed``.
        rounded_ms: the worth of a time's last digit; 0 for memory.
        notes: header fields that the output tells.
    """

    value: float
    statistic: str
    rounded_ms: float = 0.0
    notes: dict[str, str] = field(default_factory=dict)


def read_value(text: str, rule: OutputRule, name: str) -> Reading:
    """The value in a command's output.

    Args:
        text: what the command printed, and what it wrote to its result file.
        rule: how it is read.
        name: names the model in messages.

    Raises:
        ProfilingError: the output holds no value, several, or one without a unit; or another
            accelerator ran the model than the command asks for.
    """
    if rule.pattern is not None:
        if is_benchmark_model(text.splitlines()):
            _check_accelerator(text, rule, name)
        return _of_time(_by_pattern(text, rule, name), "--pattern")
    tool = recognise(text, name)
    if tool is not None and tool.tool in ("benchmark_model", "litert-benchmark"):
        ran_on = _check_accelerator(text, rule, name)
        tool = replace(tool, notes=(*tool.notes, ("ran_on", ran_on or "not stated")))
    if rule.metric == "memory":
        return _memory(text, tool, rule, name)
    if tool is None:
        return _of_time(only_time(text, rule.unit, rule.program, name), "the only time printed")
    check_same_unit(tool.unit, rule.unit, f"the output of {tool.tool} on {name}")
    return Reading(
        tool.ms, tool.statistic, tool.rounded_ms, {"tool": tool.tool, **dict(tool.notes)}
    )


def _of_time(time: PrintedTime, source: str) -> Reading:
    notes = {"tool": f"not known; read: {source}"}
    return Reading(time.ms, time.statistic, time.rounded_ms, notes)


def _memory(text: str, tool: ToolReading | None, rule: OutputRule, name: str) -> Reading:
    found = read_memory(text, name)
    if found is None:
        raise ProfilingError(
            f"'{rule.program}' printed no peak memory on {name} that is known: benchmark_model, "
            "LiteRT 2.x's tools and onnxruntime_perf_test do. Measure --metric latency."
        )
    value, statistic = found
    notes = {} if tool is None else {"tool": tool.tool, **dict(tool.notes)}
    return Reading(value, statistic, notes=notes)


def _by_pattern(text: str, rule: OutputRule, name: str) -> PrintedTime:
    assert rule.pattern is not None
    found = last_match(rule.pattern, text)
    if found is None:
        near = nearest_line(rule.pattern, text)
        raise ProfilingError(
            f"'{rule.program}' printed nothing that --pattern {rule.pattern!r} matches on {name}. "
            f"The nearest line: {shown(near)!r}."
        )
    matched = found.line[found.start : found.end]
    number = matched.strip()
    start = found.start + matched.find(number)
    if cuts_a_number(found.line, start, start + len(number)):
        raise ProfilingError(
            f"the number that --pattern matches must be a whole one: it matched {number!r} within "
            f"{shown(found.line)!r}, printed by '{rule.program}' on {name}."
        )
    before = label_before(found.line, start)
    unit = _unit_of(found, before, rule, name)
    what = f"the number that --pattern matches in the output of '{rule.program}' on {name}"
    return printed_time(number, unit, found.line, before, what)


def _unit_of(found: PatternMatch, before: str, rule: OutputRule, name: str) -> Unit:
    """The unit that the pattern names, that stands beside the number, or that --unit gives."""
    if found.unit is not None:
        named = unit_named(found.unit.strip())
        if named is None:
            raise ProfilingError(
                f"the group 'unit' of --pattern must match a unit of time (ns, us, ms, s): it "
                f"matched {found.unit[:40]!r} in the output of '{rule.program}' on {name}."
            )
        check_same_unit(named, rule.unit, found.line)
        return named
    printed = unit_after(found.line, found.end) or unit_before(before)
    if printed is not None:
        check_same_unit(printed, rule.unit, found.line)
        return printed
    if rule.unit is None:
        raise ProfilingError(
            f"the number that --pattern matches has no unit: {shown(found.line)!r}. Say which it "
            "is: --unit ns, us, ms or s."
        )
    return rule.unit


def nearest_line(pattern: str, text: str) -> str:
    """The line that shares most words with a pattern; of equal ones the last with a number."""
    words = set(re.findall(r"[a-z]{2,}", re.sub(r"\\.|\(\?P<\w+>", " ", pattern).lower()))
    best, best_score = last_line(text), (0, False)
    for line in text.splitlines():
        shared = len(words & set(re.findall(r"[a-z]{2,}", line.lower())))
        score = (shared, bool(re.search(r"[0-9]", line)))
        if shared and score >= best_score:
            best, best_score = line, score
    return best


def asked_accelerator(words: Sequence[str]) -> tuple[str, str]:
    """The delegate that a command of TFLite's or LiteRT's asks for, and its library."""
    asked, library = "default", ""
    for word in words:
        flag, equals, value = word.partition("=")
        on = not equals or value.lower() in ("true", "1", "t", "yes")
        if flag == "--use_xnnpack" and equals:
            asked = "xnnpack" if on else "none"
        for name, kind in _DELEGATE_FLAGS:
            if flag == name and (on or kind == "external"):
                return kind, value if kind == "external" else library
    return asked, library


def _check_accelerator(text: str, rule: OutputRule, name: str) -> str:
    """Checks that the accelerator that the command asks for ran the model; says what ran it."""
    evidence = read_evidence(text + "\n")
    asked, library = asked_accelerator(_inner_words(rule.words))
    match = _ACCELERATORS.search(text)
    in_file = _ACCELERATORS_JSON.search(text)
    if evidence.placement is not None or (match is None and in_file is None):
        check_delegate(evidence, asked, rule.allow_partial, name, library)
        return evidence.kinds()
    # litert-benchmark says which accelerators it may use, and counts no nodes.
    first, *others = re.findall(r"[A-Z]+", match[1] if match else in_file[1] if in_file else "")
    # Without its log nobody knows whether it fell back.
    fell_back = bool(others) and (match is None or bool(evidence.created))
    partly = fell_back or bool(_PARTLY.search(text))
    if first != "CPU" and partly and not rule.allow_partial:
        raise ProfilingError(
            f"litert-benchmark was asked for the {first} on {name}, and the CPU may have run a "
            "part of the model or all of it: 'Created TensorFlow Lite XNNPACK delegate' and "
            "'Fully accelerated: False' are signs of it. Add --require_full_delegation to the "
            "command, or measure the CPU. --option delegate_partial=allow accepts a mixed time."
        )
    return " and ".join((first, *others)) if partly else first


def _inner_words(words: Sequence[str]) -> list[str]:
    """The words of a command and of the command lines inside its words, as behind ``ssh``."""
    found: list[str] = []
    for word in words:
        try:
            found += shlex.split(word) if " " in word else [word]
        except ValueError:
            found.append(word)
    return found
