"""Huge files: 100 MB in a line, a million rows, nesting 100,000 deep; the kernel sets limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import record
from fuzz_targets import TARGETS

HERE = Path(__file__).parent
ADDRESS_SPACE_MB = 4096
SECONDS = 120
NESTED = ("brackets", "braces", "dashes", "questions")
SHAPES = ("line", "rows", "fitting rows", *NESTED)


def bounded(form: str, shape: str, folder: Path) -> str:
    """Runs one attempt in a process of its own; its outcome, or how it ended."""
    path = os.pathsep.join([str(HERE), *sys.path])
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "bounded_attempt.py"), form, shape, str(folder)),
            *(str(ADDRESS_SPACE_MB), str(SECONDS)),
        ],
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return f"{form}, {shape}: exit {done.returncode}: {done.stderr[-1500:]}"
    report = json.loads(done.stdout)
    if report["peak_mb"] > 2048 or report["seconds"] > SECONDS:
        return f"{form}, {shape}: {report}"
    return ""


@pytest.mark.parametrize("shape", NESTED)
@pytest.mark.parametrize("form", ["space", "architecture"])
def test_nesting_that_would_exhaust_a_stack_is_refused(
    form: str, shape: str, tmp_path: Path
) -> None:
    assert bounded(form, shape, tmp_path) == ""


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_huge_files_of_every_form_stay_within_memory_and_time(tmp_path: Path) -> None:
    start = time.monotonic()
    cases = [(form, shape) for form in TARGETS for shape in SHAPES]
    failed = []
    for form, shape in cases:
        folder = tmp_path / f"{form}-{shape}"
        folder.mkdir()
        failed += [problem] if (problem := bounded(form, shape, folder)) else []
        for path in filter(Path.is_file, folder.rglob("*")):
            path.unlink()
    record("huge_files", len(cases), len(failed), time.monotonic() - start, 0)
    assert not failed, "\n".join(failed)
