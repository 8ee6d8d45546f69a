"""A phone and the models that it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import standin_adb
from android_phone import Phone

from proxyless_hw.profilers.base import Workload


@pytest.fixture
def phone(tmp_path: Path) -> Phone:
    standin_adb.install(tmp_path / "phone", times_us=[1200, 1300, 1250])
    return Phone(tmp_path / "phone")


@pytest.fixture
def models(tmp_path: Path) -> list[Workload]:
    """Files that the stand-in does not look into: it prints made-up times."""
    found = []
    for name in ("conv", "mbconv", "classifier"):
        (tmp_path / f"{name}.tflite").write_bytes(name.encode())
        found.append(Workload(name, file=tmp_path / f"{name}.tflite"))
    return found
