"""What TensorFlow Lite's profiler prints: the table of a model's ops in running order.

LiteRT's runtime and ``benchmark_model --enable_op_profiling=true`` print the same tables. Each row
is an op of the graph, or one that a delegate ran inside (XNNPACK tells them); a delegate that tells
nothing is one row. Rows of one type and number are one: their calls are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from proxyless_hw.errors import ProfilingError

_MS: Final = r"-?\d{1,12}\.\d{1,6}"
_SHARE: Final = r"(?:-?\d{1,12}\.\d{1,6}|-?nan)%"
_TYPE: Final = r"\s*(?P<type>\S.*?)\s+"
_REST: Final = (
    rf"{_MS}\s+(?P<ms>{_MS})\s+(?P<share>{_SHARE})\s+{_SHARE}\s+{_MS}\s+(?P<calls>\d{{1,9}})\s+"
    r"(?P<name>\S.*)"
)
_TITLE: Final = re.compile(r"=+ Run Order =+")
_SUBGRAPH: Final = re.compile(r"Subgraph \(index: (\d{1,6}).*\):")
_DELEGATE_INTERNAL: Final = re.compile(r"Delegate internal:")
_COLUMN: Final = re.compile(r"\[([\w %]+)\]")
_AFTER_TYPE: Final = ("first", "avg ms", "%", "cdf%", "mem KB", "times called", "Name")
_FORMS: Final = {
    ("node type", *_AFTER_TYPE): re.compile(_TYPE + _REST),
    ("node type", "start", *_AFTER_TYPE): re.compile(rf"{_TYPE}{_MS}\s+{_REST}"),
}
"""Rows by the titles of their columns. A type may hold spaces, so numbers are found from it on."""

_DROPPED: Final = "Dropping ProfileBuffer event"
_LONGEST: Final = 2000
_ROUNDING: Final = 0.5
"""How far from 100% the shares of a whole table may add up to."""


@dataclass(frozen=True, slots=True)
class ProfiledOp:
    """One row.

    Attributes:
        op_type: as ``CONV_2D``, or what a delegate calls it.
        name: what the profiler calls it, as ``[logits]:3``.
        ms: mean time of all its calls in one run of the model.
        calls: calls in one run; less than 1 where a run may leave it out.
        inside: the graph it is part of; None for the model's own.
    """

    op_type: str
    name: str
    ms: float
    calls: float
    inside: str | None = None


def parse_op_profile(text: str, source: str, runs: int = 1) -> list[ProfiledOp]:
    """Reads the tables in running order.

    Args:
        text: from the title of the profile on; what comes after the tables is passed over.
        source: names the model in messages.
        runs: runs of the model that the calls in it are of: ``benchmark_model`` gives those of one.

    Raises:
        ProfilingError: there is no table, or it has another form, lacks rows, or was cut off.
    """
    if _DROPPED in text:
        raise ProfilingError(
            f"the profile of {source} lacks ops: the profiler's buffer was too small for them. "
            "Profile a part of the model."
        )
    found: list[ProfiledOp] = []
    inside: str | None = None
    lines = iter(text.replace("\r", "").split("\n"))
    for line in lines:
        if (graph := _SUBGRAPH.search(line)) is not None:
            inside = f"graph {graph[1]}"
        elif _DELEGATE_INTERNAL.search(line):
            inside = "delegate"
        elif _TITLE.search(line):
            found += _table(lines, inside, source, runs)
    if not any(op.inside is None for op in found):
        raise ProfilingError(
            f"there is no table of ops ('Run Order') in the profile of {source}. Was it cut off?"
        )
    return found


def _table(lines: Iterator[str], inside: str | None, source: str, runs: int) -> list[ProfiledOp]:
    """The rows of one table: a line of titles, then a row per line up to an empty one."""
    titles = tuple(_COLUMN.findall(next(lines, "")))
    form = _FORMS.get(titles)
    if form is None:
        known = " or ".join(f"[{'] ['.join(columns)}]" for columns in _FORMS)
        raise ProfilingError(
            f"the table of ops of {source} has columns that are not known: received "
            f"{' '.join(titles)[:200]!r}. Known: {known}."
        )
    found: list[ProfiledOp] = []
    shares = 0.0
    for line in lines:
        if not line.strip():
            break
        row = form.fullmatch(line) if len(line) < _LONGEST else None
        if row is None:
            raise ProfilingError(
                f"a row of the table of ops of {source} cannot be read: {line.strip()[:160]!r}."
            )
        shares += float(row["share"].removesuffix("%"))
        ms, calls = float(row["ms"]), int(row["calls"])
        if ms < 0 or calls < 1:
            raise ProfilingError(
                f"an op took at least 0 ms in at least one call: received {line.strip()[:160]!r} "
                f"in the table of ops of {source}."
            )
        kind = row["type"].removeprefix("Delegate/")
        calls_a_run = calls / runs
        found.append(ProfiledOp(kind, row["name"].strip(), ms * calls_a_run, calls_a_run, inside))
    if any(op.ms for op in found) and not abs(shares - 100) < _ROUNDING:
        raise ProfilingError(
            f"the shares of the ops of {source} add up to {shares:.1f}%, not 100%: rows are "
            "missing. Was the profile cut off?"
        )
    return found
