"""Numbers and units as a tool prints them. A number is taken only with the unit it was printed in.

A tool may change its unit with the size of what it prints: OpenVINO's ``benchmark_app`` prints
80.36 us for an op and 19.69 ms for a network in the same line. So the unit is read beside every
number, and a number without one is taken only where a person has said which it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.device_options import TimeUnit

Unit = TimeUnit

_MILLISECONDS: Final[dict[Unit, float]] = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
_SPELLINGS: Final[dict[str, Unit]] = {
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("us", "usec", "usecs", "µs", "μs", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
}
_ANY_UNIT = "|".join(sorted(_SPELLINGS, key=len, reverse=True))

_NUMBER = r"[+-]?(?:[0-9]+(?:[.,][0-9]+)*\.?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_PLAIN = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
# Not inside a word, a version, a time of day or a longer number.
_ALONE = re.compile(rf"(?<![\w.,])(?<![0-9]:)(?<![0-9][+-])({_NUMBER})(?![0-9])")
_UNIT_AFTER = re.compile(rf"\s*({_ANY_UNIT})(?![\w^⁻])(?!-1)")
# A word behind a number is a unit of its own: 12 MB, 5 runs.
_BARE = re.compile(r"\s*(?:$|[,;()\]])")
_UNIT_BEFORE = re.compile(rf"(?:[(\[_]|\bin\s+)({_ANY_UNIT})(?=[)\]\s:=,_]|$)")
# Two numbers with one unit behind the second: a range, a spread, a list, minutes and seconds.
_JOINED = re.compile(r"[0-9]\.?\s*(?:±|\+/-|\+-|[-–/,;~|x]|\.\.+|to|m|min|h)?\s*$")
_OTHER_TIME = re.compile(
    r"(?i)\b(?:total|elapsed|duration|wall\w*|warm\w*|init\w*|load\w*|compil\w*|creat\w*|start\w*"
    r"|timeout|limit|std\w*|deviation|min|max|minimum|maximum|first|p9\d\w*|9\d(?:th|%))"
)
_MEDIAN = re.compile(r"(?i)median|(?<![a-z0-9])p50(?![0-9])")
_MEAN = re.compile(r"(?i)(?<![a-z])(?:mean|avg|average)(?![a-z])")


@dataclass(frozen=True, slots=True)
class PrintedTime:
    """A time as a tool printed it.

    Attributes:
        ms: in milliseconds.
        unit: the unit it was printed in.
        text: number and unit as printed, or as given by --unit.
        line: the line it stands in.
        statistic: ``median`` or ``mean`` where the line says so, else ``as printed``.
        rounded_ms: the worth of the last digit printed.
    """

    ms: float
    unit: Unit
    text: str
    line: str
    statistic: str
    rounded_ms: float


def unit_named(text: str) -> Unit | None:
    """The unit of a spelling: ``us``, ``usec``, ``µs``, ``Microseconds``; None for another word."""
    return _SPELLINGS.get(text) or (_SPELLINGS.get(text.lower()) if len(text) > 2 else None)


def in_ms(value: float, unit: Unit) -> float:
    """Converts a time to milliseconds."""
    return value * _MILLISECONDS[unit] if unit != "us" else value / 1e3


def number_of(text: str) -> float | None:
    """The positive, finite number that a text is; None for anything else (1,234 too)."""
    if not _PLAIN.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) and value > 0 else None


def printed_time(number: str, unit: Unit, line: str, before: str, what: str) -> PrintedTime:
    """A time from its parts.

    Args:
        number: the number's text.
        unit: its unit.
        line: where it stands.
        before: what stands before it, up to the last other number.
        what: names the source in messages.

    Raises:
        ProfilingError: the text is no number above 0.
    """
    value = number_of(number)
    if value is None:
        raise ProfilingError(
            f"{what} must be a time above 0 with a decimal point and no other separator: found "
            f"{number[:60]!r} in {shown(line)!r}."
        )
    said = "median" if _MEDIAN.search(before) else "mean" if _MEAN.search(before) else "as printed"
    return PrintedTime(
        ms=in_ms(value, unit),
        unit=unit,
        text=f"{number} {unit}",
        line=line,
        statistic=said,
        rounded_ms=in_ms(_last_digit(number), unit),
    )


def _last_digit(number: str) -> float:
    mantissa, _, exponent = number.lower().partition("e")
    _, _, decimals = mantissa.partition(".")
    return 10.0 ** (int(exponent or 0) - len(decimals))


def unit_after(line: str, end: int) -> Unit | None:
    """The unit printed behind a number that ends at a place of a line."""
    match = _UNIT_AFTER.match(line, end)
    return unit_named(match[1]) if match else None


def unit_before(before: str) -> Unit | None:
    """The unit that the label of a number names, as in ``latency_ms=`` or ``Time (us):``.

    Args:
        before: what stands before the number, up to the last other number.
    """
    named = {unit_named(match[1]) for match in _UNIT_BEFORE.finditer(before)}
    return named.pop() if len(named) == 1 else None


def label_before(line: str, start: int) -> str:
    """What stands before a place of a line, from the last other number on."""
    last = 0
    for match in _ALONE.finditer(line, 0, start):
        last = match.end()
    return line[last:start]


def only_time(text: str, unit: Unit | None, program: str, name: str) -> PrintedTime:
    """The one time that an output holds.

    Args:
        text: what the tool printed.
        unit: the unit that --unit gives; with it a number without a unit counts too.
        program: the tool, for messages.
        name: the model, for messages.

    Raises:
        ProfilingError: there is no time, there are several, or it may be another than the latency.
    """
    lines = text.splitlines()
    found = list(_times(lines))
    if not found and unit is not None:
        found = [
            (match[1], unit, line, match.start(1))
            for line in lines
            for match in _ALONE.finditer(line)
            if _BARE.match(line, match.end(1))
        ]
    if not found:
        raise ProfilingError(
            f"'{program}' printed no number with a unit of time on {name}. It ended with: "
            f"{shown(last_line(text))!r}. Name the number: --pattern, and its unit: --unit."
        )
    if len({(number, own) for number, own, _, _ in found}) > 1:
        listed = "; ".join(
            repr(shown(line)) for line in dict.fromkeys(line for _, _, line, _ in found)
        )
        raise ProfilingError(
            f"'{program}' printed {len(found)} numbers on {name} that may be its latency: "
            f"{listed[:600]}. Name the right one: --pattern 'WORDS ([0-9.]+) (?P<unit>us|ms)'."
        )
    number, own, line, start = found[-1]
    label = label_before(line, start)
    segment = re.split(r"[,;|]", line[:start])[-1]
    if _JOINED.search(line[:start]) or _OTHER_TIME.search(segment):
        raise ProfilingError(
            f"'{program}' printed one time on {name}, which may be another than its latency: "
            f"{shown(line)!r}. Name the right number: --pattern."
        )
    check_same_unit(own, unit, line)
    return printed_time(number, own, line, label, f"what '{program}' prints on {name}")


def _times(lines: Sequence[str]) -> Iterator[tuple[str, Unit, str, int]]:
    """Every number with a unit of time behind it: number, unit, line, place in the line."""
    for line in lines:
        for match in _ALONE.finditer(line):
            own = unit_after(line, match.end(1))
            if own is not None:
                yield match[1], own, line, match.start(1)


def check_same_unit(printed: Unit, given: Unit | None, line: str) -> None:
    """Checks that --unit does not contradict what is printed.

    Raises:
        ProfilingError: it does.
    """
    if given is not None and printed != given:
        raise ProfilingError(
            f"--unit says {given}, and the tool printed {printed}: {shown(line)!r}. Leave --unit "
            "out: the unit is read with each number."
        )


def cuts_a_number(line: str, start: int, end: int) -> bool:
    """Whether a part of a line is a part of a longer number: 234 of 1,234 or 5 of -5 or of 1e-5."""
    before, number, after = line[:start], line[start:end], line[end:]
    if re.search(r"[0-9.]$|[0-9][eE][+-]?$|(?:^|[\s=:(\[])-$", before):
        return True
    if re.match(rf"[0-9]|\.[0-9]|[eE][+-]?[0-9]|,[0-9]+\s*(?:{_ANY_UNIT})\b", after):
        return True
    thousands = re.search(r"(?<![0-9.])[0-9]{1,3},$", before) and re.match(
        r"[0-9]{3}(?![0-9])", number
    )
    return bool(thousands) or bool(
        re.fullmatch(r"[0-9]{1,3}", number) and re.match(r",[0-9]{3}(?![0-9])", after)
    )


def last_line(text: str) -> str:
    """The last line that is not blank."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing)"


def shown(line: str) -> str:
    """A line without control characters, for messages."""
    text = line.strip()[:200]
    return "".join(character if character.isprintable() else "?" for character in text)
