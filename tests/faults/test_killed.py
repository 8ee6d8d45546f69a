"""SIGKILL at any moment: nothing unreadable, nothing finished is lost, resuming ends the same.

Moments are drawn from a seed: half over the time an unbroken run takes, half among its file
operations, where the process ends itself just before one. After each kill the folder is examined,
and every second run is killed twice before it may end. Kills that come after the end do not count.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from cases import counted
from harness import Outcome, Plan, run
from scenes import SCENES, Material, Scene, litter, same, unreadable

SEED = 20
KILLS = 50
Unbroken = Callable[[str], tuple[Outcome, Any]]


@dataclass(frozen=True)
class Moment:
    """When a run is killed: after seconds, or before its n-th file operation."""

    seconds: float | None = None
    operation: int | None = None


def moments(generator: random.Random, whole: Outcome) -> Iterator[Moment]:
    """Moments without end, of both kinds in turn."""
    while True:
        yield Moment(operation=generator.randint(1, len(whole.operations)))
        yield Moment(seconds=generator.uniform(0, whole.seconds))


@dataclass(frozen=True)
class Broken:
    """A run that is killed at some moments in turn, and then may end.

    Attributes:
        scene, material: what runs.
        folder: where to.
        logs: for what it prints.
    """

    scene: Scene
    material: Material
    folder: Path
    logs: Path

    def killed(self, moment: Moment) -> tuple[bool, list[str]]:
        """Kills a run at a moment.

        Returns:
            Whether it was still running then, and what is wrong afterwards.
        """
        before = self.scene.kept(self.folder)
        journal = self.journal()
        plan = Plan(folder=self.folder, kill_at=moment.operation)
        outcome = run(self.arguments(), self.logs, plan, moment.seconds)
        wrong = unreadable(self.folder)
        if outcome.code not in (-signal.SIGKILL, 0):
            wrong.append(f"it ended with {outcome.code}: {outcome.err[-300:]}")
        announced = self.scene.done(outcome.err)
        kept = self.scene.kept(self.folder)
        if kept < before + announced:
            wrong.append(f"{before} epochs before, {announced} said to be done, {kept} kept")
        if not self.journal().startswith(journal):
            wrong.append("rounds of an earlier part are gone from the journal")
        in_time = outcome.code == -signal.SIGKILL
        return in_time, [f"{self.scene.name} {moment}: {text}" for text in wrong]

    def ended(self, expected: Any) -> list[str]:
        """Lets it end; returns what is wrong with the result."""
        journal = self.journal()
        outcome = run(self.arguments(), self.logs, Plan(folder=self.folder))
        wrong = unreadable(self.folder) + [f"left: {name}" for name in litter(self.folder)]
        if outcome.code != 0:
            wrong.append(f"resuming ended with {outcome.code}: {outcome.err[-300:]}")
        elif not same(self.scene.outcome(self.folder), expected):
            wrong.append("it ended otherwise than an unbroken run")
        if not self.journal().startswith(journal):
            wrong.append("rounds of an earlier part are gone from the journal")
        return [f"{self.scene.name}: {text}" for text in wrong]

    def arguments(self) -> list[str]:
        return self.scene.arguments(self.material, self.folder)

    def journal(self) -> bytes:
        """Its complete lines."""
        path = self.folder / "table.csv.journal.jsonl"
        content = path.read_bytes() if path.exists() else b""
        return content[: content.rfind(b"\n") + 1]


def kill_and_resume(
    name: str,
    kills: int,
    seed: int,
    material: Material,
    unbroken: Unbroken,
    place: Path,
    logs: Path,
) -> list[str]:
    """Kills runs until so many kills have met a run that was still going; returns what is wrong."""
    whole, expected = unbroken(name)
    drawn = moments(random.Random(f"{seed} {name}"), whole)
    wrong: list[str] = []
    number = met = 0
    while met < kills:
        broken = Broken(SCENES[name], material, place / f"{name}-{number}", logs)
        group = list(islice(drawn, min(1 + number % 2, kills - met)))
        for moment in group:
            in_time, found = broken.killed(moment)
            met += in_time
            wrong += found
        wrong += [f"after {group}: {text}" for text in broken.ended(expected)]
        number += 1
    return wrong


@pytest.mark.parametrize("name", ["search-full", "train", "profile", "export"])
def test_a_killed_run_loses_nothing_and_ends_as_an_unbroken_one(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    assert kill_and_resume(name, 2, SEED + 1, material, unbroken, tmp_path, logs) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENES)
def test_fifty_kills_lose_nothing(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    with counted(f"killed-{name}", SEED) as count:
        count.cases = KILLS
        count.failed += kill_and_resume(name, KILLS, SEED, material, unbroken, tmp_path, logs)
