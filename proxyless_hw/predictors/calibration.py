"""The sidecar ``TABLE.calibration.json``: the measured networks that a calibration comes from.

The coefficients are refitted from the networks when it is read; those in the file are for people,
and must agree. A fingerprint of the table's rows keeps a calibration from being used with another
table.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Final

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.calibration_line import (
    IDENTITY,
    Calibration,
    CalibrationNetwork,
    fit_calibration,
)
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.fields import Fields
from proxyless_hw.storage.files import write_text_atomically
from proxyless_hw.tables.table import LatencyTable

__all__ = [
    "IDENTITY",
    "Calibration",
    "CalibrationNetwork",
    "calibration_path",
    "fit_calibration",
    "load_calibration",
    "save_calibration",
    "table_fingerprint",
]

SCHEMA: Final = "proxyless-hw-calibration/1"
MAX_NETWORKS: Final = 100_000


def calibration_path(table_path: str | Path) -> Path:
    """Where the calibration of a table stands: ``cpu.csv`` has ``cpu.calibration.json``."""
    path = Path(table_path)
    return path.with_name(path.name.removesuffix(".csv") + ".calibration.json")


def table_fingerprint(table: LatencyTable) -> str:
    """Identifies a table's metric and rows (ops and values), whatever their order."""
    rows = sorted(f"{op.key} {entry.value!r}" for op, entry in table.entries.items())
    text = "\n".join([table.metric, *rows])
    return hashlib.sha256(text.encode()).hexdigest()


def save_calibration(table_path: str | Path, calibration: Calibration) -> Path:
    """Writes a fitted calibration beside its table.

    Args:
        table_path: the table's file, as it is now: its sums are what was calibrated.
        calibration: from `fit_calibration`.

    Returns:
        The sidecar's path.

    Raises:
        PredictorError: the calibration was not fitted, or the place cannot be written.
        TableError: there is no such table, or it is malformed.
    """
    if calibration.spread is None:
        raise PredictorError("only a calibration fitted on measured networks can be kept.")
    path = calibration_path(table_path)
    document = {
        "schema": SCHEMA,
        "table_fingerprint": table_fingerprint(LatencyTable.load(table_path)),
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "a": calibration.a,
        "b": calibration.b,
        "c": calibration.c,
        "sigma": calibration.spread.sigma,
        "left_out_mape": calibration.loo_mape,
        "networks": [asdict(network) for network in calibration.networks],
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    write_text_atomically(path, text, PredictorError)
    return path


def load_calibration(
    table_path: str | Path, table: LatencyTable | None = None
) -> Calibration | None:
    """Reads the calibration that stands beside a table.

    Args:
        table_path: the table's file.
        table: its content, when it is loaded already.

    Returns:
        The calibration, or None when there is no sidecar.

    Raises:
        PredictorError: the sidecar is malformed, or belongs to other rows than the table now has.
    """
    path = calibration_path(table_path)
    if not path.exists():
        return None
    document = parse_json(read_text(path, PredictorError, "calibration"), PredictorError, str(path))
    read = Fields(document, str(path), PredictorError)
    read.schema(SCHEMA)
    content = table or LatencyTable.load(table_path)
    if read.get("table_fingerprint") != table_fingerprint(content):
        raise PredictorError(
            f"{path} calibrates other rows than {table_path} now has. Calibrate again: "
            f"proxyless-hw table calibrate {table_path}; or remove {path}."
        )
    networks = networks_from(read)
    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    for name, value in zip("abc", calibration.coefficients, strict=True):
        stated = read.get(name)
        if (
            not isinstance(stated, int | float)
            or isinstance(stated, bool)
            or not math.isclose(stated, value, rel_tol=1e-6, abs_tol=1e-9)
        ):
            raise PredictorError(
                f"{path}: {name} does not follow from the networks in the file: received "
                f"{str(stated)[:40]!r}, {value!r} follows. Calibrate again: "
                f"proxyless-hw table calibrate {table_path}"
            )
    return calibration


def networks_from(read: Fields) -> list[CalibrationNetwork]:
    """The measured networks of a calibration's file.

    Raises:
        ProxylessHwError: (as the error of `read`) a field is missing or wrong.
    """
    return [_network(row) for row in read.rows("networks", MAX_NETWORKS)]


def _network(read: Fields) -> CalibrationNetwork:
    names = sorted(field.name for field in fields(CalibrationNetwork))
    if not set(names) <= set(read):
        raise read.error(f"{read.where} must hold {', '.join(names)}.")
    return CalibrationNetwork(
        name=str(read.get("name"))[:200],
        predicted_ms=float(read.number("predicted_ms", 0, above=True)),
        blocks=read.whole("blocks", 0, 10**6),
        measured_ms=float(read.number("measured_ms", 0, above=True)),
    )
