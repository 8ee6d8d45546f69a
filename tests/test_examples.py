"""The examples run as they stand with the wheel alone, each from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaged import ROOT, build, install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    install(build(folder), folder / "site")
    return folder / "site"


def run_python(site: Path, folder: Path, *arguments: str) -> str:
    """What Python prints with the wheel; cache and working folder are its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def run_example(name: str, site: Path, folder: Path, *arguments: str) -> str:
    """What an example prints; its copy lies outside the repository."""
    copied = shutil.copy(ROOT / "examples" / name, folder)
    return run_python(site, folder, str(copied), *arguments)


def test_it_is_the_wheel_that_runs(site: Path, tmp_path: Path) -> None:
    where = run_python(site, tmp_path, "-c", "import proxyless_hw as ph; print(ph.__file__)")
    assert Path(where.strip()).is_relative_to(site)


def test_own_loop_runs_as_it_stands(site: Path, tmp_path: Path) -> None:
    assert "derived" in run_example("own_loop.py", site, tmp_path)


def test_own_device_runs_as_it_stands_and_leaves_no_journal(site: Path, tmp_path: Path) -> None:
    printed = run_example("own_device.py", site, tmp_path, str(tmp_path / "tables"))
    assert "a board at half its clock takes 2.0" in printed
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["fast.csv", "slow.csv"]
    assert not any((tmp_path / "cache" / "proxyless-hw" / "profiles").iterdir())


def test_own_task_runs_as_it_stands(site: Path, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch", reason="it exports TFLite files")
    printed = run_example("own_task.py", site, tmp_path, str(tmp_path / "run"))
    assert "worst-class recall" in printed
    files = {path.name for path in (tmp_path / "run" / "files").iterdir()}
    assert files >= {"network-fp32.onnx", "network-fp32.tflite", "network-int8.tflite"}
