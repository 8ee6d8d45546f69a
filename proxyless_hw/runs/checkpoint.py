"""Checkpoints: reading one, and putting it into a freshly built state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.runs.state import State
from proxyless_hw.storage.tensor_files import finite, load_tensors, read_sums, whole


def read_checkpoint(
    path: Path, schema: str, kind: str, error: type[ProxylessHwError]
) -> dict[str, Any]:
    """Reads a checkpoint with ``weights_only=True``.

    Args:
        path: the file.
        schema: what its key ``schema`` must hold.
        kind: what it is called in messages (``search``, ``training``).
        error: what is raised.

    Raises:
        ProxylessHwError: unreadable, or of another schema.
    """
    document = load_tensors(path, error, f"{kind} checkpoint")
    if document.get("schema") != schema:
        raise error(f"{path} is not a {kind} checkpoint of schema '{schema}'.")
    return document


@contextlib.contextmanager
def restoring(path: Path, kind: str, error: type[ProxylessHwError]) -> Iterator[None]:
    """Turns what a part of a checkpoint that does not fit raises into one message.

    Raises:
        ProxylessHwError: a part is missing or has another shape.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as cause:
        first_line = (str(cause).splitlines() or [type(cause).__name__])[0][:200]
        raise error(f"{path} does not fit this {kind}: {first_line}") from cause


def position_of(state: State) -> dict[str, Any]:
    """Where a run is, as plain containers for its checkpoint."""
    return {
        "epoch": state.epoch,
        "step": state.step,
        "sums": dict(vars(state.sums)),
        "seconds": state.seconds,
    }


def restore_position(state: State, document: Mapping[str, Any]) -> None:
    """Puts a run where its checkpoint was written; the state's sums are new ones.

    Raises:
        KeyError, ValueError: a number is missing or is none.
    """
    state.epoch = whole(document["epoch"], "epoch")
    state.step = whole(document["step"], "step")
    vars(state.sums).update(vars(read_sums(document["sums"], state.sums)))
    state.seconds = finite(document["seconds"], "seconds")
