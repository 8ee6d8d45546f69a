"""Checkpoints: reading one, and putting it into a freshly built state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.storage.tensor_files import load_tensors


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
