"""A stand-in phone behind a stand-in adb."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import standin_adb

from proxyless_hw.profilers.android.adb import AdbProfiler
from proxyless_hw.profilers.android.adb_device import AdbDevice, choose_device
from proxyless_hw.profilers.base import ProfilerSettings


class Phone:
    """A stand-in phone with the settings that reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.adb = folder / "adb"

    def configure(self, **behaviour: Any) -> None:
        standin_adb.configure(self.folder, **behaviour)

    def profiler(
        self, sleep: Callable[[float], None] = lambda _: None, **options: str
    ) -> AdbProfiler:
        quick = {"runs": "3", "min_secs": "0", "warmup_runs": "1", "adb": str(self.adb)}
        return AdbProfiler(ProfilerSettings(options={**quick, **options}), sleep)

    @property
    def device(self) -> AdbDevice:
        return choose_device(str(self.adb), None)

    def leftovers(self) -> list[str]:
        return [
            path.name
            for path in (self.folder / "root/data/local/tmp").iterdir()
            if path.name != "benchmark_model"
        ]
