"""Profiles of a tiny space on the made-up device, for tests of `profile`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fake_host import FakeClock, FakeProfiler

from proxyless_hw.profilers.profile import ProfileConfig, profile
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.tables.table import LatencyTable


def config_for(tiny: Path, **changes: object) -> ProfileConfig:
    base = ProfileConfig(
        output=tiny.parent / "out" / "t.csv",
        space=tiny,
        sessions=1,
        timing=TimingConfig(max_rounds=8),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def run(config: ProfileConfig, **more: object) -> tuple[LatencyTable, FakeProfiler, FakeClock]:
    clock = FakeClock()
    profiler = FakeProfiler(clock)
    table = profile(config, profiler=profiler, clock=clock, **more)  # type: ignore[arg-type]
    return table, profiler, clock
