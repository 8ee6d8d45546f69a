"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from proxyless_hw.errors import ProxylessHwError


@contextlib.contextmanager
def atomic_path(path: Path, error: type[ProxylessHwError]) -> Iterator[Path]:
    """Gives a temporary path in the folder of `path`; on success it replaces `path` durably.

    The file is flushed to disk before the rename, and the folder after it. On any failure the
    temporary file is removed and an existing `path` stays as it was.

    Raises:
        ProxylessHwError: (as `error`) the folder cannot be made or written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise error(f"cannot write {path}: it is a folder. Give the path of a file.")
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _sync(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as cause:
        raise error(
            f"cannot write {path}: {cause.strerror or cause}. "
            "Choose another place with --output, or make room there."
        ) from cause
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str, error: type[ProxylessHwError]) -> None:
    """Writes UTF-8 text by way of `atomic_path`.

    Raises:
        ProxylessHwError: (as `error`) see `atomic_path`.
    """
    with atomic_path(path, error) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_atomically(source: Path, target: Path, error: type[ProxylessHwError]) -> None:
    """Copies a file's content by way of `atomic_path`.

    Raises:
        ProxylessHwError: (as `error`) the source cannot be read, or see `atomic_path`.
    """
    with atomic_path(target, error) as temporary:
        shutil.copyfile(source, temporary)


def open_to_append(path: Path) -> BinaryIO:
    """Opens a file to append to it. A symbolic link is refused: what it names may lie anywhere.

    Raises:
        OSError: the place cannot be written, or is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.fdopen(os.open(path, flags, 0o666), "ab")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
