"""Reading a run folder for its report: absent parts are None, malformed ones are errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyless_hw.architecture import Architecture
from proxyless_hw.documents import parse_json, read_text
from proxyless_hw.errors import ReportError, SpaceError, TableError
from proxyless_hw.space import SearchSpace
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import figure_key

MANIFEST = Path("exports") / "manifest.json"


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


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What a run folder holds.

    Attributes:
        path: the folder.
        arch: the network that was found or trained, at its deployment shape.
        config: config.json.
        settings: its settings.
        epochs: metrics.jsonl, in order; empty when absent.
        result: result.json.
        table: the latency table, when it can still be read.
        table_problem: why it cannot.
        space: the search space, when it can still be read.
        manifest: what was exported.
    """

    path: Path
    arch: Architecture | None
    config: dict[str, Any] | None
    settings: dict[str, Any]
    epochs: tuple[Epoch, ...]
    result: dict[str, Any] | None
    table: LatencyTable | None
    table_problem: str | None
    space: SearchSpace | None
    manifest: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Last part of the folder's path."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """``search``, ``train`` or ``import``."""
        return str((self.config or {}).get("kind", "search"))

    @property
    def accuracy(self) -> float | None:
        """Top-1 on the test images; None where it is not known.

        Raises:
            ReportError: it is no number.
        """
        return self.number("top1" if self.kind == "train" else "accuracy")

    @property
    def cost_unit(self) -> str:
        """Unit of the target and of what is held against it; ms where the run says nothing."""
        for document in (self.result, self.config):
            if document is not None and isinstance(document.get("unit"), str):
                return str(document["unit"])[:20]
        return "ms"

    @property
    def metric(self) -> str:
        """What the target limits: ``latency`` where the run says nothing."""
        for document in (self.result, self.config):
            if document is not None and isinstance(document.get("metric"), str):
                return str(document["metric"])[:20]
        return "latency"

    def figure(self, name: str) -> float | None:
        """A number of result.json in `cost_unit`, as ``target``; None where there is none.

        Raises:
            ReportError: it is something else.
        """
        return self.number(figure_key(self.result or {}, name))

    def unit(self, constraint: str) -> str:
        """Unit of a constraint, as config.json has it; ms where it says nothing."""
        rows = (self.config or {}).get("constraints")
        for row in rows if isinstance(rows, list) else []:
            if isinstance(row, dict) and row.get("name") == constraint:
                return str(row.get("unit", "ms"))
        return "ms"

    @property
    def finalists(self) -> list[dict[str, Any]]:
        """The finalists, each with what was predicted.

        Raises:
            ReportError: result.json holds something else.
        """
        first = next(iter(self.rows("finalists", [])), {})
        return self.rows("finalists", [figure_key(first, "predicted")])

    def number(self, key: str) -> float | None:
        """A number of result.json; None where it is absent or null.

        Raises:
            ReportError: it is something else.
        """
        return number_of(self.result or {}, key, f"{self.path / 'result.json'}")

    def interval(self, key: str) -> tuple[float, float] | None:
        """A pair of numbers of result.json; None where it is absent or null.

        Raises:
            ReportError: it is something else.
        """
        value = (self.result or {}).get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)):
            raise ReportError(
                f"{self.path / 'result.json'}: {key} must be two numbers: received "
                f"{str(value)[:60]!r}."
            )
        return float(value[0]), float(value[1])

    def rows(self, key: str, names: Sequence[str]) -> list[dict[str, Any]]:
        """A list of objects of result.json, each with numbers under `names`.

        Raises:
            ReportError: it is something else.
        """
        where = str(self.path / "result.json")
        rows = (self.result or {}).get(key) or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ReportError(f"{where}: {key} must be a list of objects.")
        for index, row in enumerate(rows):
            for name in names:
                if number_of(row, name, f"{where}: {key}[{index}]") is None:
                    raise ReportError(f"{where}: {key}[{index}] lacks {name}.")
        return rows


def read_run(folder: str | Path) -> RunData:
    """Reads a run folder.

    Raises:
        ReportError: no such folder, nothing of a run in it, or a malformed file (named).
        ArchitectureError: architecture.json is malformed.
    """
    path = Path(folder)
    if not path.is_dir():
        raise ReportError(f"a report shows run folders: {path} is none.")
    known = ("config.json", "metrics.jsonl", "result.json", "architecture.json")
    if not any((path / name).is_file() for name in known):
        raise ReportError(f"{path} holds nothing of a run ({', '.join(known)}).")
    config = _document(path / "config.json")
    settings = (config or {}).get("settings", config or {})
    if not isinstance(settings, dict):
        raise ReportError(f"{path / 'config.json'}: settings must be an object.")
    table, problem = _table(settings)
    has_arch = (path / "architecture.json").is_file()
    return RunData(
        path=path,
        arch=Architecture.load(path) if has_arch else None,
        config=config,
        settings=settings,
        epochs=_epochs(path / "metrics.jsonl"),
        result=_document(path / "result.json"),
        table=table,
        table_problem=problem,
        space=_space(settings),
        manifest=_document(path / MANIFEST),
    )


def _document(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    document = parse_json(read_text(path, ReportError, path.name), ReportError, str(path))
    if not isinstance(document, dict):
        raise ReportError(f"{path} must hold a JSON object: received {type(document).__name__}.")
    return document


def _epochs(path: Path) -> tuple[Epoch, ...]:
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
    numbers = {
        name: number_of(row, name, where)
        for name in ("train_loss", "train_accuracy", "holdout_loss", "holdout_accuracy", "entropy")
    }
    validation = row.get("validation")
    if isinstance(validation, dict):
        numbers["holdout_loss"] = number_of(validation, "loss", where)
        numbers["holdout_accuracy"] = number_of(validation, "top1", where)
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
        cell is None or (is_number(cell) and 0 <= cell <= 1) for cell in row
    )


def _numbers(row: dict[str, Any], key: str, where: str) -> dict[str, float]:
    values = row.get(key) or {}
    if not isinstance(values, dict) or not all(map(is_number, values.values())):
        raise ReportError(f"{where}: {key} must map names to numbers.")
    return {str(name): float(value) for name, value in values.items()}


def number_of(row: Mapping[str, Any], key: str, where: str) -> float | None:
    """A number of a JSON object; None where it is absent or null.

    Raises:
        ReportError: it is something else.
    """
    value = row.get(key)
    if value is None:
        return None
    if not is_number(value):
        raise ReportError(f"{where}: {key} must be a number: received {str(value)[:60]!r}.")
    return float(value)


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number (and no truth value)."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _table(settings: dict[str, Any]) -> tuple[LatencyTable | None, str | None]:
    name = settings.get("table")
    if not isinstance(name, str):
        return None, None
    try:
        return LatencyTable.load(name), None
    except TableError as error:
        return None, str(error)


def _space(settings: dict[str, Any]) -> SearchSpace | None:
    name = settings.get("space")
    if not isinstance(name, str):
        return None
    try:
        return SearchSpace.load(name)
    except SpaceError:
        # The candidates' names are a help, not content: without them they are numbered.
        return None
