"""One writer at a time: an advisory lock on a file that vanishes with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from proxyless_hw.errors import ProxylessHwError


def lock_beside(path: Path) -> Path:
    """The lock file of a file that is replaced as a whole, in its folder."""
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def exclusive_lock(
    path: Path, error: type[ProxylessHwError], what: str
) -> Iterator[Callable[[], None]]:
    """Holds an exclusive lock; a second process is refused at once.

    The kernel drops the lock when the process ends, however it ends. The file is removed at the
    end; that of a killed process stays, unlocked, and hinders nobody.

    Args:
        path: the lock file; made when absent.
        error: the class of the error to raise.
        what: what is being protected, for the message.

    Yields:
        A check that the lock still protects what it should: it raises `error` once the lock file
        is gone, as when its folder was removed, and perhaps made anew by another process.

    Raises:
        ProxylessHwError: (as `error`) another process holds it, or the file cannot be made.
    """
    descriptor = _acquire(path, error, what)

    def check() -> None:
        if not is_file_at(descriptor, path):
            raise error(
                f"{what} was removed or replaced while this process was writing it. Nothing more "
                "is written there: start again, and leave the folder in place."
            )

    try:
        yield check
    finally:
        # Removed while it is held: nobody else can hold this file, and whoever has opened it
        # meanwhile finds that it is gone and makes another.
        with contextlib.suppress(OSError):
            if is_file_at(descriptor, path):
                path.unlink()
        os.close(descriptor)


def _acquire(path: Path, error: type[ProxylessHwError], what: str) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except OSError as cause:
            raise error(
                f"cannot write beside {what}: {path}: {cause.strerror or cause}. Choose another "
                "place with --output, or make room there."
            ) from cause
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_file_at(descriptor, path):
                return descriptor
        except BlockingIOError as cause:
            os.close(descriptor)
            raise error(
                f"another process is writing {what}. Wait for it to end, or choose another "
                "--output."
            ) from cause
        except OSError as cause:
            os.close(descriptor)
            raise error(f"cannot lock {path}: {cause.strerror or cause}.") from cause
        os.close(descriptor)


def is_file_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one that the path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False
