"""Limits of a search beside its first target: sums, and the peak of the activations.

A sum (another table, MACs, parameters, flash) has an expectation and becomes a constraint. A peak
(memory, or a table of peaks such as an NPU's SRAM) has none: candidates that need more than the
limit are taken out of the space instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import SearchError, did_you_mean
from proxyless_hw.predictors.costs import COUNTED, PEAK
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.search.result_rows import read_precision
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Precision, within_memory
from proxyless_hw.space.peaks import PeakWords, within_peaks
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.entry import PEAKS
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import format_bytes, format_value, parse_bytes, parse_count

TABLELESS: Final = frozenset((*COUNTED, PEAK))
"""Limits that need no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimit:
    """The largest peak of the activations that is allowed.

    Attributes:
        limit: in bytes.
        precision: number format of the activations.
        removed: how many candidates of the space need more.
    """

    limit: float
    precision: Precision
    removed: int

    @classmethod
    def from_json(cls, read: ResultFields) -> MemoryLimit:
        """Reads its fields, as config.json holds them.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        return cls(
            limit=read.required("limit"),
            precision=read_precision(read),
            removed=read.count("removed") or 0,
        )

    def sentence(self) -> str:
        """In words: ``memory at most 320.00 kB in int8 (12 candidates need more)``."""
        text = f"memory at most {format_bytes(self.limit)} in {self.precision}"
        return f"{text} ({_need_more(self.removed)})"


def _need_more(removed: int) -> str:
    return (
        f"{removed or 'no'} candidate{'' if removed == 1 else 's'} "
        f"{'needs' if removed == 1 else 'need'} more"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakLimit:
    """The largest peak that is allowed by a table of peaks (`sram`).

    Attributes:
        table: name or path of the table.
        limit: in the table's unit.
        unit: the table's unit.
        removed: how many candidates of the space need more.
    """

    table: str
    limit: float
    unit: str
    removed: int

    @property
    def name(self) -> str:
        """The table's name without its folder, as that of a constraint."""
        return Path(self.table).stem

    @classmethod
    def from_json(cls, read: ResultFields) -> PeakLimit:
        """Reads its fields, as config.json holds them.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        return cls(
            table=read.text("table"),
            limit=read.required("limit"),
            unit=read.text("unit"),
            removed=read.count("removed") or 0,
        )

    def of(self, arch: Architecture) -> float:
        """The peak of a network: the largest of its ops'.

        Raises:
            TableError: the table cannot be read, or lacks ops of the network.
        """
        table = LatencyTable.load(self.table)
        return max(table.entry(op).value for op in arch.ops())

    def applied(
        self, space: SearchSpace, resolution: int | None, num_classes: int | None
    ) -> SearchSpace:
        """The space without what needs more.

        Raises:
            TableError: the table cannot be read, or lacks ops of the space; all are named.
            InfeasibleTargetError, SpaceError: as `within_peaks`.
        """
        table = LatencyTable.load(self.table)
        table.require(space.ops(resolution, num_classes))
        words = PeakWords(
            memory=f"{table.metric} by '{table.name}'",
            text=lambda need: format_value(need, self.unit),
            exact=lambda need: f"{need:.9g} {self.unit}",
        )
        return within_peaks(
            space, self.limit, lambda op: table.entry(op).value, words, resolution, num_classes
        )

    def sentence(self) -> str:
        """In words: ``npu-sram at most 0.4 MB (12 candidates need more)``."""
        return (
            f"{self.name} at most {format_value(self.limit, self.unit)} "
            f"({_need_more(self.removed)})"
        )


def is_peak_table(name: str) -> bool:
    """Whether a limit's name is a table of peaks.

    Raises:
        TableError: it is neither a count nor a table that can be read.
    """
    return name not in TABLELESS and LatencyTable.load(name).metric in PEAKS


def limit_to_peaks(
    space: SearchSpace, limits: Sequence[tuple[str, float]], resolution: int, num_classes: int
) -> tuple[SearchSpace, tuple[PeakLimit, ...], list[tuple[str, float]]]:
    """The space without what tables of peaks rule out, their limits, and the limits that are left.

    Raises:
        TableError: a table cannot be read or lacks ops of the space.
        InfeasibleTargetError, SpaceError: as `within_peaks`.
    """
    peaks: list[PeakLimit] = []
    sums = []
    for name, number in limits:
        if not is_peak_table(name):
            sums.append((name, number))
            continue
        unit = LatencyTable.load(name).unit
        limit = PeakLimit(table=name, limit=number, unit=unit, removed=0)
        before = _candidates(space)
        space = limit.applied(space, resolution, num_classes)
        peaks.append(replace(limit, removed=before - _candidates(space)))
    return space, tuple(peaks), sums


def _candidates(space: SearchSpace) -> int:
    return sum(len(position.candidates) for position in space.positions)


def read_limit(text: str) -> tuple[str, float]:
    """Name and value of a limit: bytes of flash and memory, else a number in the limit's unit.

    Raises:
        SearchError: the text is not such a limit.
    """
    name, equals, value = text.partition("=")
    parse = parse_bytes if name in ("flash", PEAK) else parse_count
    try:
        number = parse(value)
    except ValueError:
        number = 0.0
    if not equals or not number > 0 or not math.isfinite(number):
        raise SearchError(
            "a constraint reads name=value, such as pixel1=80, macs=320M, flash=1MB or "
            f"memory=320KiB: received '{text[:80]}'.{did_you_mean(name, sorted(TABLELESS))}"
        )
    return name, number


def split_limits(texts: Sequence[str]) -> tuple[float | None, list[tuple[str, float]]]:
    """The limit of memory in bytes, None without one, and the limits that are sums.

    Raises:
        SearchError: a text is not a limit, or a name stands twice.
    """
    limits = [read_limit(text) for text in texts]
    names = [name for name, _ in limits]
    for name in names:
        if names.count(name) > 1:
            raise SearchError(f"two constraints are named '{name}'. Give each once.")
    memory = dict(limits).get(PEAK)
    return memory, [(name, number) for name, number in limits if name != PEAK]


def limit_to_memory(
    space: SearchSpace,
    limit: float,
    precision: Precision | None,
    resolution: int,
    num_classes: int,
) -> tuple[SearchSpace, MemoryLimit]:
    """The space without what needs more memory, and the limit.

    Raises:
        SearchError: the precision is not known, or no network stays within the limit.
        SpaceError: the space is a tree, or holds an op of one's own.
    """
    kind = require_precision(precision, PEAK)
    left = within_memory(space, limit, kind, resolution, num_classes)
    removed = _candidates(space) - _candidates(left)
    return left, MemoryLimit(limit=limit, precision=kind, removed=removed)


def require_precision(precision: Precision | None, name: str) -> Precision:
    """The precision in which a limit counts.

    Raises:
        SearchError: it is not known.
    """
    if precision is None:
        raise SearchError(
            f"a limit of {name} counts bytes, and the table's header states no precision of fp32, "
            "fp16 or int8. Give it: --constraint-precision int8"
        )
    return precision
