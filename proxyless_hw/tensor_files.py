"""Files of tensors and plain containers: written atomically, read with ``weights_only=True``."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.files import atomic_path

# torch raises this class for a payload it refuses; it exports it under no name of its own.
_RefusedPayload: type[Exception] = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]


def save_tensors(path: Path, document: dict[str, Any], error: type[ProxylessHwError]) -> None:
    """Writes a dict of tensors and plain containers; the old file stays until this one is whole.

    Raises:
        ProxylessHwError: (as `error`) the place cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(document, buffer)
    with atomic_path(path, error) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_tensors(path: Path, error: type[ProxylessHwError], what: str) -> dict[str, Any]:
    """Reads a dict of tensors and plain containers. Nothing in the file is executed.

    Args:
        path: the file.
        error: the class of the error to raise.
        what: what the file should be, for the message.

    Raises:
        ProxylessHwError: (as `error`) unreadable, damaged, holding anything but tensors and plain
            containers, or no dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols, read safely or refused
            document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as cause:
        raise error(f"cannot read {what} {path}: {cause.strerror or cause}.") from cause
    except (
        *(RuntimeError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError),
        *(_RefusedPayload, zipfile.BadZipFile, UnicodeDecodeError, MemoryError, OverflowError),
    ) as cause:
        reason = str(cause).splitlines()[0][:160] if str(cause) else type(cause).__name__
        raise error(f"{path} is not a {what} that can be loaded safely: {reason}") from cause
    if not isinstance(document, dict):
        raise error(f"{path} is not a {what}: it holds a {type(document).__name__}, not a dict.")
    return document
