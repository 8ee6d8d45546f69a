"""SIGKILL at any moment: nothing unreadable, nothing finished is lost, resuming ends the same.

Moments are drawn from a seed: half over the time an unbroken run takes, half among its file
operations, where the process ends itself just before one. After each kill the folder is examined,
and every second run is killed twice before it may end.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


def moments(count: int, generator: random.Random, whole: Outcome) -> list[Moment]:
    drawn = []
    for number in range(count):
        if number % 2:
            drawn.append(Moment(seconds=generator.uniform(0, whole.seconds)))
        else:
            drawn.append(Moment(operation=generator.randint(1, len(whole.operations))))
    return drawn


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

    def killed(self, moment: Moment) -> list[str]:
        """Kills a run at a moment; returns what is wrong afterwards."""
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
        return [f"{self.scene.name} {moment}: {text}" for text in wrong]

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


def groups(drawn: Sequence[Moment]) -> list[Sequence[Moment]]:
    """One kill and two kills in turn."""
    found = []
    rest = list(drawn)
    while rest:
        size = 1 + len(found) % 2
        found.append(rest[:size])
        rest = rest[size:]
    return found


def kill_and_resume(
    name: str,
    count: int,
    seed: int,
    material: Material,
    unbroken: Unbroken,
    place: Path,
    logs: Path,
) -> tuple[int, list[str]]:
    whole, expected = unbroken(name)
    drawn = moments(count, random.Random(f"{seed} {name}"), whole)
    wrong: list[str] = []
    for number, group in enumerate(groups(drawn)):
        broken = Broken(SCENES[name], material, place / f"{name}-{number}", logs)
        for moment in group:
            wrong += broken.killed(moment)
        wrong += [f"after {list(group)}: {text}" for text in broken.ended(expected)]
    return len(drawn), wrong


@pytest.mark.parametrize("name", ["search-full", "train", "profile", "export"])
def test_a_killed_run_loses_nothing_and_ends_as_an_unbroken_one(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, wrong = kill_and_resume(name, 2, SEED + 1, material, unbroken, tmp_path, logs)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENES)
def test_fifty_kills_lose_nothing(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    with counted(f"killed-{name}", SEED) as count:
        kills, wrong = kill_and_resume(name, KILLS, SEED, material, unbroken, tmp_path, logs)
        for _ in range(kills - len(wrong)):
            count.check(True, "")
        for text in wrong:
            count.check(False, text)
