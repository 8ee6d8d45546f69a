"""Which form a file has, and the importer that reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.storage.documents import MAX_BYTES, parse_json, parse_yaml, read_text
from proxyless_hw.tables.csv_format import SCHEMA, read_csv
from proxyless_hw.tables.importers.json_forms import dict_lines, is_nni, listed, parse_lines
from proxyless_hw.tables.importers.plain_csv import parse_plain_csv
from proxyless_hw.tables.importers.published import (
    parse_published_yaml,
    published_table,
    spells_an_op,
)
from proxyless_hw.tables.importers.records import parse_nni, parse_records
from proxyless_hw.tables.importers.rows import ColumnMap
from proxyless_hw.tables.table import LatencyTable

_OTHER_FILES: Final = {
    "PK\x03\x04": "a workbook (xlsx) or another archive",
    "PAR1": "a Parquet file",
    "<": "HTML or XML",
}

HEADER_KEYS: Final = (
    *("device", "device_kind", "runtime", "runtime_version", "threads", "batch_size"),
    *("precision", "statistic", "num_classes", "created", "protocol", "fingerprint", "source"),
)
"""Header keys that a user may state about a file that does not say them itself."""


def import_file(
    path: Path, columns: ColumnMap | None = None, header: Mapping[str, str] | None = None
) -> LatencyTable:
    """Reads a table of any known form; its content says which one it is, not its name.

    Args:
        path: the look-up table that ProxylessNAS or Once-for-All published (YAML or JSON), a plain
            CSV, records in JSON or YAML (`listed`), lines of dicts (JSON, Python's or NNI's), or
            our own CSV.
        columns: which column or field holds what, and the unit; for CSV and records only.
        header: header lines to set, as the file itself does not know its device.

    Raises:
        TableError: the form is unknown, or the file breaks a rule; file, line and value are named.
    """
    stated = dict(header or {})
    for key in stated:
        if key not in HEADER_KEYS:
            raise TableError(
                f"no header line '{key[:60]}' can be set. Choose from: {', '.join(HEADER_KEYS)}."
            )
    if is_own_csv(path):
        _refuse_columns(columns, path)
        return read_csv(path).with_metadata(**stated)
    text = read_text(path, TableError, "table")
    return _parse(text, columns, path).with_metadata(**stated)


def _parse(text: str, columns: ColumnMap | None, path: Path) -> LatencyTable:
    source = str(path)
    _refuse_other_files(text, source)
    lines = dict_lines(text)
    if lines is not None:
        items = parse_lines(lines, source)
        if not is_nni(lines):
            return parse_records(items, columns or ColumnMap(), source, "line")
        _refuse_columns(columns, path)
        return parse_nni(items, source)
    is_json = text.lstrip()[:1] in ("{", "[")
    if not is_json and not _looks_like_yaml(text):
        return parse_plain_csv(text, columns or ColumnMap(), source)
    document: object = (parse_json if is_json else parse_yaml)(text, TableError, source)
    records = listed(document)
    if records is not None:
        return parse_records(enumerate(records, start=1), columns or ColumnMap(), source)
    _refuse_columns(columns, path)
    if is_json:
        return published_table(document, source)
    return parse_published_yaml(text, source)


def _refuse_other_files(text: str, source: str) -> None:
    """Refuses what is often saved under a table's name.

    Raises:
        TableError: it is empty, a workbook, or a web page.
    """
    start = text.lstrip()[:64]
    if not start:
        raise TableError(f"{source} is empty; a table holds at least one op.")
    found = next((what for begin, what in _OTHER_FILES.items() if start.startswith(begin)), None)
    if found is not None:
        raise TableError(
            f"{source} is {found}: a table is CSV, JSON or YAML. Save it as CSV and give that."
        )


def _looks_like_yaml(text: str) -> bool:
    """Whether the first line that says something is a key of YAML, or an item of its lists."""
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "---", "%")):
            key = line.rstrip()
            return (
                key.startswith("- ")
                or key.endswith(":")
                or spells_an_op(key.partition(" ")[0])
                or re.match(r"[\w.-]+: !", key) is not None
            )
    return False


def _refuse_columns(columns: ColumnMap | None, path: Path) -> None:
    if columns is not None:
        raise TableError(
            f"{path} says itself what its columns and unit are: --map, --unit and columns to --set "
            "are for a plain CSV and for records."
        )


def is_own_csv(path: Path) -> bool:
    """Whether a file says in its header that it is a table of this schema."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        return True  # only a table of ours may be so large; its own reader has the last word
    head = read_text(path, TableError, "table")[:4096]
    named = (line[1:].partition(":") for line in head.splitlines() if line.startswith("#"))
    return any(key.strip() == "schema" and value.strip() == SCHEMA for key, _, value in named)
