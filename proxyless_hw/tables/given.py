"""Tables and spaces that are given as objects or by name."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from proxyless_hw.errors import ProxylessHwError, SpaceError, TableError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

Loaded = TypeVar("Loaded", LatencyTable, SearchSpace)


def table_of(table: LatencyTable | str | Path) -> LatencyTable:
    """A table, or what a shipped name or a path names.

    Raises:
        TableError: nothing of that name, a malformed file, or something that is no table.
    """
    return _given(table, LatencyTable, "table", TableError)


def space_of(space: SearchSpace | str | Path) -> SearchSpace:
    """A space, or what a shipped name or a path names.

    Raises:
        SpaceError: nothing of that name, a malformed file, or something that is no space.
    """
    return _given(space, SearchSpace, "space", SpaceError)


def _given(
    given: Loaded | str | Path, kind: type[Loaded], word: str, error: type[ProxylessHwError]
) -> Loaded:
    if isinstance(given, str | Path):
        return kind.load(given)
    if not isinstance(given, kind):
        raise error(
            f"a {word} is a {kind.__name__}, a shipped name or a path: "
            f"received {type(given).__name__}."
        )
    return given
