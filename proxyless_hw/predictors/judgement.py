"""Is a table good enough for its use? One place for the limits that docs/profiling.md states.

A table is judged where it is made (its intervals) and where it is used (its error on whole
networks, once `validate` has measured some). The drift of the machine by itself condemns nothing:
what counts is what is left after the correction for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.calibration import calibration_path, table_fingerprint
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import write_text_atomically
from proxyless_hw.tables.table import LatencyTable

GOOD_HALF_WIDTH: Final = 0.02
POOR_HALF_WIDTH: Final = 0.05
"""Median 95% half-width of a table's rows above which it is too poor to search with."""
GOOD_MAPE: Final = 0.02
POOR_MAPE: Final = 0.05
"""Error on whole networks, calibrated, above which predictions are called poor."""
POOR_BIAS: Final = 0.15
"""Bias on whole networks, uncalibrated, above which a table is too poor without a calibration."""

SCHEMA: Final = "proxyless-hw-validation/1"

Grade = Literal["good", "fair", "poor", "unknown"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be thought of a table.

    Attributes:
        grade: ``good``, ``fair`` (usable), ``poor`` (refused), or ``unknown``.
        sentence: the grade with its reason and the way on.
    """

    grade: Grade
    sentence: str


def judge_intervals(table: LatencyTable) -> Judgement:
    """Judges the rows of a table by the half-widths in its header."""
    if table.is_estimate:
        return Judgement(
            "unknown",
            "The values are a compiler's estimates, the same each time.",
        )
    text = table.metadata.get("quality_median_half_width")
    try:
        width = float(text) if text is not None else None
    except ValueError as cause:
        raise PredictorError(
            f"header quality_median_half_width of '{table.name}' is a fraction: received "
            f"{str(text)[:40]!r}."
        ) from cause
    if width is None:
        return Judgement("unknown", "The table does not say how well its rows are known.")
    if width > POOR_HALF_WIDTH:
        return _poor(
            f"the median 95% interval is ±{width:.1%}, above {POOR_HALF_WIDTH:.0%}. Profile with a "
            "larger --budget, or when the machine is quieter."
        )
    return _usable(width <= GOOD_HALF_WIDTH, f"the median 95% interval is ±{width:.1%}.")


def _poor(reason: str) -> Judgement:
    return Judgement("poor", f"Poor: {reason}")


def _usable(good: bool, reason: str) -> Judgement:
    grade: Grade = "good" if good else "fair"
    return Judgement(grade, f"{grade.capitalize()}: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRecord:
    """What `validate` found, kept beside the table for those who use it.

    Attributes:
        networks: networks measured.
        mape, bias: of the plain sums, as fractions.
        calibrated_mape: after the calibration; None without one.
    """

    networks: int
    mape: float
    bias: float
    calibrated_mape: float | None


def record_path(table_path: str | Path) -> Path:
    """Where the record of a table stands: ``cpu.csv`` has ``cpu.validation.json``."""
    path = Path(table_path)
    return path.with_name(path.name.removesuffix(".csv") + ".validation.json")


def save_record(table_path: str | Path, record: ValidationRecord) -> Path:
    """Writes a record beside its table.

    Raises:
        PredictorError: the place cannot be written.
    """
    fingerprint = table_fingerprint(LatencyTable.load(table_path))
    document = {"schema": SCHEMA, "table_fingerprint": fingerprint, **asdict(record)}
    path = record_path(table_path)
    write_text_atomically(path, json.dumps(document, allow_nan=False) + "\n", PredictorError)
    return path


def load_record(table: LatencyTable) -> ValidationRecord | None:
    """The record that stands beside a table; None without one, or where its rows have changed.

    Raises:
        PredictorError: the record is malformed.
    """
    path = record_path(table.name)
    if not table.name.endswith(".csv") or not path.exists():
        return None
    where = "record of a validation"
    document = parse_json(read_text(path, PredictorError, where), PredictorError, str(path))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise PredictorError(f"{path} must have the schema '{SCHEMA}'. Delete it, or validate.")
    if document.get("table_fingerprint") != table_fingerprint(table):
        return None
    return ValidationRecord(
        networks=int(_number(document, "networks", path)),
        mape=_number(document, "mape", path),
        bias=_number(document, "bias", path),
        calibrated_mape=None
        if document.get("calibrated_mape") is None
        else _number(document, "calibrated_mape", path),
    )


def _number(document: Mapping[str, object], key: str, path: Path) -> float:
    value = document.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise PredictorError(
            f"{path}: {key} must be a number: received {str(value)[:40]!r}. Delete the file, or "
            "validate again."
        )
    return value


def judge_networks(record: ValidationRecord, name: str) -> Judgement:
    """Judges a table by its error on whole networks."""
    after = record.calibrated_mape
    if after is None:
        if abs(record.bias) > POOR_BIAS:
            return _poor(
                f"predictions are {record.bias:+.1%} off on whole networks, more than "
                f"{POOR_BIAS:.0%}, and nothing corrects that. Calibrate: proxyless-hw validate "
                f"--table {name} --calibrate",
            )
        after, what = record.mape, "uncalibrated"
    else:
        what = "calibrated"
    if after > POOR_MAPE:
        return _poor(
            f"the {what} error on whole networks is {after:.1%}, above {POOR_MAPE:.0%}. "
            "Profile again with a larger --budget, or when the machine is quieter.",
        )
    return _usable(after <= GOOD_MAPE, f"the {what} error on whole networks is {after:.1%}.")


def require_usable(table: LatencyTable, use: str, *, networks: bool = True) -> None:
    """Refuses a table that is too poor to be used.

    Args:
        table: the table.
        use: what it is to be used for, as ``search``.
        networks: whether what an earlier validation found counts as well as the intervals.

    Raises:
        PredictorError: its intervals are too wide, or its bias on whole networks is large and it
            has no calibration; the way on is named.
    """
    reason = why_too_poor(table, networks=networks)
    if reason is not None:
        raise PredictorError(
            f"table '{table.name}' is too poor to {use} with. {reason} Go on all the same with "
            "--force."
        )


def why_too_poor(table: LatencyTable, *, networks: bool = True) -> str | None:
    """Why a table is too poor to be used, and the way on; None where it is good enough."""
    found = [judge_intervals(table)]
    record = load_record(table) if networks else None
    if record is not None and not (
        record.calibrated_mape is None and calibration_path(table.name).exists()
    ):
        found.append(judge_networks(record, table.name))
    return next((item.sentence for item in found if item.grade == "poor"), None)
