"""Which form a file has, and the importer that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.storage.documents import MAX_BYTES, read_text
from proxyless_hw.tables.csv_format import SCHEMA, read_csv
from proxyless_hw.tables.importers.plain_csv import ColumnMap, read_plain_csv
from proxyless_hw.tables.importers.published_yaml import read_published_yaml
from proxyless_hw.tables.table import LatencyTable

HEADER_KEYS: Final = (
    *("device", "device_kind", "runtime", "runtime_version", "threads", "batch_size"),
    *("precision", "statistic", "num_classes", "created", "protocol", "fingerprint", "source"),
)
"""Header keys that a user may state about a file that does not say them itself."""


def import_file(
    path: Path, columns: ColumnMap | None = None, header: Mapping[str, str] | None = None
) -> LatencyTable:
    """Reads a table of any known form.

    Args:
        path: the published YAML of ProxylessNAS or Once-for-All, a plain CSV, or our own CSV.
        columns: which column of a plain CSV holds what, and the unit; needed only there.
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
    own = path.suffix not in (".yaml", ".yml") and is_own_csv(path)
    if columns is not None and (own or path.suffix in (".yaml", ".yml")):
        raise TableError(
            f"{path} says itself what its columns and unit are: --map, --unit and columns to --set "
            "are for a plain CSV."
        )
    if own:
        table = read_csv(path)
    elif path.suffix in (".yaml", ".yml"):
        table = read_published_yaml(path)
    else:
        table = read_plain_csv(path, columns or ColumnMap())
    return table.with_metadata(**stated)


def is_own_csv(path: Path) -> bool:
    """Whether a file says in its header that it is a table of this schema."""
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        return True  # only a table of ours may be so large; its own reader has the last word
    head = read_text(path, TableError, "table")[:4096]
    named = (line[1:].partition(":") for line in head.splitlines() if line.startswith("#"))
    return any(key.strip() == "schema" and value.strip() == SCHEMA for key, _, value in named)
