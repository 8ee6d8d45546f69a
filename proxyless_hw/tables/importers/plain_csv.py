"""A plain CSV with a row an op: columns are mapped to ours by name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Final

from proxyless_hw.errors import TableError, did_you_mean
from proxyless_hw.space.specs import LayerSpec, OpSpec
from proxyless_hw.storage.documents import read_text
from proxyless_hw.tables.csv_format import COLUMNS, SCHEMA, UNITS, RowParser
from proxyless_hw.tables.table import Entry, LatencyTable

SCALES: Final[dict[str, tuple[str, int]]] = {
    # unit: (metric, power of ten that takes it to the metric's own unit)
    "ns": ("latency", -6),
    "us": ("latency", -3),
    "ms": ("latency", 0),
    "s": ("latency", 3),
    "uJ": ("energy", -3),
    "mJ": ("energy", 0),
    "J": ("energy", 3),
    "kB": ("memory", -3),
    "MB": ("memory", 0),
}
_DEFAULTS: Final = {"kernel": "1", "stride": "1", "expand": "1", "skip": "0", "se": "0"}
MAX_COLUMNS: Final = 1000
_MEASURED: Final = ("value", "ci_low", "ci_high", "p90", "min")
_NEEDED: Final = ("op", "in_h", "in_w", "in_c", "out_c", "value")


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """How a plain CSV is read.

    Attributes:
        columns: our column to the file's; columns of our own names need no entry.
        constants: our column to one value for every row, where the file has no such column.
        unit: unit of the measured columns: one of `SCALES`.

    Raises:
        TableError: a column or the unit is unknown.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    unit: str = "ms"

    def __post_init__(self) -> None:
        for name in (*self.columns, *self.constants):
            if name not in COLUMNS:
                raise TableError(
                    f"a table has no column '{name[:60]}'.{did_you_mean(name, COLUMNS)} "
                    f"Map one of: {', '.join(COLUMNS)}."
                )
        if self.unit not in SCALES:
            raise TableError(
                f"the unit must be one of {', '.join(SCALES)}: received {self.unit[:20]!r}."
            )


def read_plain_csv(path: Path, mapping: ColumnMap) -> LatencyTable:
    """Reads a CSV of another tool.

    Output sizes follow from the layer where the file does not give them. Values of another unit
    are scaled in decimal, so ``1234.5`` us is the same number as ``1.2345`` ms.

    Raises:
        TableError: a rule is broken; file, line, column and value are named.
    """
    text = read_text(path, TableError, "table")
    return parse_plain_csv(text, mapping, str(path))


def parse_plain_csv(text: str, mapping: ColumnMap, source: str) -> LatencyTable:
    """As `read_plain_csv`, from text.

    Raises:
        TableError: a rule is broken.
    """
    metric = SCALES[mapping.unit][0]
    rows = _rows(text, source)
    line, names = next(rows, (0, [""]))
    names = [name.strip() for name in names]
    if len(names) > MAX_COLUMNS:
        raise TableError(f"{source}, line {line} names {len(names)} columns, over {MAX_COLUMNS}.")
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"{source}, line {line} repeats the column name {name[:60]!r}.")
    if not line or names[0].startswith("#"):
        raise TableError(
            f"{source}: is neither a table (its header would say '# schema: {SCHEMA}') nor a plain "
            "CSV (a row of column names, then a row an op)."
        )
    picks = _picks(names, mapping, source, line)
    parser = RowParser(source)
    entries: dict[OpSpec, Entry] = {}
    first_line: dict[OpSpec, int] = {}
    for parser.line, cells in rows:
        if len(cells) != len(names):
            parser.fail(f"has {len(cells)} cells where the column names have {len(names)}")
        row = _row(cells, picks, mapping, parser)
        op = parser.op(row)
        if op in entries:
            parser.fail(f"repeats the op of line {first_line[op]} ({op}); each op stands once")
        entries[op], first_line[op] = parser.entry(row), parser.line
    if not entries:
        raise TableError(f"{source} has no rows; a table holds at least one op.")
    metadata = {"metric": metric, "unit": UNITS[metric], "source": Path(source).name}
    return LatencyTable(entries, metadata, source)


def _rows(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as cause:
        raise TableError(f"{source}, line {reader.line_num} is not CSV ({cause}).") from cause


def _picks(names: list[str], mapping: ColumnMap, source: str, line: int) -> dict[str, int]:
    """Where the file holds each of our columns."""
    picks = {}
    for ours in COLUMNS:
        theirs = mapping.columns.get(ours, ours)
        if theirs in names:
            picks[ours] = names.index(theirs)
        elif ours in mapping.columns:
            raise TableError(
                f"{source}, line {line} has no column '{theirs[:60]}' to map to {ours}."
                f"{did_you_mean(theirs, names)} It has: {', '.join(names)[:400]}."
            )
    for ours in _NEEDED:
        if ours not in picks and ours not in mapping.constants:
            raise TableError(
                f"{source}, line {line} has no column '{ours}'. Say which one it is: "
                f"--map {ours}=COLUMN, or give one value for all rows: --set {ours}=VALUE. "
                f"It has: {', '.join(names)[:400]}."
            )
    return picks


def _row(
    cells: list[str], picks: Mapping[str, int], mapping: ColumnMap, parser: RowParser
) -> dict[str, str]:
    row = dict.fromkeys(COLUMNS, "") | _DEFAULTS | dict(mapping.constants)
    row |= {name: cells[place].strip() for name, place in picks.items()}
    if row["op"] != "mbconv" and "expand" not in picks:
        row["expand"] = "1"  # one value for all rows speaks of the blocks that expand
    row["act"] = row["act"] or _usual_activation(row["op"])
    for name in _MEASURED:
        row[name] = _scaled(row[name], SCALES[mapping.unit][1])
    if not row["out_h"] or not row["out_w"]:
        height, width = _output_size(row, parser)
        row["out_h"] = row["out_h"] or str(height)
        row["out_w"] = row["out_w"] or str(width)
    return row


def _usual_activation(op: str) -> str:
    """ReLU6 where an op has an activation at all: the one of MobileNetV2 and ProxylessNAS."""
    return "relu6" if op in ("conv", "mbconv") else "none"


def _scaled(text: str, power: int) -> str:
    """The number times 10**power, in decimal; what is no number is left for the parser to name."""
    try:
        return str(Decimal(text).scaleb(power)) if text and power else text
    except DecimalException:
        return text


def _output_size(row: Mapping[str, str], parser: RowParser) -> tuple[int, int]:
    op = parser.op({**row, "out_h": "1", "out_w": "1"})
    layer = LayerSpec(op.op, op.in_c, op.out_c, kernel=op.kernel, stride=op.stride)
    return layer.output_size(op.in_h, op.in_w)
