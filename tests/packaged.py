"""Builds the sdist and the wheel of this tree, and installs the wheel into a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "shared", "*.egg-info", "__pycache__")


def build(folder: Path) -> Path:
    """Writes sdist and wheel into a folder; the wheel is built from the sdist.

    Returns:
        The wheel.
    """
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_not_source)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, site: Path) -> None:
    """Installs a wheel into a folder, which PYTHONPATH then names; its dependencies are here."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--target", str(site), str(wheel)],
        check=True,
    )  # fmt: skip


def _not_source(folder: str, names: list[str]) -> set[str]:
    """What is no source: `runs` only at the top, since a package has that name too."""
    ignored = set(NOT_SOURCE(folder, names))
    return ignored | {"runs"} if Path(folder) == ROOT else ignored
