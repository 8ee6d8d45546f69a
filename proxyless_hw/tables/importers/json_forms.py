"""Ways to write rows in JSON and in lines of dicts, as lists of objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.storage.documents import json_of, parse_json

_NNI_KEY: Final = re.compile(r"""["']op_latency["']\s*:""")


def dict_lines(text: str) -> list[tuple[int, str]] | None:
    """The numbered lines of a text in which every line is a dict; None for any other text.

    One line alone may be a whole JSON document: it counts where Python or NNI wrote it.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    filled = [(number, line) for number, line in lines if line]
    if not all(line[0] == "{" and line[-1] == "}" for _, line in filled):
        return None
    alone = len(filled) == 1 and not filled[0][1].startswith("{'") and not is_nni(filled)
    return None if alone or not filled else filled


def is_nni(lines: list[tuple[int, str]]) -> bool:
    """Whether lines of dicts are those of NNI."""
    return _NNI_KEY.search(lines[0][1]) is not None


def parse_lines(lines: list[tuple[int, str]], source: str) -> Iterator[tuple[int, object]]:
    """The dicts of lines: JSON, or Python's way to write texts, numbers and tuples.

    Raises:
        TableError: a line is neither; it is named.
    """
    for number, line in lines:
        yield number, parse_json(json_of(line), TableError, f"{source}, line {number}")


def listed(document: object) -> list[object] | None:
    """The rows that a JSON or YAML document holds, as a list of objects; None where it holds none.

    Read are a list of objects; the same as the one list among an object's fields; and pandas's
    forms ``split`` (columns and data) and ``columns`` (a column's name to its values).
    """
    if isinstance(document, list):
        return document if _are_objects(document) else None
    if not isinstance(document, dict):
        return None
    names, data = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(data, list):
        rows = [row for row in data if isinstance(row, list) and len(row) == len(names)]
        return [dict(zip(names, row, strict=True)) for row in rows] if rows == data else None
    if "op" in document:
        return _of_columns(document)
    inner = [value for value in document.values() if isinstance(value, list)]
    return inner[0] if len(inner) == 1 and _are_objects(inner[0]) else None


def _are_objects(items: list[object]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items)


def _of_columns(document: dict[str, object]) -> list[object] | None:
    """Rows of an object of columns, each a list, or an object from index to value."""
    columns = {
        name: list(values.values()) if isinstance(values, dict) else values
        for name, values in document.items()
    }
    lengths = {len(values) for values in columns.values() if isinstance(values, list)}
    if len(lengths) != 1 or not all(isinstance(values, list) for values in columns.values()):
        return None
    return [
        {name: values[place] for name, values in columns.items() if isinstance(values, list)}
        for place in range(lengths.pop())
    ]
