"""Reading a run folder for its report: absent parts are None, malformed ones are errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from proxyless_hw.errors import ReportError, SpaceError, TableError
from proxyless_hw.report.epochs import Epoch, is_number, number_of, read_epochs
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import figure_key

MANIFEST = Path("exports") / "manifest.json"

Verdict = Literal["agrees", "undecided", "missed"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)


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
    def verify(self) -> dict[str, Any]:
        """What `--verify` found; empty where the network was not measured.

        Raises:
            ReportError: it is no object.
        """
        found = (self.result or {}).get("verify") or {}
        if not isinstance(found, dict):
            raise ReportError(
                f"{self.path / 'result.json'}: verify must be an object with a list of rounds: "
                f"received {str(found)[:60]!r}."
            )
        return found

    @property
    def correction(self) -> float:
        """What `--verify` multiplies sums of the table by to predict; 1 without it.

        Raises:
            ReportError: it is no number.
        """
        where = f"{self.path / 'result.json'}: verify"
        found = number_of(self.verify, "correction", where)
        return 1.0 if found is None else found

    @property
    def verdict(self) -> Verdict | None:
        """Whether the measurement agrees with the target; None where nothing was verified.

        Older runs only say whether it agrees.

        Raises:
            ReportError: it is none of the known words.
        """
        where = f"{self.path / 'result.json'}: verify"
        word, agrees = self.verify.get("verdict"), self.verify.get("agrees")
        if word is None:
            if agrees is not None and not isinstance(agrees, bool):
                raise ReportError(
                    f"{where}.agrees must be true or false: received {str(agrees)[:60]!r}."
                )
            return None if agrees is None else "agrees" if agrees else "missed"
        for known in VERDICTS:
            if word == known:
                return known
        raise ReportError(
            f"{where}.verdict must be one of {', '.join(VERDICTS)}: received {str(word)[:60]!r}."
        )

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
        epochs=read_epochs(path / "metrics.jsonl"),
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
