"""The examples run as they stand, from a folder outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from documented import ROOT

EXAMPLES = ROOT / "examples"


def run_example(name: str, folder: Path, *arguments: str) -> str:
    """What an example prints; it has a cache and a working folder of its own."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_own_loop_runs_as_it_stands(tmp_path: Path) -> None:
    assert "derived" in run_example("own_loop.py", tmp_path)


@pytest.mark.slow
def test_own_device_runs_as_it_stands_and_leaves_no_journal(tmp_path: Path) -> None:
    printed = run_example("own_device.py", tmp_path, str(tmp_path / "tables"))
    assert "a board at half its clock takes 2.0" in printed
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["fast.csv", "slow.csv"]
    assert not any((tmp_path / "cache" / "proxyless-hw" / "profiles").iterdir())
