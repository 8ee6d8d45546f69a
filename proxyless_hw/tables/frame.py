"""The tabular side of latency tables as pandas frames: rows out, rows in, and differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pandas as pd

from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.entry import OP_COLUMNS, OPTIONS_COLUMN, VALUE_COLUMNS, Entry, header_text

if TYPE_CHECKING:
    from proxyless_hw.tables.diff import OpChange

COUNTS: Final = ("rounds", "samples")
"""Whole numbers that may be unknown."""

METADATA: Final = "metadata"
"""Key of ``DataFrame.attrs`` under which a frame keeps its table's header."""


def frame_of(entries: Mapping[OpSpec, Entry], metadata: Mapping[str, str]) -> pd.DataFrame:
    """Rows of a table as a frame, in their order; unknown numbers are NaN or <NA>."""
    frame = _op_frame(list(entries))
    for name in VALUE_COLUMNS:
        values = [getattr(entry, name) for entry in entries.values()]
        frame[name] = pd.Series(values, dtype="Int64" if name in COUNTS else "float64")
    frame.attrs[METADATA] = dict(metadata)
    return frame


def frame_of_changes(changes: Sequence[OpChange]) -> pd.DataFrame:
    """The ops of a comparison as a frame."""
    frame = _op_frame([change.op for change in changes])
    for name in ("before", "after", "change", "p_value"):
        frame[name] = pd.Series([getattr(change, name) for change in changes], dtype="float64")
    frame["verdict"] = [change.verdict for change in changes]
    frame["significant"] = [change.verdict in ("higher", "lower") for change in changes]
    return frame


def _op_frame(ops: Sequence[OpSpec]) -> pd.DataFrame:
    frame = pd.DataFrame({name: [getattr(op, name) for op in ops] for name in OP_COLUMNS})
    frame["expand"] = frame["expand"].astype("float64")
    if any(op.options for op in ops):
        frame[OPTIONS_COLUMN] = [op.options.to_text(";") for op in ops]
    return frame


def csv_text(frame: pd.DataFrame, metadata: Mapping[str, str] | None, schema: str) -> str:
    """A frame as the text of a table file. It may be anybody's: the reader of tables checks it.

    Raises:
        TableError: `frame` is no DataFrame, there is no metadata, or a column that describes an
            op is missing.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TableError(
            f"a table is made of a pandas DataFrame: received {type(frame).__name__}. For a file: "
            "LatencyTable.load, or `proxyless-hw table import`."
        )
    header = frame.attrs.get(METADATA) if metadata is None else metadata
    if not isinstance(header, Mapping) or not {"metric", "unit"} <= set(header):
        raise TableError(
            "a table says what it holds: received a frame without metric and unit. Give "
            "metadata={'device': ..., 'runtime': ..., 'metric': 'latency', 'unit': 'ms'}."
        )
    missing = [name for name in (*OP_COLUMNS, "value") if name not in frame.columns]
    if missing:
        raise TableError(
            f"a frame of a table has the columns {', '.join((*OP_COLUMNS, 'value'))}: "
            f"{', '.join(missing)} missing. See LatencyTable.to_pandas."
        )
    rows = frame.copy()
    rows["skip"] = [int(value) if value in (0, 1) else value for value in rows["skip"]]
    for name in VALUE_COLUMNS:
        if name not in rows.columns:
            rows[name] = ""
        rows[name] = [_cell(value, name in COUNTS) for value in rows[name]]
    return f"{header_text({'schema': schema, **header})}{rows.to_csv(index=False)}"


def _cell(value: object, whole: bool) -> str:
    """A number so that reading it gives the same one; an unknown one is empty."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, float):
        return str(value)
    return str(int(value)) if whole and value.is_integer() else repr(float(value))
