"""Writing files so that a crash leaves either the old file or the new one, never half of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ProxylessHwError


@contextlib.contextmanager
def atomic_path(
    path: Path, error: type[ProxylessHwError], check: Callable[[], None] | None = None
) -> Iterator[Path]:
    """Gives a temporary path in the folder of `path`; on success it replaces `path` durably.

    The file is flushed to disk before the rename, and the folder after it. On any failure the
    temporary file is removed and an existing `path` stays as it was. What a killed process left
    behind while it wrote `path` is removed by the next one that writes it.

    Args:
        path: the file.
        error: the class of the error to raise.
        check: called last, just before `path` is replaced; when it raises, nothing is.

    Raises:
        ProxylessHwError: (as `error`) the folder cannot be made or written, or the disk is full.
    """
    temporary: Path | None = None
    descriptor = -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise error(f"cannot write {path}: it is a folder. Give the path of a file.")
        prefix = f".{path.name[:80]}."
        _remove_abandoned(path.parent, prefix)
        while True:
            # Named before it is made: a signal in between leaves nothing that `finally` misses.
            temporary = path.parent / f"{prefix}{_random_suffix()}"
            descriptor = _create_locked(temporary)
            if descriptor >= 0:
                break
        yield temporary
        _sync(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        if check is not None:
            check()
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as cause:
        raise error(
            f"cannot write {path}: {cause.strerror or cause}. "
            "Choose another place with --output, or make room there."
        ) from cause
    finally:
        if temporary is not None:
            # Where even this fails (the disk went read-only), the first failure is the news.
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if descriptor >= 0:
            os.close(descriptor)


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


def append_durably(path: Path, data: bytes) -> None:
    """Appends to a file, which is created if it is missing, and waits until it is on disk.

    A symbolic link is refused: what it names may lie anywhere.

    Raises:
        OSError: the place cannot be written, or is a link; the file is as it was.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    try:
        append_to_open_file(descriptor, data)
    finally:
        os.close(descriptor)


def append_to_open_file(descriptor: int, data: bytes) -> None:
    """The same for a file that is open for appending.

    Raises:
        OSError: the disk is full or fails; what had been written of `data` is taken back.
    """
    before = os.fstat(descriptor).st_size
    try:
        written = 0
        while written < len(data):
            written += os.write(descriptor, data[written:])
        os.fsync(descriptor)
    except OSError:
        # Where even this fails, readers drop a last line without an end.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


@contextlib.contextmanager
def scratch_folder(error: type[ProxylessHwError]) -> Iterator[Path]:
    """A folder for files that are needed only within the block, where the system keeps such.

    Raises:
        ProxylessHwError: (as `error`) there is no place for it, or the disk is full.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="proxyless-hw-") as folder:
            yield Path(folder)
    except OSError as cause:
        raise error(
            f"cannot write temporary files: {cause}. Make room there, or set TMPDIR to a folder "
            "that has some."
        ) from cause


def _create_locked(temporary: Path) -> int:
    """Makes a file that stays locked while this process lives, which tells it from litter.

    Returns:
        The open descriptor; -1 where the name is taken, or where another process took the file
        for litter before it was locked.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        descriptor = os.open(temporary, flags, 0o600)
    except FileExistsError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)  # another process takes it for litter just now, and removes it
        return -1
    except OSError:
        return descriptor  # a file system without locks, where nothing is removed
    if os.fstat(descriptor).st_nlink:
        return descriptor
    os.close(descriptor)
    return -1


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Removes temporary files of `_create_locked` whose process has died."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is_temporary(entry.name, prefix)]
    for name in names:
        with contextlib.suppress(OSError):  # another process was faster, or it may not be removed
            descriptor = os.open(folder / name, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / name).unlink()
            finally:
                os.close(descriptor)


def _random_suffix() -> str:
    return "".join(secrets.choice(_SUFFIX_CHARACTERS) for _ in range(_SUFFIX_LENGTH))


def _is_temporary(name: str, prefix: str) -> bool:
    """Whether a name is the prefix and a `_random_suffix`."""
    rest = name.removeprefix(prefix)
    return rest != name and len(rest) == _SUFFIX_LENGTH and set(rest) <= set(_SUFFIX_CHARACTERS)


_SUFFIX_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789_"
_SUFFIX_LENGTH: Final = 8


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
