"""Messages that a user should see although nothing has failed: warnings, or lines on stderr."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click


class Notice(UserWarning):
    """Something the user should know; the work goes on."""


def notice(message: str, category: type[Notice] = Notice) -> None:
    """Warns. Python's filters apply; the command line prints one line."""
    warnings.warn(message, category, stacklevel=3)


@contextmanager
def notices_as_lines() -> Iterator[None]:
    """Prints every notice as a line on stderr; other warnings stay as they are."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, Notice):
                click.echo(f"warning: {message}", err=True)
            else:
                others(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", Notice)
        warnings.showwarning = show
        yield
