"""What changed between two tables, beyond what their own noise explains."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.anchors import anchors_of
from proxyless_hw.tables.entry import OPTION_KEYS, SETTING_KEYS, Entry

if TYPE_CHECKING:
    from pandas import DataFrame

    from proxyless_hw.tables.table import LatencyTable

Verdict = Literal["higher", "lower", "same", "unknown"]

FALSE_DISCOVERY_RATE: Final = 0.05
"""Expected share of false finds among the ops that are called changed."""

_Z95: Final = statistics.NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class OpChange:
    """One op in two tables.

    Attributes:
        op: the op.
        before, after: its two values, in the tables' unit.
        p_value: two-sided, that both have one true value; None where an interval is missing.
        verdict: ``higher`` or ``lower`` where the change is significant over all ops compared,
            ``same`` where it is not, ``unknown`` where an interval is missing.
    """

    op: OpSpec
    before: float
    after: float
    p_value: float | None
    verdict: Verdict

    @property
    def change(self) -> float:
        """Relative change: 0.1 for a tenth more."""
        return self.after / self.before - 1


@dataclass(frozen=True, slots=True)
class TableDiff:
    """The comparison of two tables.

    Attributes:
        changes: every op that both hold, in the first table's order.
        only_before, only_after: ops that one of them lacks.
        settings: setting keys that differ, key to the two texts.
        machine_speed: how fast the machine was at the second table relative to the first, as their
            anchors show; None where values are compared as they are.
    """

    changes: tuple[OpChange, ...]
    only_before: tuple[OpSpec, ...]
    only_after: tuple[OpSpec, ...]
    settings: dict[str, tuple[str, str]]
    machine_speed: float | None = None

    @property
    def median_absolute_change(self) -> float | None:
        """Median of the ops' absolute relative changes; None without a shared op."""
        sizes = [abs(change.change) for change in self.changes]
        return statistics.median(sizes) if sizes else None

    def to_pandas(self) -> DataFrame:
        """One row per op that both tables hold, in the first table's order.

        Columns: what describes the op, ``before`` and ``after`` in the tables' unit, ``change``
        (0.1 for a tenth more), ``p_value``, ``verdict`` and ``significant`` (whether the verdict
        is ``higher`` or ``lower``).
        """
        from proxyless_hw.tables.frame import frame_of_changes

        return frame_of_changes(self.changes)


def differing_settings(before: LatencyTable, after: LatencyTable) -> dict[str, tuple[str, str]]:
    """The setting keys on which two tables disagree, key to the two texts."""
    first, second = before.setting, after.setting
    found = {key: (first[key], second[key]) for key in SETTING_KEYS if first[key] != second[key]}
    for key in OPTION_KEYS:
        one, two = before.metadata.get(key), after.metadata.get(key)
        if one is not None and two is not None and one != two:
            found[key] = (one, two)
    return found


def compare(
    before: LatencyTable,
    after: LatencyTable,
    *,
    force: bool = False,
    at_table_speed: bool = False,
) -> TableDiff:
    """Compares two tables op by op.

    An op's two intervals give the standard error of its log ratio; the p-values of all ops are
    then judged together by Benjamini and Hochberg's procedure (JRSS B, 1995), so that a hundred
    unchanged ops do not show five changes by chance.

    Args:
        before, after: the tables.
        force: compares them although their settings differ (two devices, say). Two runtimes of one
            device are compared without it.
        at_table_speed: brings the second table to the first one's speed of the machine by the
            anchors that both have. Only for tables of one setting.

    Raises:
        TableError: the settings differ and `force` is not set; the metrics differ; the tables
            share no op; or they share no anchors and are to be compared at table speed.
    """
    if not isinstance(after, type(before)):
        raise TableError(
            f"a table is compared with a table: received {type(after).__name__}. Load it first: "
            "LatencyTable.load(...)."
        )
    settings = differing_settings(before, after)
    if before.metric != after.metric:
        raise TableError(
            f"only tables of one metric can be compared: '{before.name}' holds {before.metric}, "
            f"'{after.name}' {after.metric}."
        )
    others = {key: texts for key, texts in settings.items() if key != "runtime"}
    if others and not force:
        raise TableError(
            f"only tables of one setting are compared: {settings_text(others)}. "
            "Compare them all the same with --force."
        )
    shared = [op for op in before.entries if op in after.entries]
    if not shared:
        raise TableError(
            f"'{before.name}' and '{after.name}' share no op. Are they of the same space and "
            "resolution? See: proxyless-hw table show"
        )
    level = 0.0
    if at_table_speed:
        level = _level(before, after, settings)
        before, after = _without_level(before, 1.0), _without_level(after, math.exp(-level))
    p_values = [_p_value(before.entries[op], after.entries[op]) for op in shared]
    limit = _discovery_limit([value for value in p_values if value is not None])
    changes = []
    for op, p_value in zip(shared, p_values, strict=True):
        first, second = before.entries[op].value, after.entries[op].value
        changes.append(
            OpChange(op, first, second, p_value, _verdict(first, second, p_value, limit))
        )
    return TableDiff(
        changes=tuple(changes),
        only_before=tuple(op for op in before.entries if op not in after.entries),
        only_after=tuple(op for op in after.entries if op not in before.entries),
        settings=settings,
        machine_speed=math.exp(-level) if at_table_speed else None,
    )


def _level(
    before: LatencyTable, after: LatencyTable, settings: dict[str, tuple[str, str]]
) -> float:
    """Log of what the anchors cost in the second table to what they cost in the first."""
    if settings:
        raise TableError(
            "only tables of one setting on one machine have a common speed: "
            f"{settings_text(settings)}. Compare raw values: leave --speed table out."
        )
    first, second = anchors_of(before), anchors_of(after)
    shared = [op for op in first if op in second]
    if shared:
        ratios = [math.log(second[op] / first[op]) for op in shared]
    else:
        shared = [op for op in first if op in after.entries]
        ratios = [math.log(after.entries[op].value / before.entries[op].value) for op in shared]
    if not shared:
        raise TableError(
            f"'{before.name}' and '{after.name}' share no anchors (a table that was imported, or "
            "made by an older version, has none). Compare raw values: leave --speed table out."
        )
    return statistics.median(ratios)


def _without_level(table: LatencyTable, factor: float) -> LatencyTable:
    """A table at another speed; its intervals without the error of the level that all share."""
    level = table.level_half_width
    entries = {}
    for op, entry in table.entries.items():
        value = entry.value * factor
        own = entry.half_width
        if own is not None:
            own = math.sqrt(max(0.0, own**2 - level**2))
        entries[op] = Entry(
            value,
            None if own is None else value * (1 - own),
            None if own is None else value * (1 + own),
        )
    return replace(table, entries=entries)


def settings_text(settings: dict[str, tuple[str, str]]) -> str:
    """Differing settings for a message: ``threads is '1' and '2'``."""
    return ", ".join(f"{key} is '{one}' and '{two}'" for key, (one, two) in settings.items())


def _p_value(before: Entry, after: Entry) -> float | None:
    if before.half_width is None or after.half_width is None:
        return None
    error = math.hypot(before.half_width, after.half_width) / _Z95
    difference = abs(math.log(after.value / before.value))
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return math.erfc(difference / error / math.sqrt(2))


def _discovery_limit(p_values: list[float]) -> float:
    """The largest p-value that still counts as a find; below 0 where none does."""
    limit = -1.0
    for rank, value in enumerate(sorted(p_values), start=1):
        if value <= FALSE_DISCOVERY_RATE * rank / len(p_values):
            limit = value
    return limit


def _verdict(before: float, after: float, p_value: float | None, limit: float) -> Verdict:
    if p_value is None:
        return "unknown"
    if p_value > limit:
        return "same"
    return "higher" if after > before else "lower"
