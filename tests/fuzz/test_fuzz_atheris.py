"""The parsers under atheris: bytes that reach new code are kept and mutated further."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import record
from fuzz_targets import TARGETS

HERE = Path(__file__).parent
SEED, RUNS = 20240801, 20_000


def run_atheris(name: str, folder: Path, runs: int) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(HERE), *sys.path])
    return subprocess.run(
        [
            *(sys.executable, str(HERE / "atheris_parsers.py"), name, str(folder)),
            *(f"-atheris_runs={runs}", f"-seed={SEED}"),
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=3000,
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_twenty_thousand_runs_guided_by_coverage_find_nothing(name: str, tmp_path: Path) -> None:
    start = time.monotonic()
    done = run_atheris(name, tmp_path, RUNS)
    found = [path.name for path in tmp_path.iterdir() if path.name.startswith(("crash-", "oom-"))]
    record(f"atheris_{name}", RUNS, len(found), time.monotonic() - start, SEED)
    assert done.returncode == 0, f"{found} {done.stderr[-4000:]}"
    assert not found
    assert re.search(r"Done \d+ in|stat::number_of_executed_units|Exiting", done.stderr), (
        done.stderr
    )
