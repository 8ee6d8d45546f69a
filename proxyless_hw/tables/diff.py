"""What changed between two tables, beyond what their own noise explains."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Final, Literal

from proxyless_hw.errors import TableError
from proxyless_hw.specs import OpSpec
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

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
    """

    changes: tuple[OpChange, ...]
    only_before: tuple[OpSpec, ...]
    only_after: tuple[OpSpec, ...]
    settings: dict[str, tuple[str, str]]

    @property
    def median_absolute_change(self) -> float | None:
        """Median of the ops' absolute relative changes; None without a shared op."""
        sizes = [abs(change.change) for change in self.changes]
        return statistics.median(sizes) if sizes else None


def differing_settings(before: LatencyTable, after: LatencyTable) -> dict[str, tuple[str, str]]:
    """The setting keys on which two tables disagree, key to the two texts."""
    first, second = before.setting, after.setting
    return {key: (first[key], second[key]) for key in SETTING_KEYS if first[key] != second[key]}


def compare(before: LatencyTable, after: LatencyTable, *, force: bool = False) -> TableDiff:
    """Compares two tables op by op.

    An op's two intervals give the standard error of its log ratio; the p-values of all ops are
    then judged together by Benjamini and Hochberg's procedure (JRSS B, 1995), so that a hundred
    unchanged ops do not show five changes by chance.

    Args:
        before, after: the tables.
        force: compares them although their settings differ (two devices, say).

    Raises:
        TableError: the settings differ and `force` is not set; the metrics differ; or the tables
            share no op.
    """
    settings = differing_settings(before, after)
    if before.metric != after.metric:
        raise TableError(
            f"only tables of one metric can be compared: '{before.name}' holds {before.metric}, "
            f"'{after.name}' {after.metric}."
        )
    if settings and not force:
        raise TableError(
            f"only tables of one setting are compared: {settings_text(settings)}. "
            "Compare them all the same with --force."
        )
    shared = [op for op in before.entries if op in after.entries]
    if not shared:
        raise TableError(
            f"'{before.name}' and '{after.name}' share no op. Are they of the same space and "
            "resolution? See: proxyless-hw table show"
        )
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
    )


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
