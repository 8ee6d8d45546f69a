"""Keeps the output of native libraries off the terminal, unless an error occurs."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import TextIO

from proxyless_hw.errors import ExportError


@contextlib.contextmanager
def quiet_native_output(*, python_too: bool = False) -> Iterator[None]:
    """Holds back what native libraries print on file descriptor 2 while the block runs.

    Python's own ``sys.stderr`` (a progress bar, say) still reaches the terminal. When the block
    raises, what was held back is printed after all, so that nothing about a failure is lost.

    Args:
        python_too: holds back ``sys.stderr`` as well; for imports that log through it.
    """
    terminal = _terminal()
    if terminal is None:
        yield
        return
    python: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
    if not python_too and _writes_to_descriptor_2(sys.stderr):
        python = contextlib.redirect_stderr(terminal)
    try:
        held = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the with below)
    except OSError as cause:
        raise ExportError(
            f"cannot write temporary files: {cause}. Make room there, or set TMPDIR to a folder "
            "that has some."
        ) from cause
    with held, _descriptor_2_as(held.fileno()) as previous:
        try:
            with python:
                yield
        except BaseException:
            held.seek(0)
            os.write(previous, held.read())
            raise


@contextlib.contextmanager
def _descriptor_2_as(descriptor: int) -> Iterator[int]:
    """Redirects file descriptor 2; yields a descriptor of its former target."""
    previous = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield previous
    finally:
        os.dup2(previous, 2)
        os.close(previous)


@cache
def _terminal() -> TextIO | None:
    """The process's standard error under another descriptor; None if it has no standard error.

    Closed when the process ends, not before: a log handler made meanwhile may keep it.
    """
    try:
        stream = os.fdopen(os.dup(2), "w", buffering=1)
    except OSError:
        return None
    atexit.register(stream.close)
    return stream


def _writes_to_descriptor_2(stream: object) -> bool:
    try:
        return isinstance(stream, io.TextIOBase) and stream.fileno() == 2
    except (OSError, ValueError):
        return False
