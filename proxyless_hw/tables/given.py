"""Tables and spaces that are given as objects or by name."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.errors import SpaceError, TableError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable


def table_of(table: LatencyTable | str | Path) -> LatencyTable:
    """A table, or what a shipped name or a path names.

    Raises:
        TableError: nothing of that name, a malformed file, or something that is no table.
    """
    if isinstance(table, str | Path):
        return LatencyTable.load(table)
    if not isinstance(table, LatencyTable):
        raise TableError(
            f"a table is a LatencyTable, a shipped name or a path: received {type(table).__name__}."
        )
    return table


def space_of(space: SearchSpace | str | Path) -> SearchSpace:
    """A space, or what a shipped name or a path names.

    Raises:
        SpaceError: nothing of that name, a malformed file, or something that is no space.
    """
    if isinstance(space, str | Path):
        return SearchSpace.load(space)
    if not isinstance(space, SearchSpace):
        raise SpaceError(
            f"a space is a SearchSpace, a shipped name or a path: received {type(space).__name__}."
        )
    return space
