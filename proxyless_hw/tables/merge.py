"""Joining tables that were measured under one setting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

MUST_AGREE: Final = (
    *SETTING_KEYS,
    *("unit", "statistic", "visit_statistic", "device_kind", "runtime_version", "fingerprint"),
)
"""Header keys that make two measurements comparable; one table never mixes two of them."""


def merge(tables: Sequence[LatencyTable], name: str = "merged") -> LatencyTable:
    """Joins the rows of tables.

    Rows keep the order of the tables. Header keys on which all agree are kept; of the others
    ``source`` and ``created`` are joined, ``num_classes`` is the first table's, and the rest
    (quality figures of one run, say) is dropped, since it would be true of no row set here.

    Args:
        tables: at least two.
        name: the name of the result, for messages.

    Raises:
        TableError: a setting differs, or two tables hold one op with different numbers.
    """
    first = tables[0]
    for other in tables[1:]:
        _check_settings(first, other)
    entries: dict[OpSpec, Entry] = {}
    origin: dict[OpSpec, str] = {}
    for table in tables:
        for op, entry in table.entries.items():
            if op in entries and entries[op] != entry:
                raise TableError(
                    f"'{origin[op]}' and '{table.name}' hold different measurements of {op}: "
                    f"{entries[op].value:g} and {entry.value:g} {table.unit}. Measure it once, or "
                    "take it out of one of them."
                )
            entries.setdefault(op, entry)
            origin.setdefault(op, table.name)
    return LatencyTable(entries, _merged_metadata(tables), name)


def _check_settings(first: LatencyTable, other: LatencyTable) -> None:
    for key in MUST_AGREE:
        one, two = first.metadata.get(key, ""), other.metadata.get(key, "")
        if one != two:
            raise TableError(
                f"only tables of one setting can be merged: {key} is '{one}' in '{first.name}' "
                f"and '{two}' in '{other.name}'."
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
