"""The commands that are broken off, as small as they come: what they run and what must hold.

A scene knows its arguments, which files a run leaves, what of them must be the same however often
the run was broken off, and how much work it has said to be done.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError
from tiny_spaces import MADE_UP_HEADER, TO_SEARCH

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.tensor_files import load_tensors
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE = TO_SEARCH
# What differs between two runs of the same command: when, how long, and how busy the machine was.
PASSING = frozenset(("seconds", "created", "load", "resume", "seconds_per_epoch", "config"))


@dataclass(frozen=True)
class Material:
    """Files that the commands start from.

    Attributes:
        space: a space of three slots.
        table: figures for all its ops, made up.
        ops: three of its ops, one a line.
        network: an architecture of the space.
    """

    space: Path
    table: Path
    ops: Path
    network: Path


def write_material(folder: Path) -> Material:
    """Writes the files that the commands start from."""
    folder.mkdir(parents=True, exist_ok=True)
    found = Material(
        folder / "tiny.yaml", folder / "tiny.csv", folder / "ops.txt", folder / "net.json"
    )
    found.space.write_text(SPACE)
    space = SearchSpace.from_yaml(SPACE)
    made_up_table(space).save(found.table)
    found.ops.write_text("".join(f"{op.key}\n" for op in space.ops()[:3]))
    Architecture.from_choices(space, [0] * len(space.slots)).save(found.network)
    return found


def made_up_table(space: SearchSpace) -> LatencyTable:
    """A table of a space whose figures nobody measured."""
    values = {op: 1.0 + 0.25 * index + 0.1 * op.kernel for index, op in enumerate(space.ops())}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    return LatencyTable(entries, MADE_UP_HEADER)


@dataclass(frozen=True)
class Scene:
    """A command that may be broken off.

    Attributes:
        name: of the scene.
        arguments: of the command line, for an output folder; with --resume where there is one.
        outcome: what of a finished folder must not depend on how often the run was broken off.
        done: epochs that a run has said to be finished, from its standard error.
        kept: epochs that a folder keeps.
    """

    name: str
    arguments: Callable[[Material, Path], list[str]]
    outcome: Callable[[Path], Any]
    done: Callable[[str], int]
    kept: Callable[[Path], int]


def search_arguments(*options: str) -> Callable[[Material, Path], list[str]]:
    def arguments(material: Material, folder: Path) -> list[str]:
        return [
            *("search", "--space", str(material.space), "--table", str(material.table)),
            *("--target-ms", "7.2", "--limit", "128", "--train-resolution", "16"),
            *("--batch-size", "32", "--warmup-epochs", "1", "--epochs", "2", "--finalists", "2"),
            *("--threads", "1", "--resume", "--output", str(folder), *options),
        ]

    return arguments


def train_arguments(material: Material, folder: Path) -> list[str]:
    return [
        *("train", str(material.network), "--limit", "128", "--train-resolution", "16"),
        *("--batch-size", "32", "--epochs", "3", "--holdout", "0.2", "--ema", "0.9"),
        *("--mixup", "0.3", "--threads", "1", "--resume", "--output", str(folder)),
    ]


def profile_arguments(*options: str) -> Callable[[Material, Path], list[str]]:
    def arguments(material: Material, folder: Path) -> list[str]:
        return [
            *("profile", "--space", str(material.space), "--only", str(material.ops)),
            *("--resume", "--output", str(folder / "table.csv"), *options),
        ]

    return arguments


def export_arguments(material: Material, folder: Path) -> list[str]:
    return [
        *("export", str(material.network), "--format", "onnx"),
        *("--output", str(folder / "net.onnx")),
    ]


def run_outcome(folder: Path) -> Any:
    """Everything in a run folder but times and paths; the report is only there."""
    found: dict[str, Any] = {}
    for path in visible(folder):
        if path.suffix == ".json":
            found[path.name] = without_passing(json.loads(_placeless(path, folder)))
        elif path.suffix == ".jsonl":
            lines = _placeless(path, folder).splitlines()
            found[path.name] = [without_passing(json.loads(line)) for line in lines]
        elif path.suffix == ".pt":
            found[path.name] = without_passing(torch.load(path, weights_only=True))
        else:
            found[path.name] = None
    return found


def table_outcome(folder: Path) -> Any:
    """The whole table but times, and the journal to the byte."""
    table = LatencyTable.load(folder / "table.csv")
    journal = (folder / "table.csv.journal.jsonl").read_bytes()
    return without_passing(dict(table.metadata)), table.entries, journal


def measured_outcome(folder: Path) -> Any:
    """What must be the same though the measured values are not: which ops, in how many rounds."""
    table = LatencyTable.load(folder / "table.csv")
    rounds = {op.key: entry.rounds for op, entry in table.entries.items()}
    return rounds, len((folder / "table.csv.journal.jsonl").read_bytes().splitlines())


def file_outcome(folder: Path) -> Any:
    return {path.name: path.read_bytes() for path in visible(folder)}


def announced_epochs(err: str) -> int:
    return len(re.findall(r"^ *(?:warmup|search) +\d+ |^epoch \d+:", err, re.MULTILINE))


def checkpoint_epochs(folder: Path) -> int:
    path = folder / "checkpoint.pt"
    return int(torch.load(path, weights_only=True)["epoch"]) if path.exists() else 0


def no_epochs(_: object) -> int:
    return 0


COMMAND_DEVICE = (
    *("--device", "command", "--command", "wc -c {model}"),
    *("--pattern", r"^\s*(\d+)", "--unit", "us", "--quiet"),
)
"""A device whose figures never vary: the size of the model file."""

SCENES: Mapping[str, Scene] = {
    scene.name: scene
    for scene in (
        *(
            Scene(
                name, search_arguments(*options), run_outcome, announced_epochs, checkpoint_epochs
            )
            for name, options in {
                "search-full": ("--gradient-mode", "full"),
                "search-two-path": ("--gradient-mode", "two-path", "--no-report"),
                "search-reinforce": ("--algorithm", "reinforce", "--no-report"),
                "search-darts": ("--algorithm", "darts", "--no-report"),
            }.items()
        ),
        Scene("train", train_arguments, run_outcome, announced_epochs, checkpoint_epochs),
        Scene(
            "profile",
            profile_arguments(*COMMAND_DEVICE),
            table_outcome,
            no_epochs,
            no_epochs,
        ),
        Scene(
            "profile-onnxruntime",
            profile_arguments("--option", "cache=hot", "--goal", "0.9", "--quiet"),
            measured_outcome,
            no_epochs,
            no_epochs,
        ),
        Scene("export", export_arguments, file_outcome, no_epochs, no_epochs),
    )
}


def visible(folder: Path) -> list[Path]:
    """The files of a folder that are meant to be seen."""
    if not folder.exists():
        return []
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."]


def litter(folder: Path) -> list[str]:
    """The others: locks and temporary files."""
    return sorted(path.name for path in folder.rglob(".*")) if folder.exists() else []


def unreadable(folder: Path) -> list[str]:
    """The files of a folder that their readers do not take, with the reason."""
    found = []
    for path in visible(folder):
        try:
            _READERS[path.suffix](path)
        except (ProxylessHwError, ValueError, AssertionError, *_ONNX_ERRORS) as error:
            found.append(f"{path.name}: {type(error).__name__} {str(error)[:100]}")
    return found


def _read_lines(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        json.loads(line)


def _read_table(path: Path) -> None:
    LatencyTable.load(path)
    with path.open(encoding="utf-8", newline="") as stream:
        assert sum(1 for row in csv.reader(stream) if row) > 10


def _read_page(path: Path) -> None:
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")


_ONNX_ERRORS = (onnx.checker.ValidationError, DecodeError)
_READERS: Mapping[str, Callable[[Path], object]] = {
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".jsonl": _read_lines,
    ".pt": lambda path: load_tensors(path, SearchError, "file of tensors"),
    ".csv": _read_table,
    ".html": _read_page,
    ".onnx": lambda path: onnx.checker.check_model(onnx.load(path)),
}


def without_passing(value: Any) -> Any:
    """A document without what differs between two runs of one command."""
    if isinstance(value, Mapping):
        return {key: without_passing(item) for key, item in value.items() if key not in PASSING}
    if isinstance(value, list | tuple):
        return [without_passing(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two outcomes are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(map(same, one, other))
        )
    return bool(one == other)


def _placeless(path: Path, folder: Path) -> str:
    return path.read_text(encoding="utf-8").replace(str(folder), "RUN")
