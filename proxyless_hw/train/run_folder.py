"""The files of a training: settings, metrics, checkpoints, architecture, result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyless_hw.errors import TrainingError
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import append_durably, write_text_atomically
from proxyless_hw.train.config import TrainConfig

# Settings that may differ between a run and its resumption: they do not change what is computed.
_FREE = frozenset(("output", "resume", "threads", "workers", "checkpoint_minutes", "max_broken"))
KIND = "train"


@dataclass(frozen=True, slots=True)
class TrainFolder:
    """Paths and small files of one training.

    Attributes:
        path: the folder. In it: ``config.json`` (settings and data), ``architecture.json`` (with
            the training shape), ``metrics.jsonl`` (one line per epoch), ``checkpoint.pt`` (the
            whole state, last), ``best.pt`` (weights alone, best), ``result.json`` (at the end).
    """

    path: Path

    @property
    def config(self) -> Path:
        """Settings and what is known about the data."""
        return self.path / "config.json"

    @property
    def architecture(self) -> Path:
        """The network, with its deployment and its training shape."""
        return self.path / "architecture.json"

    @property
    def checkpoint(self) -> Path:
        """The state after the last epoch, or at an interruption."""
        return self.path / "checkpoint.pt"

    @property
    def best(self) -> Path:
        """The weights that count: of the best epoch, averaged where there is an average."""
        return self.path / "best.pt"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def result(self) -> Path:
        """What came out; its presence marks a finished training."""
        return self.path / "result.json"

    def is_started(self) -> bool:
        """Whether a run has been here."""
        return self.config.exists() or self.checkpoint.exists()

    def write_json(self, path: Path, document: dict[str, Any]) -> None:
        """Writes a JSON file atomically.

        Raises:
            TrainingError: the place cannot be written.
        """
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_text_atomically(path, text, TrainingError)

    def read_json(self, path: Path) -> dict[str, Any]:
        """Reads a JSON file that holds an object.

        Raises:
            TrainingError: absent or malformed.
        """
        document = parse_json(read_text(path, TrainingError, path.name), TrainingError, str(path))
        if not isinstance(document, dict):
            raise TrainingError(f"{path} must hold a JSON object.")
        return document

    def settings(self) -> dict[str, Any]:
        """The settings the run began with.

        Raises:
            TrainingError: the folder is not that of a training.
        """
        document = self.read_json(self.config)
        settings = document.get("settings")
        if document.get("kind") != KIND or not isinstance(settings, dict):
            raise TrainingError(f"{self.path} is not the folder of a training.")
        return settings

    def check_same_settings(self, config: TrainConfig) -> None:
        """Checks that a resumption asks for what the run began with.

        Raises:
            TrainingError: a setting differs; old and new value are named.
        """
        old = self.settings()
        for key, value in config.to_dict().items():
            if key in _FREE or key not in old or old[key] == value:
                continue
            raise TrainingError(
                f"--resume goes on with the run's own settings: {key} was {old[key]!r}, received "
                f"{value!r}. Leave it as it was, or choose another --output."
            )

    def append_metrics(self, document: dict[str, Any]) -> None:
        """Appends one line and flushes it to disk.

        Raises:
            TrainingError: the place cannot be written.
        """
        line = (json.dumps(document, allow_nan=False) + "\n").encode()
        try:
            append_durably(self.metrics, line)
        except OSError as cause:
            raise TrainingError(
                f"cannot write {self.metrics}: {cause.strerror or cause}. Make room there, then go "
                f"on: {self.resume_command()}"
            ) from cause

    def keep_metrics(self, epochs: int) -> None:
        """Drops lines after the first `epochs`: a killed run may have written one too many.

        Raises:
            TrainingError: the place cannot be written.
        """
        if self.metrics.exists():
            lines = read_text(self.metrics, TrainingError, "metrics").splitlines()
            text = "".join(line + "\n" for line in lines[:epochs])
            write_text_atomically(self.metrics, text, TrainingError)

    def resume_command(self) -> str:
        """The command that goes on with this run."""
        return f"proxyless-hw train --output {self.path} --resume"
