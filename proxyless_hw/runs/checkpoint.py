"""Checkpoints of a run: tensors and plain containers only, written atomically."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.runs.settings import RunSettings
from proxyless_hw.runs.state import RunState
from proxyless_hw.storage.tensor_files import finite, load_tensors, read_sums, save_tensors, whole


@dataclass(frozen=True, slots=True)
class CheckpointFormat:
    """The checkpoints of one kind of run.

    Attributes:
        schema: the value of their key ``schema``.
        kind: what messages call the run: ``search`` or ``training``.
        error: the class of the errors that are raised.
    """

    schema: str
    kind: str
    error: type[ProxylessHwError]

    def write(
        self,
        path: Path,
        state: RunState[Any],
        settings: RunSettings,
        parts: Mapping[str, Any],
        check: Callable[[], None] | None = None,
    ) -> None:
        """Writes the whole state atomically; the old file stays until the new one is on disk.

        Args:
            path: the file.
            state: gives the position, the running sums and the loss scaling.
            settings: of the run.
            parts: what this kind of run has beside them: tensors and plain containers.
            check: as in `save_tensors`.

        Raises:
            ProxylessHwError: the place cannot be written.
        """
        document = {
            "schema": self.schema,
            "config": {**settings.to_dict(), "resume": False},
            **parts,
            "scaler": state.scaler.state_dict(),
            "epoch": state.epoch,
            "step": state.step,
            "sums": asdict(state.sums),
            "seconds": state.seconds,
        }
        save_tensors(path, document, self.error, check)

    def read(self, path: Path) -> dict[str, Any]:
        """Reads a checkpoint with ``weights_only=True``.

        Raises:
            ProxylessHwError: the file cannot be read, or has another schema.
        """
        document = load_tensors(path, self.error, f"{self.kind} checkpoint")
        if document.get("schema") != self.schema:
            raise self.error(f"{path} is not a {self.kind} checkpoint of schema '{self.schema}'.")
        return document

    @contextlib.contextmanager
    def restoring(
        self, state: RunState[Any], document: Mapping[str, Any], path: Path
    ) -> Iterator[None]:
        """Restores what `write` took from the state; the block restores the other parts.

        Args:
            state: a freshly built one.
            document: what `read` returned.
            path: where it was read, for messages.

        Raises:
            ProxylessHwError: a part is missing, or does not fit the state.
        """
        try:
            yield
            if "scaler" in document:  # not in searches' checkpoints of version 0.1
                state.scaler.load_state_dict(document["scaler"])
            state.epoch = whole(document["epoch"], "epoch")
            state.step = whole(document["step"], "step")
            state.sums = read_sums(document["sums"], state.sums)
            state.seconds = finite(document["seconds"], "seconds")
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as cause:
            first_line = (str(cause).splitlines() or [type(cause).__name__])[0][:200]
            raise self.error(f"{path} does not fit this {self.kind}: {first_line}") from cause
