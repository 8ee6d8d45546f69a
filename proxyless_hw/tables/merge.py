"""Joining tables that were measured under one setting."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.entry import LEVEL_KEY, SETTING_KEYS, Entry
from proxyless_hw.tables.levels import level_half_width

if TYPE_CHECKING:
    from proxyless_hw.tables.table import LatencyTable

MUST_AGREE: Final = (
    *SETTING_KEYS,
    *("unit", "statistic", "visit_statistic", "device_kind", "runtime_version", "fingerprint"),
    *("options",),
)
"""Header keys that make two measurements comparable; one table never mixes two of them."""


Number = TypeVar("Number", int, float)

Preference = Literal["first", "mean"]
"""What to do where tables measured one op differently: keep the first, or take the mean."""


def merge(
    tables: Sequence[LatencyTable], name: str = "merged", prefer: Preference | None = None
) -> LatencyTable:
    """Joins the rows of tables.

    Rows keep the order of the tables. Header keys on which all agree are kept; of the others
    ``source`` and ``created`` are joined, ``num_classes`` is the first table's, and the rest
    (quality figures of one run, say) is dropped, since it would be true of no row set here. Where
    three or more tables hold an op with different numbers, what they differ by in level becomes the
    result's `LatencyTable.level_half_width` (`levels.level_half_width`).

    Args:
        tables: at least two.
        name: the name of the result, for messages.
        prefer: what to do where tables hold one op with different numbers; None refuses them.

    Raises:
        TableError: a setting differs, or two tables hold one op with different numbers and nothing
            is preferred.
    """
    first = tables[0]
    for other in tables[1:]:
        if not isinstance(other, type(first)):
            raise TableError(
                f"tables are merged with tables: received {type(other).__name__}. Load it first: "
                "LatencyTable.load(...)."
            )
        _check_settings(first, other)
    rows: dict[OpSpec, dict[str, Entry]] = {}
    for number, table in enumerate(tables):
        for op, entry in table.entries.items():
            rows.setdefault(op, {})[f"{number}: {table.name}"] = entry
    entries = {op: _chosen(op, found, first.unit, prefer) for op, found in rows.items()}
    metadata = _merged_metadata(tables)
    level = level_half_width([table.entries for table in tables])
    if level is not None and LEVEL_KEY not in metadata:
        metadata[LEVEL_KEY] = f"{level:.4f}"
    return replace(first, entries=entries, metadata=metadata, name=name)


def _chosen(op: OpSpec, found: Mapping[str, Entry], unit: str, prefer: Preference | None) -> Entry:
    """The entry of an op, from the tables that hold it."""
    one, *others = found.values()
    if prefer == "first" or all(other == one for other in others):
        return one
    if prefer == "mean":
        return _mean(list(found.values()))
    (first, before), (second, after) = next(
        pair
        for pair in zip(found.items(), list(found.items())[1:], strict=False)
        if pair[0][1] != pair[1][1]
    )
    raise TableError(
        f"'{first.partition(': ')[2]}' and '{second.partition(': ')[2]}' hold different "
        f"measurements of {op}: {before.value:g} and {after.value:g} {unit}. Choose: --prefer "
        "first keeps the row of the table that is named first, --prefer mean takes the mean. Or "
        "take the op out of one of them."
    )


def _mean(entries: Sequence[Entry]) -> Entry:
    """The mean of several measurements; its interval spans theirs."""
    lows, highs = [e.ci_low for e in entries], [e.ci_high for e in entries]
    known_lows = [low for low in lows if low is not None]
    known_highs = [high for high in highs if high is not None]
    known = len(known_lows) == len(known_highs) == len(entries)
    return Entry(
        value=statistics.fmean(entry.value for entry in entries),
        ci_low=min(known_lows) if known else None,
        ci_high=max(known_highs) if known else None,
        min=_reduced(min, [entry.min for entry in entries]),
        rounds=_reduced(sum, [entry.rounds for entry in entries]),
        samples=_reduced(sum, [entry.samples for entry in entries]),
    )


def _reduced(how: Callable[[list[Number]], Number], values: list[Number | None]) -> Number | None:
    """What `how` makes of the values; None where one of them is unknown."""
    known = [value for value in values if value is not None]
    return how(known) if len(known) == len(values) else None


def _check_settings(first: LatencyTable, other: LatencyTable) -> None:
    for key in MUST_AGREE:
        one, two = first.metadata.get(key, ""), other.metadata.get(key, "")
        if one != two:
            raise TableError(
                f"only tables of one setting can be merged: {key} is '{one}' in '{first.name}' "
                f"and '{two}' in '{other.name}'."
            )
    for key in ("cache", "delegate"):
        # A table may not tell them, and the amount of a cache differs with the resolution.
        told = [table.metadata.get(key, "").partition(" ")[0] for table in (first, other)]
        if all(told) and told[0] != told[1]:
            raise TableError(
                f"only tables of one setting can be merged: {key} is '{told[0]}' in "
                f"'{first.name}' and '{told[1]}' in '{other.name}'."
            )


def _merged_metadata(tables: Sequence[LatencyTable]) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for key in dict.fromkeys(key for table in tables for key in table.metadata):
        values = list(
            dict.fromkeys(table.metadata[key] for table in tables if key in table.metadata)
        )
        if len(values) == 1 and all(key in table.metadata for table in tables):
            metadata[key] = values[0]
        elif key in ("source", "created"):
            metadata[key] = "; ".join(values)
        elif key == "num_classes":
            metadata[key] = tables[0].metadata.get(key, values[0])
    return metadata
