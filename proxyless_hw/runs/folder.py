"""The files of a run: settings, metrics, checkpoint, architecture, result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.runs.objects import check_same_objects
from proxyless_hw.storage.documents import JsonObject, parse_json, read_text
from proxyless_hw.storage.files import append_durably, write_text_atomically


class FileOfRun:
    """A file of a run folder: an attribute of `RunFolder` that gives its path."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, owner: type[RunFolder] | None = None) -> Path:
        return folder.path / self.name


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths and small files of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    error: ClassVar[type[ProxylessHwError]]
    """What its methods raise."""
    command: ClassVar[str]
    """The command whose runs these are."""
    free: ClassVar[frozenset[str]]
    """Settings that may differ between a run and its resumption."""

    config = FileOfRun("config.json")
    """The effective settings."""
    checkpoint = FileOfRun("checkpoint.pt")
    """The state after the last completed epoch, or at an interruption."""
    architecture = FileOfRun("architecture.json")
    """The network."""
    metrics = FileOfRun("metrics.jsonl")
    """One JSON object per epoch."""
    result = FileOfRun("result.json")
    """What came out; a finished run has it."""
    lock = FileOfRun(".lock")
    """Held by the process that writes here."""

    def is_started(self) -> bool:
        """Whether the folder holds a run."""
        return self.config.exists() or self.checkpoint.exists()

    def resume_command(self) -> str:
        """The command that resumes this run."""
        given = self.objects()
        if given:
            return f"the same call from Python, with {', '.join(given)} and resume=True"
        return f"proxyless-hw {self.command} --output {self.path} --resume"

    def last_good(self) -> str:
        """A sentence that names the last checkpoint, for the message of a run that failed."""
        if self.checkpoint.exists():
            return f"The last good checkpoint is {self.checkpoint}."
        return "No checkpoint had been written yet."

    def write_json(self, path: Path, document: Mapping[str, object]) -> None:
        """Writes a JSON file atomically.

        Raises:
            ProxylessHwError: the place cannot be written (`error`, here and below).
        """
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_text_atomically(path, text, self.error)

    def read_json(self, path: Path) -> JsonObject:
        """Reads a JSON file that holds an object.

        Raises:
            ProxylessHwError: absent or malformed.
        """
        document = parse_json(read_text(path, self.error, path.name), self.error, str(path))
        if not isinstance(document, dict):
            raise self.error(f"{path} must hold a JSON object.")
        return document

    def settings(self) -> JsonObject:
        """The settings that the run began with.

        Raises:
            ProxylessHwError: the folder holds no run of this kind.
        """
        settings = self.read_json(self.config).get("settings", {})
        if not isinstance(settings, dict):
            raise self.error(f"{self.config} must hold the run's settings.")
        return settings

    def objects(self) -> dict[str, JsonObject]:
        """Facts of the objects that the run was given; empty for a run by names alone.

        Raises:
            ProxylessHwError: the settings file is malformed.
        """
        found = self.read_json(self.config).get("objects", {}) if self.config.exists() else {}
        if not isinstance(found, dict) or not all(
            isinstance(item, dict) for item in found.values()
        ):
            raise self.error(f"'objects' in {self.config} must be a mapping of mappings.")
        return found

    def check_may_run(
        self,
        settings: Mapping[str, object],
        resume: bool,
        objects: Mapping[str, JsonObject] | None = None,
    ) -> None:
        """Checks that a run may begin here, or be resumed.

        Args:
            settings: the run's.
            resume: whether an earlier run goes on.
            objects: facts of the objects that it is given.

        Raises:
            ProxylessHwError: an earlier run is there and was not asked to go on, or a setting
                differs from its own; old and new value are named.
        """
        if not self.is_started():
            return
        if not resume:
            raise self.error(
                f"{self.path} already holds a run. Go on with it: add --resume; or choose "
                "another --output."
            )
        check_same_objects(self, objects or {})
        self.check_same_settings(settings)

    def check_same_settings(self, settings: Mapping[str, object]) -> None:
        """Checks that a resumed run has the settings it began with.

        Raises:
            ProxylessHwError: a setting differs; old and new value are named.
        """
        old = self.settings()
        for key, value in settings.items():
            if key in self.free or key not in old or old[key] == value:
                continue
            raise self.error(
                f"--resume goes on with the run's own settings: {key} was {old[key]!r}, "
                f"received {value!r}. Leave it as it was, or choose another --output."
            )

    def append_metrics(self, document: Mapping[str, object]) -> None:
        """Appends one line and flushes it to disk.

        Raises:
            ProxylessHwError: the place cannot be written.
        """
        line = (json.dumps(document, allow_nan=False) + "\n").encode()
        try:
            append_durably(self.metrics, line)
        except OSError as cause:
            raise self.error(
                f"cannot write {self.metrics}: {cause.strerror or cause}. Make room there, then go "
                f"on: {self.resume_command()}"
            ) from cause

    def keep_metrics(self, epochs: int) -> None:
        """Drops lines after the first `epochs`: a killed run may have written one too many.

        Raises:
            ProxylessHwError: the place cannot be written.
        """
        if self.metrics.exists():
            lines = read_text(self.metrics, self.error, "metrics").splitlines()
            text = "".join(line + "\n" for line in lines[:epochs])
            write_text_atomically(self.metrics, text, self.error)


def default_folder(name: str, root: Path = Path("runs")) -> Path:
    """The first free folder ``runs/NAME``, ``runs/NAME-2``, ..."""
    candidate, number = root / name, 2
    while candidate.exists():
        candidate, number = root / f"{name}-{number}", number + 1
    return candidate
