"""The files of a run: config.json, metrics.jsonl, checkpoint.pt, architecture.json, result.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyless_hw.errors import SearchError
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import append_durably, write_text_atomically

# Settings that may differ between a run and its resumption: they do not change what is computed.
_FREE = frozenset(
    (
        *("output", "resume", "verify", "verify_budget", "force"),
        *("tensorboard", "threads", "workers", "max_broken"),
    )
)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths and small files of one run."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The state after the last completed epoch, or at an interruption."""
        return self.path / "checkpoint.pt"

    @property
    def architecture(self) -> Path:
        """The derived network; its presence marks a finished run together with `result`."""
        return self.path / "architecture.json"

    @property
    def network(self) -> Path:
        """Weights of the derived network, from the supernet, BatchNorm recalibrated."""
        return self.path / "network.pt"

    @property
    def result(self) -> Path:
        """What came out."""
        return self.path / "result.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def config(self) -> Path:
        """The effective settings."""
        return self.path / "config.json"

    def is_started(self) -> bool:
        """Whether a run has been here."""
        return self.config.exists() or self.checkpoint.exists()

    def write_json(self, path: Path, document: dict[str, Any]) -> None:
        """Writes a JSON file atomically.

        Raises:
            SearchError: the place cannot be written.
        """
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        write_text_atomically(path, text, SearchError)

    def read_json(self, path: Path) -> dict[str, Any]:
        """Reads a JSON file that holds an object.

        Raises:
            SearchError: absent or malformed.
        """
        document = parse_json(read_text(path, SearchError, path.name), SearchError, str(path))
        if not isinstance(document, dict):
            raise SearchError(f"{path} must hold a JSON object.")
        return document

    def check_same_settings(self, settings: dict[str, Any]) -> None:
        """Checks that a resumption asks for what the run began with.

        Raises:
            SearchError: a setting differs; old and new value are named.
        """
        old = self.read_json(self.config).get("settings", {})
        for key, value in settings.items():
            if key in _FREE or key not in old:
                continue
            if old[key] != value:
                raise SearchError(
                    f"--resume goes on with the run's own settings: {key} was {old[key]!r}, "
                    f"received {value!r}. Leave it as it was, or choose another --output."
                )

    def append_metrics(self, document: dict[str, Any]) -> None:
        """Appends one line and flushes it to disk.

        Raises:
            SearchError: the place cannot be written.
        """
        line = (json.dumps(document, allow_nan=False) + "\n").encode()
        try:
            append_durably(self.metrics, line)
        except OSError as cause:
            raise SearchError(
                f"cannot write {self.metrics}: {cause.strerror or cause}. Make room there, "
                f"then: proxyless-hw search --output {self.path} --resume"
            ) from cause

    def keep_metrics(self, epochs: int) -> None:
        """Drops lines after the first `epochs`: a killed run may have written one too many.

        Raises:
            SearchError: the place cannot be written.
        """
        if not self.metrics.exists():
            return
        lines = read_text(self.metrics, SearchError, "metrics").splitlines()
        write_text_atomically(
            self.metrics, "".join(line + "\n" for line in lines[:epochs]), SearchError
        )


def default_folder(name: str, root: Path = Path("runs")) -> Path:
    """The first free folder ``runs/NAME``, ``runs/NAME-2``, ..."""
    candidate, number = root / name, 2
    while candidate.exists():
        candidate, number = root / f"{name}-{number}", number + 1
    return candidate
