"""Tables of other tools, one row per measurement of an op: columns are mapped to ours by name."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Final

from proxyless_hw.errors import TableError, did_you_mean
from proxyless_hw.space.op_names import SHORTCUT_OPS
from proxyless_hw.space.specs import LayerSpec, OpSpec, op_variant, usual_activation
from proxyless_hw.tables.csv_format import COLUMNS, RowParser
from proxyless_hw.tables.entry import UNITS
from proxyless_hw.tables.intervals import t_quantile
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
_DECIMAL: Final = ("expand", *_MEASURED)
_COMMA: Final = re.compile(r"-?\d{1,30},\d{1,30}(?:[eE][-+]?\d{1,3})?")
_THOUSANDS: Final = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_NAMED_UNIT: Final = re.compile(rf".*[_ (\[/](?P<unit>{'|'.join(SCALES)}|µs)[)\]]?")
_NEEDED: Final = ("op", "in_h", "in_w", "in_c", "out_c", "value")


@dataclass(frozen=True, kw_only=True)
class ColumnMap:
    """How the columns of another tool are read.

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


@dataclass(frozen=True)
class Row:
    """One row of a file: where it stands, and its cells by the file's column names."""

    place: int
    cells: Mapping[str, str]


def table_of_rows(
    names: Sequence[str],
    rows: Iterable[Row],
    mapping: ColumnMap,
    source: str,
    what: str = "line",
    header: str = "",
) -> LatencyTable:
    """Makes a table of rows that name an op and what was measured.

    Output sizes follow from the layer where the file does not give them. Values of another unit
    are scaled in decimal, so ``1234.5`` us is the same number as ``1.2345`` ms. Numbers with a
    decimal comma are read where the file has no decimal point. Several rows of an op become one:
    their median, with the 95% interval of their mean (Student's t).

    Args:
        names: the file's column names.
        rows: the rows.
        mapping: which column is which.
        source: the file, for messages.
        what: what a place in the file is called, for messages.
        header: where the column names stand, for messages; the file where it is empty.

    Raises:
        TableError: a rule is broken; file, place, column and value are named.
    """
    listed = list(rows)
    picks = _picks(names, mapping, header or source)
    if not listed:
        raise TableError(f"{source} has no rows; a table holds at least one op.")
    comma = _has_decimal_comma(listed, [picks[name] for name in _DECIMAL if name in picks], source)
    parser = RowParser(source, what)
    found: dict[OpSpec, list[Entry]] = {}
    for row in listed:
        parser.line = row.place
        cells = _ours(row, picks, mapping, comma, parser)
        found.setdefault(parser.op(cells), []).append(parser.entry(cells))
    metric = SCALES[mapping.unit][0]
    metadata = {"metric": metric, "unit": UNITS[metric], "source": Path(source).name}
    if any(len(entries) > 1 for entries in found.values()):
        metadata["statistic"] = "median"
    return LatencyTable({op: _joined(entries) for op, entries in found.items()}, metadata, source)


def _joined(entries: list[Entry]) -> Entry:
    """One entry of the rows that repeat an op."""
    if len(entries) == 1:
        return entries[0]
    values = [entry.value for entry in entries]
    middle, mean = statistics.median(values), statistics.fmean(values)
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return Entry(
        value=middle,
        ci_low=max(0.0, min(middle, mean - half)),
        ci_high=max(middle, mean + half),
        min=min(values),
        rounds=len(values),
    )


def _has_decimal_comma(rows: Sequence[Row], columns: Sequence[str], source: str) -> bool:
    """Whether numbers are written with a comma.

    Raises:
        TableError: some have a comma and some a point, or every comma may group thousands: the
            numbers have two readings.
    """
    texts = [row.cells.get(column, "").strip() for row in rows for column in columns]
    comma = next((text for text in texts if _COMMA.fullmatch(text)), None)
    point = next((text for text in texts if "." in text), None)
    if comma is not None and point is not None:
        raise TableError(
            f"{source} writes numbers with a comma and with a point: {comma[:40]!r} and "
            f"{point[:40]!r}. Use one of them."
        )
    commas = [text for text in texts if _COMMA.fullmatch(text)]
    if commas and all(_THOUSANDS.fullmatch(text) for text in commas):
        raise TableError(
            f"{source} writes numbers such as {commas[0][:40]!r}, whose comma may be a decimal one "
            "or group thousands. Write a decimal point, and nothing between thousands."
        )
    return comma is not None


def _picks(names: Sequence[str], mapping: ColumnMap, source: str) -> dict[str, str]:
    """Our columns to the names that the file has for them."""
    if len(names) > MAX_COLUMNS:
        raise TableError(f"{source} has {len(names)} columns, over {MAX_COLUMNS}.")
    for name in names:
        if names.count(name) > 1:
            raise TableError(f"{source} repeats the column name {name[:60]!r}.")
    picks = {}
    shown = ", ".join(names)[:400]
    for ours in COLUMNS:
        theirs = mapping.columns.get(ours, ours)
        if theirs in names:
            if ours in mapping.constants:
                raise TableError(
                    f"{source} has the column '{theirs[:60]}' and --set {ours}="
                    f"{mapping.constants[ours]} gives one value for all rows. Leave one out."
                )
            picks[ours] = theirs
        elif ours in mapping.columns:
            raise TableError(
                f"{source} has no column '{theirs[:60]}' to map to {ours}."
                f"{did_you_mean(theirs, names)} It has: {shown}."
            )
    for ours in _MEASURED:
        named = _NAMED_UNIT.fullmatch(picks.get(ours, ""))
        unit = None if named is None else named["unit"].replace("µ", "u")
        if unit not in (None, mapping.unit):
            raise TableError(
                f"{source}: the column '{picks[ours][:60]}' is in {unit} by its name, and the unit "
                f"is taken as {mapping.unit}. Next: --unit {unit}, or another name for the column."
            )
    for ours in _NEEDED:
        if ours not in picks and ours not in mapping.constants:
            raise TableError(
                f"{source} has no column '{ours}'. Say which one it is: --map {ours}=COLUMN, or "
                f"give one value for all rows: --set {ours}=VALUE. It has: {shown}."
            )
    return picks


def _ours(
    given: Row, picks: Mapping[str, str], mapping: ColumnMap, comma: bool, parser: RowParser
) -> dict[str, str]:
    """The cells of a row under our column names, in our units."""
    row = dict.fromkeys(COLUMNS, "") | _DEFAULTS | dict(mapping.constants)
    row |= {ours: given.cells.get(theirs, "").strip() for ours, theirs in picks.items()}
    if comma:
        row |= {name: row[name].replace(",", ".") for name in _DECIMAL}
    row |= {name: default for name, default in _DEFAULTS.items() if not row[name]}
    if op_variant(row["op"]).base not in SHORTCUT_OPS and "expand" not in picks:
        row["expand"] = "1"  # one value for all rows speaks of the blocks that expand
    row["act"] = row["act"] or usual_activation(row["op"])
    for name in _MEASURED:
        row[name] = _scaled(row[name], SCALES[mapping.unit][1])
    if not row["out_h"] or not row["out_w"]:
        height, width = _output_size(row, parser)
        row["out_h"] = row["out_h"] or str(height)
        row["out_w"] = row["out_w"] or str(width)
    return row


def _scaled(text: str, power: int) -> str:
    """The number times 10**power, in decimal; other text is returned, for the parser to refuse."""
    try:
        return str(Decimal(text).scaleb(power)) if text and power else text
    except DecimalException:
        return text


def _output_size(row: Mapping[str, str], parser: RowParser) -> tuple[int, int]:
    op = parser.op({**row, "out_h": "1", "out_w": "1"})
    layer = LayerSpec(op.op, op.in_c, op.out_c, kernel=op.kernel, stride=op.stride)
    return layer.output_size(op.in_h, op.in_w)
