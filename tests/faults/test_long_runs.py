"""Runs of thousands of steps and rounds: memory, open files and logs stay where they were."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cases import counted
from harness import Plan, Running
from scenes import SCENES, Material

GROWTH_MB = 10.0
STEPS = 10_000
ROUNDS = 2_000


@dataclass(frozen=True)
class Sample:
    """What a process holds at one moment.

    Attributes:
        done: how far it is.
        resident_mb: its resident memory.
        files: its open files.
    """

    done: int
    resident_mb: float
    files: int


def sample(pid: int, done: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (kib,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Sample(done, kib / 1024, len(os.listdir(f"/proc/{pid}/fd")))


def watch(case: Running, progress: Callable[[], int], enough: int) -> list[Sample]:
    """Samples a run once per unit of progress, until it has done enough."""
    samples: list[Sample] = []
    while case.process.exitcode is None:
        done = progress()
        if done >= enough:
            break
        if not samples or done > samples[-1].done:
            samples.append(sample(case.pid, done))
        case.process.join(0.05)
    return samples


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def settled(samples: list[Sample], enough: int) -> tuple[list[Sample], list[Sample]]:
    """Samples of the second tenth, when everything has been warmed up, and of the last tenth."""
    first = [item for item in samples if 0.1 * enough <= item.done <= 0.2 * enough]
    last = [item for item in samples if item.done >= 0.9 * enough]
    assert len(first) >= 3, samples
    assert len(last) >= 3, samples
    return first, last


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def growth_mb(samples: list[Sample], enough: int) -> float:
    first, last = settled(samples, enough)
    return median([item.resident_mb for item in last]) - median(
        [item.resident_mb for item in first]
    )


def more_files(samples: list[Sample], enough: int) -> float:
    first, last = settled(samples, enough)
    return median([item.files for item in last]) - median([item.files for item in first])


SEARCHES = {
    "full": ("--gradient-mode", "full"),
    "two-path": ("--gradient-mode", "two-path"),
    "reinforce": ("--algorithm", "reinforce"),
    "darts": ("--algorithm", "darts"),
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SEARCHES)
def test_ten_thousand_steps_of_a_search_take_no_more_memory(
    name: str, material: Material, tmp_path: Path, logs: Path
) -> None:
    folder = tmp_path / "run"
    # 64 images in batches of 2, less the held-out part: some 25 steps an epoch.
    options = ("--limit", "64", "--batch-size", "2", "--epochs", "100000", *SEARCHES[name])
    arguments = [*SCENES["search-full"].arguments(material, folder), *options]
    with counted(f"long-search-{name}", 0) as count:
        case = Running(arguments, logs, Plan(folder=folder))
        per_epoch = steps_per_epoch(case, folder)
        enough = -(-STEPS // per_epoch)
        samples = watch(case, lambda: lines(folder / "metrics.jsonl"), enough)
        case.send(signal.SIGTERM)
        outcome = case.end()
        count.check(outcome.code == 130, f"code {outcome.code}: {outcome.err[-300:]}")
        growth = growth_mb(samples, enough)
        count.check(growth < GROWTH_MB, f"memory grew by {growth:.1f} MB")
        files = more_files(samples, enough)
        count.check(files == 0, f"{files} more open files")
        printed = len(outcome.err) / enough
        count.check(printed < 300, f"{printed:.0f} characters printed an epoch")
        written = (folder / "metrics.jsonl").stat().st_size / enough
        count.check(written < 2000, f"{written:.0f} bytes of metrics an epoch")
        print(f"{name}: {enough * per_epoch} steps, {growth:+.1f} MB, {files:+.0f} files")


def steps_per_epoch(case: Running, folder: Path) -> int:
    """Of the run, as its checkpoint and its settings have it."""
    import json

    import torch

    case.until(lambda: lines(folder / "metrics.jsonl") >= 2, "two epochs")
    settings = json.loads((folder / "config.json").read_text())["settings"]
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert state["epoch"] >= 1
    images = settings["limit"] - round(settings["limit"] * settings["holdout"])
    return int(images // settings["batch_size"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_thousand_rounds_of_a_profile_take_no_more_memory(
    material: Material, tmp_path: Path, logs: Path
) -> None:
    folder = tmp_path / "run"
    options = ("--goal", "0.0000001", "--repeat", str(ROUNDS // 30))  # some 40 rounds each
    arguments = [*SCENES["profile-onnxruntime"].arguments(material, folder), *options]
    journal = folder / "table.csv.journal.jsonl"
    with counted("long-profile", 0) as count:
        case = Running(arguments, logs, Plan(folder=folder))
        samples = watch(case, lambda: lines(journal) - 1, ROUNDS - 1)
        outcome = case.end()
        count.check(outcome.code == 0, f"code {outcome.code}: {outcome.err[-300:]}")
        count.check(lines(journal) - 1 >= ROUNDS, f"{lines(journal) - 1} rounds")
        growth = growth_mb(samples, ROUNDS - 1)
        count.check(growth < GROWTH_MB, f"memory grew by {growth:.1f} MB")
        files = more_files(samples, ROUNDS - 1)
        count.check(files == 0, f"{files} more open files")
        written = journal.stat().st_size / ROUNDS
        count.check(written < 2000, f"{written:.0f} bytes of journal a round")
        count.check(len(outcome.err) < 1000, f"{len(outcome.err)} characters printed")
        print(f"{ROUNDS} rounds, {growth:+.1f} MB, {files:+.0f} files")
