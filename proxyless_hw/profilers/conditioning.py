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

from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.device_options import CpuOptions
from proxyless_hw.profilers.options import parse_options

NETWORK_MEGABYTES = 22
"""Memory read between two calls: what a mobile network works on.

A uniformly random network of the imagenet space at 224 has 15 MB of weights, and the maps of the
largest op of that space take 7 MB.
"""

COLD_MEGABYTES = 256
"""Memory read between two calls where nothing shall be left in a cache: more than most hold."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Brings the caches into the state they have inside a network.

    Attributes:
        buffer: memory that is read; float32, and written once, because the pages of a fresh
            array of zeros all share one physical page.
        idle_call: runs the runtime on a model that does nothing; None skips that step.
        touches: whether a workload's inputs are brought back before its call.
    """

    buffer: np.ndarray[Any, np.dtype[np.float32]]
    idle_call: Callable[[], object] | None = None
    touches: bool = True

    def prepare(self, touch: Callable[[], object] | None) -> None:
        """Evicts what the caches hold, then brings a workload's inputs back with `touch`."""
        self.buffer.max()
        if touch is not None and self.touches:
            touch()
        if self.idle_call is not None:
            self.idle_call()


def network_conditioning(
    settings: ProfilerSettings, idle_call: Callable[[], object] | None = None
) -> Conditioning | None:
    """The conditioning that a setting asks for; None for ``--cache hot``.

    Args:
        settings: its options ``cache`` and ``cache_mb`` are used.
        idle_call: runs the runtime on a model that does nothing.

    Raises:
        ProfilingError: an option has another value.
    """
    options = parse_options(CpuOptions, settings.options)
    if options.cache == "hot":
        return None
    buffer = np.ones(_megabytes(options) * 2**20 // 4, dtype=np.float32)
    if options.cache == "cold":
        return Conditioning(buffer, touches=False)
    return Conditioning(buffer, idle_call)


def cache_line(settings: ProfilerSettings) -> str:
    """The cache state in a few words for a table's header, as ``network 22 MB`` or ``hot``."""
    options = parse_options(CpuOptions, settings.options)
    return "hot" if options.cache == "hot" else f"{options.cache} {_megabytes(options)} MB"


def _megabytes(options: CpuOptions) -> int:
    default = COLD_MEGABYTES if options.cache == "cold" else NETWORK_MEGABYTES
    return default if options.cache_mb is None else options.cache_mb
