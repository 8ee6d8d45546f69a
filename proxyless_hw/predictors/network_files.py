"""Files of measured networks: a CSV with a header, or a JSON list of objects with its columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proxyless_hw.errors import PredictorError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.calibration import CalibrationNetwork
from proxyless_hw.predictors.measured import network_of
from proxyless_hw.predictors.sources import at_deployment_shape
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.tables.table import LatencyTable


@dataclass(frozen=True, slots=True)
class MeasuredRow:
    """One network of a file.

    Attributes:
        where: file and line, for messages.
        name: what the file calls it.
        arch: at the shape that the table prices it at.
        value: what was measured, positive.
    """

    where: str
    name: str
    arch: Architecture
    value: float


def read_networks(path: Path, column: str, table: LatencyTable) -> Iterator[MeasuredRow]:
    """Reads networks and what each cost.

    The CSV has a header with ``network`` (as `predict` takes it; paths are relative to the file)
    and `column`. The JSON is a list of objects with the same two keys, or an object that holds it
    under ``networks``.

    Args:
        path: the file.
        column: the column of the measurement.
        table: gives the deployment shape (see `sources.at_deployment_shape`).

    Raises:
        PredictorError: a rule is broken; file, line or index, and value are named.
        ArchitectureError: a network cannot be read.
    """
    text = read_text(path, PredictorError, "file of measured networks")
    rows = _json_rows if text.lstrip()[:1] in ("[", "{") else _csv_rows
    for where, name, value in rows(text, path, column):
        if not name:
            raise PredictorError(f"{where} names no network.")
        measured = _positive(value, column, where)
        beside = path.parent / name
        arch = load_architecture(str(beside if beside.exists() else name))
        yield MeasuredRow(where, name, at_deployment_shape(arch, table), measured)


def read_measured_networks(path: Path, table: LatencyTable) -> list[CalibrationNetwork]:
    """Reads networks with a column ``measured_ms`` and prices them by a table.

    Raises:
        PredictorError, ArchitectureError: as `read_networks`.
        MissingEntryError: the table lacks ops of a network.
    """
    rows = read_networks(path, "measured_ms", table)
    return [network_of(table, row.arch, row.name, row.value) for row in rows]


def _csv_rows(text: str, path: Path, column: str) -> Iterator[tuple[str, str, object]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = reader.fieldnames or []
        if not {"network", column} <= set(columns):
            raise PredictorError(
                f"{path}, line 1 must name the columns network and {column}: received "
                f"{', '.join(columns)[:200]!r}."
            )
        for row in reader:
            yield f"{path}, line {reader.line_num}", row["network"] or "", row[column]
    except csv.Error as cause:
        raise PredictorError(f"{path}, line {reader.line_num} is not CSV ({cause}).") from cause


def _json_rows(text: str, path: Path, column: str) -> Iterator[tuple[str, str, object]]:
    document = parse_json(text, PredictorError, str(path))
    items = document.get("networks") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise PredictorError(f"{path} must be a list of measured networks.")
    for index, item in enumerate(items):
        where = f"{path}: [{index}]"
        if not isinstance(item, dict) or not isinstance(item.get("network"), str):
            raise PredictorError(f"{where} must hold network (text) and {column}.")
        yield where, item["network"], item.get(column)


def _positive(value: object, column: str, where: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
        raise PredictorError(
            f"{where}: {column} must be positive and finite: received {str(value)[:60]!r}."
        )
    return number
