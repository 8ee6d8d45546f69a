"""What runtimes share that call an op between two convolutions (see `models.surroundings`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.conditioning import (
    Conditioning,
    cache_state,
    network_conditioning,
)
from proxyless_hw.profilers.host.scheduling import scheduled
from proxyless_hw.profilers.host.session import Runner, thread_clock
from proxyless_hw.profilers.host.surrounded import SurroundedSession
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.profilers.models.surroundings import Surroundings, surroundings_of


def open_surrounded(
    settings: ProfilerSettings,
    workloads: Sequence[Workload],
    runner: Callable[[Workload | Surroundings], Runner],
    passing: Callable[[float], Runner] | None = None,
) -> SurroundedSession:
    """Builds and warms up one runner per workload, and one per kind of surroundings.

    Args:
        settings: threads, scheduling, cache state.
        workloads: ops, networks and files.
        runner: builds one workload, an op with what surrounds it; or surroundings alone.
        passing: builds a network whose weights take so many MB, which then runs before each call
            of an op (see `models.passing_network`). When None, as much memory is read.

    Raises:
        ProfilingError, ExportError: as `runner`.
    """
    with ExitStack() as stack:
        stack.enter_context(scheduled(settings))
        runners = [replace(runner(item), whole=item.op is None) for item in workloads]
        kinds = dict(enumerate(map(surroundings_of, workloads)))
        alone = {kind: runner(kind) for kind in set(kinds.values()) if kind is not None}
        idle = runner(IDENTITY)
        return SurroundedSession(
            runners,
            {index: alone[kind] for index, kind in kinds.items() if kind is not None},
            idle,
            conditioning=_conditioning(settings, idle, passing),
            worked=thread_clock(settings),
            resources=stack.pop_all(),
        )


def _conditioning(
    settings: ProfilerSettings, idle: Runner, passing: Callable[[float], Runner] | None
) -> Conditioning | None:
    """What comes before each call of an op."""
    mode, megabytes = cache_state(settings)
    if passing is None or mode != "network":
        return network_conditioning(settings, idle.call)
    return Conditioning(np.zeros(1, dtype=np.float32), passing(megabytes).call)
