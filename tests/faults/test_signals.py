"""Ctrl-C and SIGTERM: the end comes, and what was done is kept.

That it comes within five seconds is for the slow tests: it depends on the machine.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import counted
from harness import Outcome, Plan, Running, run
from scenes import COMMAND_DEVICE, SCENES, Material, litter, same, unreadable

SIGNALS = (signal.SIGINT, signal.SIGTERM)
WITHIN_S = 5.0
SEED = 30
MOMENTS = 20


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


# The command, endless for this purpose, and what shows that it is well under way.
ENDLESS: dict[str, tuple[tuple[str, ...], str]] = {
    "search-full": (("--epochs", "5000"), "metrics.jsonl"),
    "search-darts": (("--epochs", "5000"), "metrics.jsonl"),
    "train": (("--epochs", "5000"), "metrics.jsonl"),
    "profile": ((*COMMAND_DEVICE, "--repeat", "100"), "table.csv.journal.jsonl"),
    "profile-onnxruntime": (("--goal", "0.000001"), "table.csv.journal.jsonl"),
}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("name", ["search-full", "train", "profile-onnxruntime"])
def test_a_signal_ends_an_endless_run_with_its_state_saved(
    name: str, number: signal.Signals, material: Material, tmp_path: Path, logs: Path
) -> None:
    options, progress = ENDLESS[name]
    folder = tmp_path / "run"
    arguments = [*SCENES[name].arguments(material, folder), *options]
    case = Running(arguments, logs, Plan(folder=folder))
    case.until(lambda: lines(folder / progress) >= 3, "three lines of progress")
    before = lines(folder / progress)
    case.send(number)
    outcome = case.end()
    assert outcome.code == 130, outcome.err
    assert "error: interrupted" in outcome.err
    assert "--resume" in outcome.err
    assert "Traceback" not in outcome.err
    assert unreadable(folder) == litter(folder) == []
    assert lines(folder / progress) >= before
    assert SCENES[name].kept(folder) >= SCENES[name].done(outcome.err)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_ends_an_export_and_leaves_the_old_file(
    number: signal.Signals,
    material: Material,
    unbroken: Callable[[str], tuple[Outcome, Any]],
    tmp_path: Path,
    logs: Path,
) -> None:
    whole, _ = unbroken("export")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(b"the old one")
    plan = Plan(folder=folder, kill_at=len(whole.operations) // 2, kill_with=number)
    outcome = run(SCENES["export"].arguments(material, folder), logs, plan)
    assert outcome.code == 130, outcome.err
    assert "error: interrupted" in outcome.err
    assert "Traceback" not in outcome.err
    assert (folder / "net.onnx").read_bytes() == b"the old one"
    assert litter(folder) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENES)
def test_a_signal_at_any_moment_loses_nothing(
    name: str,
    material: Material,
    unbroken: Callable[[str], tuple[Outcome, Any]],
    tmp_path: Path,
    logs: Path,
) -> None:
    whole, expected = unbroken(name)
    scene = SCENES[name]
    generator = random.Random(f"{SEED} {name}")
    with counted(f"signals-{name}", SEED) as count:
        for index in range(MOMENTS):
            number = SIGNALS[index % 2]
            moment = generator.uniform(0.1, max(0.2, whole.seconds))
            folder = tmp_path / f"{name}-{index}"
            arguments = scene.arguments(material, folder)
            case = Running(arguments, logs, Plan(folder=folder))
            case.wait(moment)
            case.send(number)
            ended = case.wait(WITHIN_S)
            outcome = case.end()
            where = f"{name}, {number.name} after {moment:.2f} s: "
            count.check(ended, where + "it went on for more than 5 s")
            said = "error: interrupted" in outcome.err and "Traceback" not in outcome.err
            # A signal that comes after the last file is written may find nothing to interrupt.
            count.check(
                outcome.code == 0 or (outcome.code == 130 and said),
                f"{where}code {outcome.code}: {outcome.err[-300:]}",
            )
            wrong = unreadable(folder) + litter(folder)
            count.check(not wrong, f"{where}{wrong}")
            resumed = run(arguments, logs, Plan(folder=folder))
            count.check(
                resumed.code == 0 and same(scene.outcome(folder), expected),
                f"{where}resuming gave code {resumed.code}: {resumed.err[-300:]}",
            )


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in text.split()]


def is_running(pid: int) -> bool:
    """Whether a process still does something; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL], ids=lambda number: number.name)
def test_converter_processes_end_with_the_command_that_started_them(
    number: signal.Signals,
    material: Material,
    tmp_path: Path,
    logs: Path,
) -> None:
    arguments = [
        *("profile", "--space", str(material.space), "--runtime", "litert"),
        *("--output", str(tmp_path / "table.csv"), "--quiet"),
    ]
    cache = tmp_path / "cache"
    plan = Plan(folder=tmp_path, environment={"XDG_CACHE_HOME": str(cache)})
    case = Running(arguments, logs, plan)
    case.until(lambda: bool(list(cache.rglob("*.tflite"))), "a converted model")
    converters = children(case.pid)
    assert converters, "no converter was running"
    case.send(number)
    assert case.wait(WITHIN_S), "it goes on"
    assert case.end().code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    # After SIGKILL nobody can end them: they notice after the model they are at.
    for _ in range(100 if number != signal.SIGKILL else 1200):
        if not any(map(is_running, converters)):
            break
        time.sleep(0.05)
    assert not any(map(is_running, converters))
