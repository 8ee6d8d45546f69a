"""Where and with what priority the measuring thread runs, set for a session and undone after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.device_options import CpuOptions
from proxyless_hw.profilers.options import parse_options

REALTIME_PRIORITY = 20


@contextmanager
def scheduled(settings: ProfilerSettings) -> Iterator[None]:
    """Pins the calling thread, and raises its priority where ``--option priority=realtime`` asks.

    Threads that it starts meanwhile inherit both.

    Raises:
        ProfilingError: a processor may not be used, or the priority may not be raised.
    """
    priority = parse_options(CpuOptions, settings.options).priority
    with _pinned(settings.cpus), _prioritised(priority):
        yield


@contextmanager
def _pinned(cpus: tuple[int, ...] | None) -> Iterator[None]:
    if cpus is None:
        yield
        return
    allowed = os.sched_getaffinity(0)
    if not cpus or not set(cpus) <= allowed:
        raise ProfilingError(
            "--cpus must name processors this process may use "
            f"({', '.join(map(str, sorted(allowed)))}): received {', '.join(map(str, cpus))}."
        )
    os.sched_setaffinity(0, set(cpus))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def _prioritised(priority: str) -> Iterator[None]:
    if priority == "normal":
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except PermissionError as cause:
        raise ProfilingError(
            "option priority=realtime needs the right to raise priorities (CAP_SYS_NICE). "
            "Run with it, or leave the option out."
        ) from cause
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)
