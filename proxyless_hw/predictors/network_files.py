"""Files of measured networks: a CSV with columns network,measured_ms, or a JSON list of such."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from proxyless_hw.errors import PredictorError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.calibration import CalibrationNetwork
from proxyless_hw.predictors.measured import network_of
from proxyless_hw.predictors.sources import at_deployment_shape
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.tables.table import LatencyTable


def read_measured_networks(path: Path, table: LatencyTable) -> list[CalibrationNetwork]:
    """Reads measured networks and prices them by a table.

    The CSV has a header with ``network`` (as predict takes it; paths are relative to the file) and
    ``measured_ms``. The JSON is a list of objects with the same two keys, or an object that holds
    it under ``networks``.

    Raises:
        PredictorError: a rule is broken; file, line or index, and value are named.
        ArchitectureError: a network cannot be read.
        MissingEntryError: the table lacks ops of a network.
    """
    text = read_text(path, PredictorError, "file of measured networks")
    rows = _json_rows(text, path) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text, path)
    networks = []
    for where, name, value in rows:
        measured_ms = _positive(value, where)
        beside = path.parent / name
        arch = load_architecture(str(beside if beside.exists() else name))
        networks.append(network_of(table, at_deployment_shape(arch, table), name, measured_ms))
    return networks


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, str, object]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        columns = reader.fieldnames or []
        for needed in ("network", "measured_ms"):
            if needed not in columns:
                raise PredictorError(
                    f"{path}, line 1 lacks the column '{needed}': received "
                    f"{', '.join(columns)[:200]!r}."
                )
        for row in reader:
            yield f"{path}, line {reader.line_num}", row["network"] or "", row["measured_ms"]
    except csv.Error as cause:
        raise PredictorError(f"{path}, line {reader.line_num} is not CSV ({cause}).") from cause


def _json_rows(text: str, path: Path) -> Iterator[tuple[str, str, object]]:
    document = parse_json(text, PredictorError, str(path))
    items = document.get("networks") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise PredictorError(f"{path} must be a list of measured networks.")
    for index, item in enumerate(items):
        where = f"{path}: [{index}]"
        if not isinstance(item, dict) or not isinstance(item.get("network"), str):
            raise PredictorError(f"{where} must hold network (text) and measured_ms.")
        yield where, item["network"], item.get("measured_ms")


def _positive(value: object, where: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number) or number <= 0:
        raise PredictorError(
            f"{where}: measured_ms must be positive and finite: received {str(value)[:60]!r}."
        )
    return number
