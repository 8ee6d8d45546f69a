"""Reading a run's curves, metrics.jsonl, and the numbers of its JSON files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from proxyless_hw.errors import ReportError
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.units import figure_key


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of metrics.jsonl.

    Attributes:
        phase: ``warmup``, ``search`` or ``train``.
        train_loss, train_accuracy, holdout_loss, holdout_accuracy: None where not measured.
        expected: expected cost by constraint.
        targets: target by constraint.
        multiplier: by constraint.
        entropy: mean over the slots, in nats.
        alpha: path probabilities, slots by candidates; None for an absent candidate.
    """

    phase: str
    train_loss: float | None
    train_accuracy: float | None
    holdout_loss: float | None
    holdout_accuracy: float | None
    expected: Mapping[str, float]
    targets: Mapping[str, float]
    multiplier: Mapping[str, float]
    entropy: float | None
    alpha: Sequence[Sequence[float | None]] | None


def read_epochs(path: Path) -> tuple[Epoch, ...]:
    """Reads metrics.jsonl; empty where it is absent.

    Raises:
        ReportError: a line is malformed (named).
    """
    if not path.is_file():
        return ()
    text = read_text(path, ReportError, path.name)
    lines = text.splitlines()
    if not text.endswith("\n"):
        lines = lines[:-1]  # being written when the disk was full or the power went: no epoch yet
    return tuple(_epoch(line, f"{path}, line {index}") for index, line in enumerate(lines, 1))


def _epoch(line: str, where: str) -> Epoch:
    row = parse_json(line, ReportError, where)
    if not isinstance(row, dict):
        raise ReportError(f"{where} must be a JSON object.")
    read = ResultFields(row, where, ReportError)
    numbers = {
        name: read.optional(name)
        for name in ("train_loss", "train_accuracy", "holdout_loss", "holdout_accuracy", "entropy")
    }
    validation = read.object("validation")
    if validation is not None:
        numbers["holdout_loss"] = validation.optional("loss")
        numbers["holdout_accuracy"] = validation.optional("top1")
    return Epoch(
        phase=str(row.get("phase", "train")),
        expected=_numbers(row, figure_key(row, "expected"), where),
        targets=_numbers(row, "targets", where),
        multiplier=_numbers(row, "multiplier", where),
        alpha=_alpha(row.get("alpha"), where),
        **numbers,
    )


def _alpha(value: object, where: str) -> list[list[float | None]] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(map(_is_probabilities, value)):
        raise ReportError(f"{where}: alpha must be rows of probabilities or null.")
    return value


def _is_probabilities(row: object) -> bool:
    return isinstance(row, list) and all(
        cell is None or (_is_number(cell) and 0 <= cell <= 1) for cell in row
    )


def _numbers(row: Mapping[str, object], key: str, where: str) -> dict[str, float]:
    values = row.get(key) or {}
    if not isinstance(values, dict) or not all(map(_is_number, values.values())):
        raise ReportError(f"{where}: {key} must map names to numbers.")
    return {str(name): float(value) for name, value in values.items()}


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a finite number (and no truth value)."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
