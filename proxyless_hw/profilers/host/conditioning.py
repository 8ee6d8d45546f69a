"""The state of the caches in which a network finds each of its ops.

Between two runs of an op, the rest of its network passes through the caches: the op's weights
have left them if the network is large, its input has just been written, and the runtime's own code
is warm. An op that is called in a loop finds everything in the nearest cache and looks up to a
tenth faster than it is; one that is called after more memory was read than its network moves looks
slower. So before each timed call as much memory is read as one pass of a network of the space
moves, then the input is touched, then the runtime is called once on a model that does nothing.

Whole networks need none of this: called again and again, as a camera does, a network leaves the
caches as it finds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.device_options import Cache, CpuOptions
from proxyless_hw.profilers.options import given_options, parse_options
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec

DEFAULT_MEGABYTES: Final = 22.0
"""Memory read between two calls if no space gives the amount: that of a mobile network."""

LEAST_MEGABYTES, MOST_MEGABYTES = 0.01, 4096.0
"""Bounds of `CpuOptions.cache_mb`. The smallest spaces move less, which makes no difference."""

LEAST_COLD_MEGABYTES: Final = 64.0
BYTES: Final = {"fp32": 4, "fp16": 2, "int8": 1}

MODES: Final = get_args(Cache)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Brings the caches into the state they have inside a network.

    Attributes:
        buffer: memory that is read; float32, and written once, because the pages of a fresh
            array of zeros all share one physical page.
        idle_call: runs the runtime on a model that does nothing; None skips that step.
        cold: whole networks are conditioned too, and inputs are not brought back.
    """

    buffer: np.ndarray[Any, np.dtype[np.float32]]
    idle_call: Callable[[], object] | None = None
    cold: bool = False

    def prepare(self, touch: Callable[[], object] | None) -> None:
        """Evicts what the caches hold, then brings a workload's inputs back with `touch`."""
        self.buffer.max()
        if touch is not None and not self.cold:
            touch()
        if self.idle_call is not None:
            self.idle_call()


def network_conditioning(
    settings: ProfilerSettings, idle_call: Callable[[], object] | None = None
) -> Conditioning | None:
    """The conditioning that a setting asks for; None for ``--cache hot``.

    Args:
        settings: its options ``cache`` (``network``, ``hot`` or ``cold``) and ``cache_mb`` are
            used.
        idle_call: runs the runtime on a model that does nothing.

    Raises:
        ProfilingError: an option has another value.
    """
    mode, megabytes = cache_state(settings)
    if mode == "hot":
        return None
    size = max(1, round(megabytes * 2**20 / 4))
    return Conditioning(np.ones(size, dtype=np.float32), idle_call, mode == "cold")


def cache_state(settings: ProfilerSettings) -> tuple[str, float]:
    """The mode and the megabytes read before each call (0 when hot).

    Raises:
        ProfilingError: an option has another value.
    """
    options = parse_options(CpuOptions, settings.options)
    if options.cache == "hot":
        return "hot", 0.0
    if options.cache_mb is not None:
        return options.cache, options.cache_mb
    return options.cache, cold_megabytes() if options.cache == "cold" else DEFAULT_MEGABYTES


def cache_line(settings: ProfilerSettings) -> str:
    """The cache state for a header, as ``network 22 MB``, ``cold 64 MB`` or ``hot``."""
    mode, megabytes = cache_state(settings)
    return "hot" if mode == "hot" else f"{mode} {megabytes:.4g} MB"


def cache_options(line: str) -> dict[str, str]:
    """The options that bring back the state of a table's header line."""
    mode, _, size = line.partition(" ")
    if mode not in MODES:
        return {}
    number = size.removesuffix(" MB")
    return {"cache": mode} | ({"cache_mb": number} if number and mode != "hot" else {})


def with_caches_of(line: str, settings: ProfilerSettings) -> ProfilerSettings:
    """Settings that bring back the state of a table's header line, unless they ask for another."""
    stated, given = cache_options(line), given_options(settings.options)
    if not stated or "cache_mb" in given or given.get("cache", stated["cache"]) != stated["cache"]:
        return settings
    return replace(settings, options={**stated, **given})


def with_caches_for(
    space: SearchSpace,
    resolution: int,
    num_classes: int | None,
    settings: ProfilerSettings,
    say: Callable[[str], None],
) -> ProfilerSettings:
    """Settings with as much memory read as fits a space, unless they ask for another state.

    Args:
        space: where the networks come from.
        resolution: input resolution in pixels.
        num_classes: classes of the classifier; the space's own when None.
        settings: as they were given.
        say: receives a message if a custom op does not count itself, so that the amount is unknown.
    """
    given = given_options(settings.options)
    if "cache_mb" in given or given.get("cache", "network") != "network":
        return settings
    try:
        megabytes = space_megabytes(
            space, resolution, num_classes, settings.precision, settings.batch_size
        )
    except ArchitectureError as error:
        say(
            f"{error} Without them {DEFAULT_MEGABYTES:g} MB are read before each call, as for a "
            "mobile network; --option cache_mb=N says otherwise."
        )
        return settings
    return replace(settings, options={**given, "cache_mb": f"{megabytes:.4g}"})


def cold_megabytes(cache: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> float:
    """Memory that empties every cache of this machine: twice the last level."""
    sizes = []
    for path in cache.glob("index*/size"):
        text = path.read_text(encoding="ascii", errors="replace").strip()
        unit = {"K": 2**10, "M": 2**20}.get(text[-1:], 0)
        if unit and text[:-1].isdecimal():
            sizes.append(int(text[:-1]) * unit / 2**20)
    return min(512.0, max(LEAST_COLD_MEGABYTES, 2 * max(sizes, default=0.0)))


def space_megabytes(
    space: SearchSpace, resolution: int, num_classes: int | None, precision: str, batch_size: int
) -> float:
    """Megabytes that one pass of a random network of a space moves: weights and largest maps.

    Args:
        space: where the networks come from.
        resolution: input resolution in pixels.
        num_classes: classes of the classifier; the space's own when None.
        precision: number format of weights and maps.
        batch_size: images per call.
    """
    fixed = space.fixed_ops(resolution, num_classes)
    weights = float(sum(map(_weights, fixed)))
    maps = [_maps(op) for op in fixed]
    for candidates in space.slot_ops(resolution):
        present = [op for op in candidates if op is not None]
        weights += sum(map(_weights, present)) / len(candidates)
        maps += [max(map(_maps, present), default=0)]
    megabytes = (weights + batch_size * max(maps)) * BYTES[precision] / 2**20
    return min(MOST_MEGABYTES, max(LEAST_MEGABYTES, megabytes))


def _weights(op: OpSpec) -> int:
    from proxyless_hw.space.counting import op_parameters

    return op_parameters(op)


def _maps(op: OpSpec) -> int:
    """Values of the largest two maps that an op has at once."""
    inside = op.mid_c * op.in_h * op.in_w if op.expand > 1 else 0
    return op.in_c * op.in_h * op.in_w + max(inside, op.out_c * op.out_h * op.out_w)
