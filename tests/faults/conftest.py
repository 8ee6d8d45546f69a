"""What every case of the fault suites starts from: files, and the outcome of unbroken runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Outcome, Plan, run
from scenes import SCENES, Material, litter, unreadable, write_material


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="session")
def unbroken(
    material: Material, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Outcome, Any]]:
    """How a scene ends when nothing disturbs it; run once each."""
    known: dict[str, tuple[Outcome, Any]] = {}

    def find(name: str) -> tuple[Outcome, Any]:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            scene = SCENES[name]
            run(["--version"], folder / "logs", Plan(folder=folder / "run"))  # the server starts
            outcome = run(
                scene.arguments(material, folder / "run"),
                folder / "logs",
                Plan(folder=folder / "run"),
            )
            assert outcome.code == 0, outcome.err
            assert unreadable(folder / "run") == litter(folder / "run") == []
            known[name] = outcome, scene.outcome(folder / "run")
        return known[name]

    return find


@pytest.fixture
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what cases print, apart from what they write."""
    return tmp_path_factory.mktemp("logs")
