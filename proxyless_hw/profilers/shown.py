"""How far a measurement is, shown where the caller does not show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proxyless_hw.profilers.protocol.timing import Progress
from proxyless_hw.terminal.progress import phase


@contextmanager
def shown(
    title: str, progress: Callable[[Progress], None] | None, quiet: bool
) -> Iterator[Callable[[Progress], None]]:
    """Yields what is called after each round: the caller's function, or a line on stderr.

    Args:
        title: what is measured.
        progress: the caller's function.
        quiet: without one, nothing is shown.
    """
    if progress is not None:
        yield progress
        return
    with phase(title, quiet) as say:
        yield lambda state: say(state.text)
