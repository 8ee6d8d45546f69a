"""A vendor's tool for tests of ``--device command``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.command.profiler import CommandProfiler

PYTHON = sys.executable
CASES = Path(__file__).parents[2] / "cases"


def tool(tmp_path: Path, body: str) -> str:
    """A vendor's tool: a Python script; `model` is the path it was given."""
    path = tmp_path / "vendor-bench"
    path.write_text(f"#!{PYTHON} -S\nimport sys, time\nmodel = sys.argv[-1]\n{body}\n", "utf-8")
    path.chmod(0o755)
    return f"'{path}' --runs 3 {{model}}"


def profiler(command: str, **options: str) -> CommandProfiler:
    return CommandProfiler(ProfilerSettings(options={"command": command, **options}))


def two_models(folder: Path) -> list[Workload]:
    found = []
    for name in ("a", "b"):
        shutil.copyfile(CASES / "onnx" / "m03_fixed_batch8.onnx", folder / f"{name}.onnx")
        found.append(Workload(name, file=folder / f"{name}.onnx"))
    return found
