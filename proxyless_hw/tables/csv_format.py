"""The versioned CSV form of a latency table: ``# key: value`` header lines, then rows.

Format history: ``proxyless-hw-table/1`` is the first.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TextIO

from proxyless_hw.errors import TableError, did_you_mean
from proxyless_hw.space.bottlenecks import built_in_options
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_IMAGE_CHANNELS, MAX_RESOLUTION
from proxyless_hw.space.op_options import read_options
from proxyless_hw.space.specs import ACTIVATIONS, OpSpec, format_expand, op_variant
from proxyless_hw.storage.documents import encoding_of
from proxyless_hw.tables.entry import (
    OP_COLUMNS,
    OPTIONS_COLUMN,
    UNITS,
    VALUE_COLUMNS,
    Entry,
    header_text,
)
from proxyless_hw.tables.table import LatencyTable

SCHEMA = "proxyless-hw-table/1"
COLUMNS = (*OP_COLUMNS, *VALUE_COLUMNS)
MAX_BYTES = 512 * 2**20
MAX_ROWS = 2_000_000
MAX_LINE = 100_000
MAX_HEADER = 1000
MAX_COLUMNS = 100
MAX_EXPAND = 64
MAX_VALUE = 1e15
"""Far above any measurement, and low enough that no sum of rows overflows."""

_INTEGERS = {
    "in_h": (1, MAX_RESOLUTION),
    "in_w": (1, MAX_RESOLUTION),
    "in_c": (1, MAX_CHANNELS),
    "out_h": (1, MAX_RESOLUTION),
    "out_w": (1, MAX_RESOLUTION),
    "out_c": (1, MAX_CHANNELS),
    "kernel": (1, 31),
    "stride": (1, 64),
    "se": (0, MAX_CHANNELS),
}


def format_csv(table: LatencyTable) -> str:
    """Writes a table as text. Numbers are written so that reading gives the same ones back."""
    out = io.StringIO()
    out.write(header_text({"schema": SCHEMA, **table.metadata}))
    writer = csv.writer(out, lineterminator="\n")
    with_options = any(op.options for op in table.entries)
    writer.writerow((*OP_COLUMNS, *[OPTIONS_COLUMN] * with_options, *VALUE_COLUMNS))
    for op, entry in table.entries.items():
        writer.writerow(
            [op.op, op.in_h, op.in_w, op.in_c, op.out_h, op.out_w, op.out_c, op.kernel, op.stride]
            + [format_expand(op.expand), int(op.skip), op.act, op.se]
            + [op.options.to_text(";")] * with_options
            + [
                "" if number is None else repr(number)
                for number in (entry.value, entry.ci_low, entry.ci_high, entry.p90, entry.min)
            ]
            + ["" if number is None else number for number in (entry.rounds, entry.samples)]
        )
    return out.getvalue()


def read_csv(path: Path, name: str | None = None) -> LatencyTable:
    """Reads a table file.

    Raises:
        TableError: the file cannot be read or breaks a rule; file, line, column and value named.
    """
    try:
        if path.is_dir():
            raise TableError(f"a table must be a file: {path} is a folder.")
        if path.stat().st_size > MAX_BYTES:
            raise TableError(f"{path}: a table may have at most {MAX_BYTES >> 20} MiB.")
        with path.open("rb") as stream:
            encoding = encoding_of(stream.read(4))
        with path.open(encoding=encoding, newline="") as stream:
            return parse_csv(stream, source=str(path), name=name or str(path))
    except OSError as cause:
        raise TableError(f"cannot read table {path}: {cause.strerror or cause}.") from cause
    except UnicodeDecodeError as cause:
        raise TableError(f"table {path} is not UTF-8 text (byte {cause.start}).") from cause


def parse_csv(stream: TextIO, source: str, name: str = "table") -> LatencyTable:
    """Parses a table from an open text stream.

    Raises:
        TableError: a rule is broken; source, line, column and value are named.
    """
    return RowParser(source).parse(stream, name)


class RowParser:
    """Turns cells of text into ops and entries; `line` is the one that messages name.

    Args:
        source: the file, for messages.
        what: what a place in the file is called.
    """

    def __init__(self, source: str, what: str = "line") -> None:
        self.source = source
        self.what = what
        self.line = 0

    def parse(self, stream: TextIO, name: str) -> LatencyTable:
        lines = self.lines(stream)
        metadata: dict[str, str] = {}
        columns: list[str] | None = None
        for text in lines:
            if text.startswith("#"):
                self.header_line(text, metadata)
                if len(metadata) > MAX_HEADER:
                    self.fail(f"goes past the limit of {MAX_HEADER} header lines")
            elif text.strip():
                columns = self.column_names(text)
                break
        metadata = self.check_header(metadata)
        if columns is None:
            self.fail("has no row of column names")
        entries: dict[OpSpec, Entry] = {}
        first_line: dict[OpSpec, int] = {}
        for cells in self.rows(lines):
            if len(cells) != len(columns):
                self.fail(f"has {len(cells)} cells where the column names have {len(columns)}")
            row = dict(zip(columns, cells, strict=True))
            op = self.op(row)
            if op in entries:
                self.fail(f"repeats the op of line {first_line[op]} ({op}); each op stands once")
            entries[op] = self.entry(row)
            first_line[op] = self.line
            if len(entries) > MAX_ROWS:
                self.fail(f"goes past the limit of {MAX_ROWS} rows")
        if not entries:
            self.fail("has no rows; a table holds at least one op")
        return LatencyTable(entries, metadata, name)

    def lines(self, stream: TextIO) -> Iterator[str]:
        while True:
            text = stream.readline(MAX_LINE + 1)
            if not text:
                return
            self.line += 1
            if len(text) > MAX_LINE:
                self.fail(f"is longer than {MAX_LINE} characters")
            yield text.removesuffix("\n").removesuffix("\r")

    def rows(self, lines: Iterator[str]) -> Iterator[list[str]]:
        for text in lines:
            if not text.strip():
                continue
            if '"' in text:
                try:
                    yield next(csv.reader([text], strict=True))
                except csv.Error as cause:
                    self.fail(f"is not CSV ({cause})")
            else:
                yield text.split(",")

    def header_line(self, text: str, metadata: dict[str, str]) -> None:
        key, colon, value = text[1:].partition(":")
        key = key.strip()
        if not colon or not key:
            self.fail(f"must read '# key: value': received {text[:80]!r}")
        if key in metadata:
            self.fail(f"repeats the header key '{key[:60]}'")
        metadata[key] = value.strip()

    def check_header(self, metadata: dict[str, str]) -> dict[str, str]:
        schema = metadata.pop("schema", None)
        if schema != SCHEMA:
            raise TableError(
                f"{self.source}: the header's schema must be '{SCHEMA}': received "
                f"{(schema or 'none')[:80]!r}. Another form? Try: proxyless-hw table import "
                f"{self.source} --output T.csv"
            )
        metric, _, unit = metadata.get("metric", "").partition(" ")
        unit = metadata.get("unit", unit.strip())
        if metric not in UNITS or unit != UNITS[metric]:
            known = ", ".join(f"{known} in {ms}" for known, ms in UNITS.items())
            raise TableError(
                f"{self.source}: the header's metric must be one of {known}: received "
                f"{metadata.get('metric', 'none')[:60]!r} with unit {unit[:20]!r}."
            )
        classes = metadata.get("num_classes", "1")
        if (
            not classes.isdecimal()
            or len(classes) > len(str(MAX_CHANNELS))
            or not 1 <= int(classes) <= MAX_CHANNELS
        ):
            raise TableError(
                f"{self.source}: the header's num_classes must be a whole number from 1 to "
                f"{MAX_CHANNELS}: received {classes[:60]!r}."
            )
        channels = metadata.get("input_channels", "3")
        if channels not in map(str, range(1, MAX_IMAGE_CHANNELS + 1)):
            raise TableError(
                f"{self.source}: the header's input_channels must be a whole number from 1 to "
                f"{MAX_IMAGE_CHANNELS}: received {channels[:60]!r}."
            )
        return {**metadata, "metric": metric, "unit": unit}

    def column_names(self, text: str) -> list[str]:
        columns = [cell.strip() for cell in text.split(",")]
        if len(columns) > MAX_COLUMNS:
            self.fail(f"has {len(columns)} columns; a table has {len(COLUMNS)}")
        for required in COLUMNS:
            if required not in columns:
                hint = did_you_mean(required, [name for name in columns if name not in COLUMNS])
                self.fail(f"lacks the column '{required}'", hint)
        for name in columns:
            if name not in COLUMNS and name != OPTIONS_COLUMN:
                self.fail(f"has an unknown column {name[:60]!r}", did_you_mean(name, COLUMNS))
        if len(set(columns)) != len(columns):
            self.fail("repeats a column name")
        return columns

    def op(self, row: Mapping[str, str]) -> OpSpec:
        """The op of a row.

        Raises:
            TableError: a cell breaks a rule; line, column and value are named.
        """
        name = row["op"].strip()
        if not name.replace("_", "").isalnum() or len(name) > 80:
            self.fail(f"column op must be an op's name: received {row['op'][:60]!r}")
        numbers = {key: self.integer(row, key, low, high) for key, (low, high) in _INTEGERS.items()}
        if row["skip"].strip() not in ("0", "1"):
            self.fail(f"column skip must be 0 or 1: received {row['skip'][:60]!r}")
        act = row["act"].strip()
        if act not in ACTIVATIONS:
            self.fail(
                f"column act must be one of {', '.join(ACTIVATIONS)}: received {act[:60]!r}",
                did_you_mean(act, ACTIVATIONS),
            )
        expand = self.number(row, "expand")
        if expand > MAX_EXPAND or round(numbers["in_c"] * expand) < 1:
            self.fail(
                f"column expand must give from 1 channel to {MAX_EXPAND} times as many as in_c: "
                f"received {row['expand'][:60]!r}"
            )
        try:
            options = read_options(row.get(OPTIONS_COLUMN, "").strip(), ";")
            if not op_variant(name).is_custom:
                options = built_in_options(name, options)
        except ValueError as cause:
            self.fail(f"column {OPTIONS_COLUMN}: {cause}")
        return OpSpec(
            op=name,
            expand=int(expand) if expand.is_integer() else expand,
            skip=row["skip"].strip() == "1",
            act=act,
            options=options,
            **numbers,
        )

    def entry(self, row: Mapping[str, str]) -> Entry:
        """The measurement of a row; empty cells are unknown.

        Raises:
            TableError: a cell breaks a rule; line, column and value are named.
        """
        value = self.number(row, "value")
        low = self.optional(row, "ci_low", zero=True)
        high = self.optional(row, "ci_high")
        if (low is None) != (high is None):
            self.fail("must give both ci_low and ci_high, or neither")
        if low is not None and high is not None and not low <= value <= high:
            self.fail(f"must have ci_low <= value <= ci_high: received {low}, {value}, {high}")
        return Entry(
            value=value,
            ci_low=low,
            ci_high=high,
            p90=self.optional(row, "p90"),
            min=self.optional(row, "min"),
            rounds=self.count(row, "rounds"),
            samples=self.count(row, "samples"),
        )

    def number(self, row: Mapping[str, str], column: str, zero: bool = False) -> float:
        text = row[column].strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if MAX_VALUE < value < math.inf:
            self.fail(f"column {column} may be at most {MAX_VALUE:g}: received {text[:60]!r}")
        if not 0 <= value < math.inf or (value == 0 and not zero):
            rule = "not negative" if zero else "positive"
            self.fail(f"column {column} must be a {rule} finite number: received {text[:60]!r}")
        return value

    def optional(self, row: Mapping[str, str], column: str, zero: bool = False) -> float | None:
        return self.number(row, column, zero) if row[column].strip() else None

    def count(self, row: Mapping[str, str], column: str) -> int | None:
        return self.integer(row, column, 0, 10**12) if row[column].strip() else None

    def integer(self, row: Mapping[str, str], column: str, low: int, high: int) -> int:
        text = row[column].strip()
        if (
            not text.isascii()
            or not text.isdecimal()
            or len(text) > 13
            or not low <= int(text) <= high
        ):
            self.fail(
                f"column {column} must be a whole number from {low} to {high}: "
                f"received {text[:60]!r}"
            )
        return int(text)

    def fail(self, rule: str, hint: str = "") -> NoReturn:
        """Raises a TableError that names source and line."""
        raise TableError(f"{self.source}, {self.what} {self.line} {rule}.{hint}")
