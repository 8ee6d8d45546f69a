"""The state of the caches in which a network finds each of its ops.

Between two runs of an op, the rest of its network passes through the caches: the op's weights
have left them, its input has just been written, and the runtime's own code is warm. An op that is
called in a loop finds everything in the nearest cache and looks up to a tenth faster than it is.
So before each timed call as much memory is read as a network moves, then the input is touched,
then the runtime is called once on a model that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings

NETWORK_MEGABYTES = 22
"""Memory read between two calls: what a mobile network works on.

A uniformly random network of the imagenet space at 224 has 15 MB of weights, and the maps of the
largest op of that space take 7 MB.
"""

MAX_MEGABYTES = 4096


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Brings the caches into the state they have inside a network.

    Attributes:
        buffer: memory that is read; float32, and written once, because the pages of a fresh
            array of zeros all share one physical page.
        idle_call: runs the runtime on a model that does nothing; None skips that step.
    """

    buffer: np.ndarray[Any, np.dtype[np.float32]]
    idle_call: Callable[[], object] | None = None

    def prepare(self, touch: Callable[[], object] | None) -> None:
        """Evicts what the caches hold, then calls `touch` to bring a workload's inputs back."""
        self.buffer.max()
        if touch is not None:
            touch()
        if self.idle_call is not None:
            self.idle_call()


def network_conditioning(
    settings: ProfilerSettings, idle_call: Callable[[], object] | None = None
) -> Conditioning | None:
    """The conditioning that a setting asks for; None for ``--option cache=hot``.

    Args:
        settings: its options ``cache`` (``network`` or ``hot``) and ``cache_mb`` are used.
        idle_call: runs the runtime on a model that does nothing.

    Raises:
        ProfilingError: an option has another value.
    """
    mode = settings.options.get("cache", "network")
    if mode == "hot":
        return None
    if mode != "network":
        raise ProfilingError(f"option cache is 'network' or 'hot': received {mode[:60]!r}.")
    text = settings.options.get("cache_mb", str(NETWORK_MEGABYTES))
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MAX_MEGABYTES:
        raise ProfilingError(
            f"option cache_mb is a whole number from 1 to {MAX_MEGABYTES}: received {text[:60]!r}."
        )
    return Conditioning(np.ones(int(text) * 2**20 // 4, dtype=np.float32), idle_call)


def cache_line(settings: ProfilerSettings) -> str:
    """The cache state in one word for a table's header, as ``network 32 MB`` or ``hot``."""
    if settings.options.get("cache", "network") == "hot":
        return "hot"
    return f"network {settings.options.get('cache_mb', NETWORK_MEGABYTES)} MB"
