"""A plain CSV of another tool: separators, column names and an index column are recognised."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.tables.csv_format import SCHEMA
from proxyless_hw.tables.importers.rows import ColumnMap, Row, table_of_rows
from proxyless_hw.tables.table import LatencyTable

_SEPARATORS: Final = ",;\t|"
_BEFORE: Final = re.compile(r"\s*|#(?!\s*schema).*|sep=.")
"""Lines before the column names: empty ones, comments, and the separator that Excel is told."""


def parse_plain_csv(text: str, mapping: ColumnMap, source: str) -> LatencyTable:
    """Reads the text of a CSV: a row of column names, then a row per measurement of an op.

    The separator is the one of comma, semicolon, tab and bar that the first row has most often,
    spaces where it has none of them. Comments (#) and Excel's ``sep=`` before the first row are
    passed over. Where the rows have one cell more than the column names, the first one is an index.

    Raises:
        TableError: a rule is broken; file, line, column and value are named.
    """
    lines = _cells(text, source)
    line, first = next(lines, (0, [""]))
    names = [name.strip() for name in first]
    if not line or names[0].startswith("#"):
        raise TableError(
            f"{source}: is neither a table (its header would say '# schema: {SCHEMA}') nor a plain "
            "CSV (a row of column names, then a row per op)."
        )
    rows = _rows(lines, names, source)
    return table_of_rows(names, rows, mapping, source, header=f"{source}, line {line}")


def _rows(lines: Iterator[tuple[int, list[str]]], names: list[str], source: str) -> Iterator[Row]:
    index: int | None = None
    for line, cells in lines:
        extra = len(cells) - len(names)
        index = extra if index is None and extra in (0, 1) else index
        if extra != index:
            raise TableError(
                f"{source}, line {line} has {len(cells)} cells where the column names have "
                f"{len(names)}."
            )
        yield Row(line, dict(zip(names, cells[index:], strict=True)))


def _cells(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    lines = text.split("\n")
    before = next((place for place, line in enumerate(lines) if not _BEFORE.fullmatch(line)), 0)
    start, rest = lines[before], "\n".join(lines[before:])
    separator = max(_SEPARATORS, key=start.count)
    if separator not in start and len(start.split()) > 1:
        separator, rest = " ", re.sub(r"[^\S\n]+", " ", re.sub(r"(?m)^[^\S\n]+", "", rest))
    reader = csv.reader(io.StringIO(rest), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield before + reader.line_num, cells
    except csv.Error as cause:
        raise TableError(f"{source}, line {reader.line_num} is not CSV ({cause}).") from cause
