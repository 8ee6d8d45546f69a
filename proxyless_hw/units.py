"""Conversion and formatting of times, counts and other costs, and how JSON names their unit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping


def ms_from_us(microseconds: float) -> float:
    """Converts microseconds to milliseconds."""
    return microseconds / 1e3


def ms_from_ns(nanoseconds: float) -> float:
    """Converts nanoseconds to milliseconds."""
    return nanoseconds / 1e6


def format_ms(value_ms: float) -> str:
    """Formats a latency with three significant digits: ``812 µs``, ``7.42 ms``, ``1.20 s``."""
    magnitude = abs(value_ms)
    if magnitude >= 1e3:
        return f"{value_ms / 1e3:.2f} s"
    if magnitude >= 100:
        return f"{value_ms:.0f} ms"
    if magnitude >= 10:
        return f"{value_ms:.1f} ms"
    if magnitude >= 1:
        return f"{value_ms:.2f} ms"
    return f"{value_ms * 1e3:.3g} µs"


def format_value(value: float, unit: str) -> str:
    """Formats a value with its unit: latencies as `format_ms`, others as ``7.42 mJ``."""
    return format_ms(value) if unit == "ms" else f"{value:.4g} {unit}"


def in_unit(figures: Mapping[str, object], unit: str) -> dict[str, object]:
    """Figures of one unit for JSON, with the unit; in milliseconds also under ``NAME_ms``."""
    in_ms = {f"{name}_ms": value for name, value in figures.items()} if unit == "ms" else {}
    return {"unit": unit, **figures, **in_ms}


def figure_key(document: Mapping[str, object], name: str) -> str:
    """The key of a figure that `in_unit` wrote; older files have ``NAME_ms`` alone."""
    return f"{name}_ms" if document.get(name) is None and f"{name}_ms" in document else name


def format_count(value: float) -> str:
    """Formats a count with a decimal suffix: ``4.08 M``, ``320.43 M``, ``1.21 G``."""
    for limit, suffix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.2f}{suffix}"
    return f"{value:g}"


def parse_count(text: str) -> float:
    """Parses ``320M``, ``1.2G``, ``5000``.

    Raises:
        ValueError: the text is not a number with an optional suffix k, M or G.
    """
    stripped = text.strip().replace(" ", "")
    scale = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}.get(stripped[-1:], 1.0)
    return float(stripped[:-1] if scale != 1.0 else stripped) * scale


def format_bytes(value: float) -> str:
    """Formats a number of bytes with a decimal suffix: ``512 B``, ``320.00 kB``, ``4.12 MB``."""
    text = format_count(value)
    return f"{text}B" if " " in text else f"{text} B"


def parse_bytes(text: str) -> float:
    """Parses ``512KB``, ``1.5 MB``, ``320KiB``, ``320000`` into bytes.

    Suffixes are decimal, with or without the B and whatever their case (k 1000, M 1000², G 1000³),
    unless an i says that they are binary (Ki 1024, Mi 1024², Gi 1024³).

    Raises:
        ValueError: the text is not a number with such a suffix.
    """
    found = re.fullmatch(
        r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)(?:([kmg])(i?))?b?", text.strip().replace(" ", "").lower()
    )
    if found is None:
        raise ValueError(f"no number of bytes: {text[:40]!r}")
    base = 1024.0 if found[3] else 1000.0
    return float(found[1]) * math.pow(base, " kmg".index(found[2] or " "))


def parse_duration(text: str) -> float:
    """Parses ``90``, ``90s``, ``15m``, ``1.5h``, ``1h30m`` into seconds; a bare number is seconds.

    Raises:
        ValueError: the text is not made of positive numbers with the suffixes h, m and s, in turn.
    """
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    found = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", text.strip())
    parts = [0.0] if found is None else [float(part or 0) for part in found.groups()]
    seconds = sum(part * scale for part, scale in zip(parts, (3600, 60, 1), strict=False))
    if seconds <= 0:
        raise ValueError(f"no duration: {text[:40]!r}")
    return seconds


def format_duration(seconds: float) -> str:
    """Formats a duration for people: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
