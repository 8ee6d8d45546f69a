"""A disk that fills up, turns read-only, or loses the folder: a message, and old files intact.

The failure is injected at each file operation in turn (see `harness`), made by the kernel through a
limit on file sizes, and made by a real small disk where this machine lets us mount one; where it
does not, the same sizes are injected.
"""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cases import counted
from harness import Outcome, Plan, Running, run
from scenes import SCENES, Material, litter, same, unreadable, visible
from test_signals import ENDLESS, lines

SEED = 40
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS)
OLD = b"the old file"
SAID = ("error: cannot ", "is there room in ")
Unbroken = Callable[[str], tuple[Outcome, Any]]


def fail_and_go_on(
    name: str, material: Material, expected: Any, place: Path, logs: Path, plan: Plan
) -> list[str]:
    """Runs into a failure, then once more without; returns what is wrong."""
    scene = SCENES[name]
    folder = plan.folder / "run"
    folder.mkdir(parents=True, exist_ok=True)
    old = folder / "net.onnx"
    if name == "export":
        old.write_bytes(OLD)
    arguments = scene.arguments(material, folder)
    outcome = run(arguments, logs, plan)
    wrong = []
    if outcome.code not in (0, 1):
        wrong.append(f"code {outcome.code}")
    if outcome.code == 1 and not any(words in outcome.err for words in SAID):
        wrong.append(f"the message says otherwise: {outcome.err[-200:]}")
    if "Traceback" in outcome.err:
        wrong.append(f"a traceback: {outcome.err[-1500:]}")
    if outcome.code == 0 and not same(scene.outcome(folder), expected):
        wrong.append("it says that all is well, and the outcome differs")
    if name == "export":
        if old.read_bytes() == OLD:
            old.unlink()
        elif not same(scene.outcome(folder), expected):
            wrong.append("the old file is neither there nor replaced by the whole new one")
    wrong += unreadable(folder)
    # On a disk that went read-only nothing can be removed; there the next run does it.
    if plan.fail_at is None or plan.error == errno.ENOSPC:
        wrong += [f"left: {left}" for left in litter(folder)]
    kept, announced = scene.kept(folder), scene.done(outcome.err)
    if kept < announced:
        wrong.append(f"{announced} epochs said to be done, {kept} kept")
    resumed = run(arguments, logs, Plan(folder=plan.folder))
    if resumed.code != 0 or not same(scene.outcome(folder), expected) or litter(folder):
        wrong.append(f"afterwards code {resumed.code}, {litter(folder)}: {resumed.err[-300:]}")
    return [f"{name} {outcome.operations[-1:]} of {plan}: {text}" for text in wrong]


def operations_of(name: str, material: Material, place: Path, logs: Path) -> int:
    """How many file operations a run makes, those of its temporary files included."""
    scratch = place / "scratch"
    scratch.mkdir(parents=True)
    plan = Plan(folder=place, scratch=scratch)
    outcome = run(SCENES[name].arguments(material, place / "run"), logs, plan)
    assert outcome.code == 0, outcome.err
    return len(outcome.operations)


def injected(place: Path, fail_at: int, error: int) -> Plan:
    (place / "scratch").mkdir(parents=True)
    return Plan(folder=place, scratch=place / "scratch", fail_at=fail_at, error=error)


@pytest.mark.parametrize(
    ("name", "share", "error"),
    [
        pytest.param("search-full", 0.1, errno.EACCES, marks=pytest.mark.slow),
        ("search-full", 0.4, errno.ENOSPC),
        ("train", 0.6, errno.EROFS),
        ("profile", 0.5, errno.ENOSPC),
    ],
)
def test_a_refused_write_is_a_message_and_the_run_can_go_on(
    name: str,
    share: float,
    error: int,
    material: Material,
    unbroken: Unbroken,
    tmp_path: Path,
    logs: Path,
) -> None:
    whole, expected = unbroken(name)
    plan = injected(tmp_path / "place", 1 + int(share * len(whole.operations)), error)
    assert fail_and_go_on(name, material, expected, tmp_path, logs, plan) == []


def test_a_disk_that_fills_up_in_the_middle_of_a_file_leaves_the_old_one(
    material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    whole, expected = unbroken("export")
    writes = [line.startswith("write ") for line in whole.operations]
    plan = injected(tmp_path / "place", 1 + writes.index(True), errno.ENOSPC)
    assert fail_and_go_on("export", material, expected, tmp_path, logs, plan) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENES)
def test_every_single_write_may_be_refused(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, expected = unbroken(name)
    total = operations_of(name, material, tmp_path / "whole", logs)
    with counted(f"refused-writes-{name}", SEED) as count:
        for fail_at in range(1, total + 1):
            error = ERRORS[fail_at % len(ERRORS)]
            place = tmp_path / f"place-{fail_at}"
            plan = injected(place, fail_at, error)
            wrong = fail_and_go_on(name, material, expected, tmp_path, logs, plan)
            count.check(not wrong, "; ".join(wrong))
            shutil.rmtree(place)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["search-full", "train", "profile-onnxruntime", "export"])
def test_the_kernel_may_refuse_at_any_byte(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, expected = unbroken(name)
    generator = random.Random(f"{SEED} {name}")
    with counted(f"file-size-limit-{name}", SEED) as count:
        for index in range(12):
            # What the command prints goes to files too, and must fit.
            limit = int(4096 * 2 ** generator.uniform(0, 7))
            place = tmp_path / f"place-{index}"
            (place / "scratch").mkdir(parents=True)
            plan = Plan(folder=place, scratch=place / "scratch", largest_file=limit)
            wrong = fail_and_go_on(name, material, expected, tmp_path, logs, plan)
            count.check(not wrong, "; ".join(wrong))


@contextlib.contextmanager
def small_disk(place: Path, kib: int, *options: str) -> Iterator[bool]:
    """A disk of its own mounted at a folder; whether this machine allows it."""
    place.mkdir(parents=True, exist_ok=True)
    settings = ",".join([f"size={kib}k", *options])
    command = ["mount", "-t", "tmpfs", "-o", settings, "proxyless-hw-test", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def on_a_small_disk(
    name: str, kib: int, material: Material, expected: Any, place: Path, logs: Path
) -> list[str]:
    scene = SCENES[name]
    with small_disk(place, kib) as mounted:
        if not mounted:
            plan = injected(place, 1 + kib // 4, errno.ENOSPC)
            return fail_and_go_on(name, material, expected, place, logs, plan)
        folder = place / "run"
        arguments = scene.arguments(material, folder)
        outcome = run(arguments, logs, Plan(folder=place))
        wrong = unreadable(folder) + [f"left: {left}" for left in litter(folder)]
        if outcome.code == 0:
            if not same(scene.outcome(folder), expected):
                wrong.append("it says that all is well, and the outcome differs")
        elif outcome.code != 1 or "error: cannot write" not in outcome.err:
            wrong.append(f"code {outcome.code}: {outcome.err[-300:]}")
        if "Traceback" in outcome.err:
            wrong.append(f"a traceback: {outcome.err[-1500:]}")
        if scene.kept(folder) < scene.done(outcome.err):
            wrong.append("an epoch that was said to be done is not kept")
        grown = ["mount", "-o", "remount,size=64m", str(place)]
        subprocess.run(grown, check=True)
        resumed = run(arguments, logs, Plan(folder=place))
        if resumed.code != 0 or not same(scene.outcome(folder), expected):
            wrong.append(f"with room again, code {resumed.code}: {resumed.err[-300:]}")
        return [f"{name} on {kib} KiB: {text}" for text in wrong]


@pytest.mark.parametrize(("name", "kib"), [("train", 40), ("profile", 8)])
def test_a_full_disk_is_a_message_and_with_room_the_run_goes_on(
    name: str, kib: int, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, expected = unbroken(name)
    place = tmp_path / "disk"
    assert on_a_small_disk(name, kib, material, expected, place, logs) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENES)
def test_disks_of_every_size_fill_up_without_harm(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, expected = unbroken(name)
    sizes = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
    with counted(f"small-disk-{name}", SEED) as count:
        for kib in sizes:
            place = tmp_path / f"disk-{kib}"
            wrong = on_a_small_disk(name, kib, material, expected, place, logs)
            count.check(not wrong, "; ".join(wrong))


@pytest.mark.parametrize("name", ["search-full", "train", "profile", "export"])
def test_a_read_only_disk_is_a_message(
    name: str, material: Material, tmp_path: Path, logs: Path
) -> None:
    place = tmp_path / "disk"
    with small_disk(place, 1024, "ro") as mounted:
        arguments = SCENES[name].arguments(material, place / "run")
        fail_at = None if mounted else 1
        plan = Plan(folder=place, fail_at=fail_at, error=errno.EROFS)
        outcome = run(arguments, logs, plan)
        assert outcome.code == 1, outcome.err
        assert "error: cannot write" in outcome.err
        assert "Read-only file system" in outcome.err
        assert "Traceback" not in outcome.err
        assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["search-full", "train", "profile"])
def test_a_folder_that_vanishes_ends_the_run(
    name: str, material: Material, tmp_path: Path, logs: Path
) -> None:
    options, progress = ENDLESS[name]
    folder = tmp_path / "run"
    arguments = [*SCENES[name].arguments(material, folder), *options]
    case = Running(arguments, logs, Plan(folder=folder))
    case.until(lambda: lines(folder / progress) >= 2, "two lines of progress")
    folder.rename(tmp_path / "away")
    outcome = case.end()
    assert outcome.code == 1, outcome.err
    assert "was removed or replaced" in outcome.err or "cannot write" in outcome.err
    assert "Traceback" not in outcome.err
    # No more than the one file that was being written just then.
    assert len(visible(folder)) <= 1
    assert unreadable(folder) == litter(folder) == []
    assert unreadable(tmp_path / "away") == []


def test_a_run_whose_folder_was_given_to_another_run_leaves_that_one_alone(
    material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, expected = unbroken("train")
    folder = tmp_path / "run"
    arguments = SCENES["train"].arguments(material, folder)
    first = Running([*arguments, "--epochs", "5000"], logs / "1", Plan(folder=folder))
    first.until(lambda: lines(folder / "metrics.jsonl") >= 2, "two epochs")
    first.send(signal.SIGSTOP)
    folder.rename(tmp_path / "away")
    assert run(arguments, logs / "2", Plan(folder=folder)).code == 0
    first.send(signal.SIGCONT)
    outcome = first.end()
    assert outcome.code == 1
    assert same(SCENES["train"].outcome(folder), expected)
    assert litter(folder) == []


def test_output_that_cannot_be_printed_is_a_message() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "proxyless_hw", "zoo", "list", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the system refused: [Errno 28] No space left on device")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
