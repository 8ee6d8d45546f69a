"""One writer at a time: an advisory lock on a file that vanishes with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from proxyless_hw.errors import ProxylessHwError


@contextlib.contextmanager
def exclusive_lock(path: Path, error: type[ProxylessHwError], what: str) -> Iterator[None]:
    """Holds an exclusive lock; a second process is refused at once.

    The kernel drops the lock when the process ends, however it ends, so none is ever left behind.

    Args:
        path: the lock file; made when absent.
        error: the class of the error to raise.
        what: what is being protected, for the message.

    Raises:
        ProxylessHwError: (as `error`) another process holds it, or the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as cause:
        raise error(f"cannot write beside {what}: {path}: {cause.strerror or cause}.") from cause
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            raise error(
                f"another process is writing {what}. Wait for it to end, or choose another "
                "--output."
            ) from cause
        yield
    finally:
        os.close(descriptor)
