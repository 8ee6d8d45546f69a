"""Two processes and one place: the second is refused, or comes after; nothing interleaves."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import counted
from harness import Outcome, Plan, Running, run
from scenes import COMMAND_DEVICE, SCENES, SPACE, Material, litter, made_up_table, same, unreadable
from test_signals import ENDLESS, lines

from proxyless_hw.errors import TableError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.files import atomic_path
from proxyless_hw.storage.locks import exclusive_lock, lock_beside
from proxyless_hw.tables.table import LatencyTable

Unbroken = Callable[[str], tuple[Outcome, Any]]
BUSY = "another process is writing"
AT_ONCE = 4
ROUNDS = 10


@pytest.mark.parametrize(
    "name", [pytest.param("search-full", marks=pytest.mark.slow), "train", "profile"]
)
def test_a_second_run_in_the_same_place_is_refused(
    name: str, material: Material, tmp_path: Path, logs: Path
) -> None:
    options, progress = ENDLESS[name]
    folder = tmp_path / "run"
    arguments = [*SCENES[name].arguments(material, folder), *options]
    first = Running(arguments, logs / "first", Plan(folder=folder))
    first.until(lambda: lines(folder / progress) >= 2, "two lines of progress")
    second = run(arguments, logs / "second", Plan(folder=folder))
    assert second.code == 1
    assert BUSY in " ".join(second.err.split())
    assert second.operations == (f"mkdir {folder}", f"open {_lock(name, folder)}")
    before = lines(folder / progress)
    first.until(lambda: lines(folder / progress) > before, "going on: it was hindered")
    first.send(signal.SIGINT)
    assert first.end().code == 130
    assert unreadable(folder) == litter(folder) == []


def _lock(name: str, folder: Path) -> Path:
    return lock_beside(folder / "table.csv") if name == "profile" else folder / ".lock"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tables" / "made-up.csv"
    made_up_table(SearchSpace.from_yaml(SPACE)).save(path)
    return path


def table_commands(table: Path, material: Material, folder: Path) -> dict[str, list[str]]:
    """Commands that write a table, or what belongs to it."""
    measured = folder / "measured.csv"
    measured.write_text("network,measured_ms\n" + f"{material.network},5\n" * 5)
    return {
        "merge": ["table", "merge", str(table), str(material.table), "--overwrite"],
        "import": ["table", "import", str(material.table), "--overwrite"],
        "transfer": [
            *("table", "transfer", "--from", str(material.table), "--probes", str(material.table)),
            "--force",
        ],
        "fill": [
            *("profile", "--space", str(material.space), "--resolution", "48"),
            *("--missing-from", str(table)),
        ],
        "calibrate": ["table", "calibrate", str(table), "--from", str(measured)],
    }


@pytest.mark.parametrize("name", ["merge", "import", "transfer", "fill", "calibrate"])
def test_a_table_that_is_being_written_is_left_alone(
    name: str, table: Path, material: Material, tmp_path: Path, logs: Path
) -> None:
    before = {path.name: path.read_bytes() for path in table.parent.iterdir()}
    command = table_commands(table, material, tmp_path)[name]
    arguments = command if name == "calibrate" else [*command, "--output", str(table)]
    with exclusive_lock(lock_beside(table), TableError, "the table"):
        outcome = run(arguments, logs, Plan(folder=tmp_path))
    assert outcome.code == 1
    assert BUSY in " ".join(outcome.err.split())
    assert {path.name: path.read_bytes() for path in table.parent.iterdir()} == before


def test_a_lock_file_goes_with_the_lock_and_a_dead_one_hinders_nobody(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    path.write_bytes(b"")  # as after a kill
    with exclusive_lock(path, TableError, "x"):
        assert path.exists()
        with pytest.raises(TableError, match=BUSY), exclusive_lock(path, TableError, "x"):
            pass
        assert path.exists(), "the refused one removed it"
    assert not path.exists()


def test_a_lock_whose_file_was_replaced_is_not_held_any_more(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    with exclusive_lock(path, TableError, "run folder f") as check:
        check()
        path.parent.rename(tmp_path / "away")
        with pytest.raises(TableError, match="run folder f was removed or replaced"):
            check()
        with exclusive_lock(path, TableError, "run folder f") as second:
            with pytest.raises(TableError):
                check()
            second()
    assert not path.exists()


def test_a_temporary_file_in_use_is_no_litter_and_one_of_the_dead_is(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    dead = tmp_path / ".table.csv.abcdefgh"
    dead.write_bytes(b"half")
    similar = [tmp_path / ".table.csv.lock", tmp_path / ".table.csv.a-person's.note"]
    for path in similar:
        path.write_bytes(b"")
    with atomic_path(target, TableError) as first:
        first.write_text("first")
        with atomic_path(target, TableError) as second:
            second.write_text("second")
        assert first.exists(), "taken for litter while it was written"
    assert target.read_text() == "first"
    assert not dead.exists()
    assert sorted(tmp_path.iterdir()) == sorted([target, *similar])


def start_together(arguments: list[list[str]], folder: Path, logs: Path) -> list[Outcome]:
    """Runs commands at the same time."""
    running = [
        Running(words, logs / str(index), Plan(folder=folder))
        for index, words in enumerate(arguments)
    ]
    return [case.end() for case in running]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["search-full", "train", "profile"])
def test_of_several_at_once_one_does_the_work(
    name: str, material: Material, unbroken: Unbroken, tmp_path: Path, logs: Path
) -> None:
    _, expected = unbroken(name)
    with counted(f"at-once-{name}", 0) as count:
        for index in range(ROUNDS):
            folder = tmp_path / f"run-{index}"
            arguments = SCENES[name].arguments(material, folder)
            fresh = [word for word in arguments if word != "--resume"]
            outcomes = start_together([fresh] * AT_ONCE, folder, logs)
            done = [outcome for outcome in outcomes if outcome.code == 0]
            refused = [outcome for outcome in outcomes if outcome.code == 1]
            said = [" ".join(outcome.err.split()) for outcome in refused]
            expected_words = (BUSY, "already holds a run", "is there already", "holds 5 rounds")
            count.check(len(done) == 1, f"{len(done)} ended well")
            count.check(len(refused) == AT_ONCE - 1, f"{len(refused)} were refused")
            count.check(
                all(any(words in text for words in expected_words) for text in said), str(said)
            )
            count.check(same(SCENES[name].outcome(folder), expected), "another outcome")
            count.check(not unreadable(folder) + litter(folder), "files are left or broken")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_that_fill_one_table_lose_none_of_its_rows(
    table: Path, material: Material, tmp_path: Path, logs: Path
) -> None:
    space = SearchSpace.from_yaml(SPACE)
    whole = [
        *("profile", "--space", str(material.space), "--output", str(table.parent / "own.csv")),
        *COMMAND_DEVICE,
    ]
    assert run(whole, logs, Plan(folder=table.parent)).code == 0
    own = (table.parent / "own.csv").read_bytes()
    with counted("filling-one-table", 0) as count:
        for index in range(ROUNDS):
            target = tmp_path / str(index) / "table.csv"
            target.parent.mkdir()
            target.write_bytes(own)
            commands = [
                [
                    *("profile", "--space", str(material.space), "--resolution", str(size)),
                    *("--missing-from", str(target), "--output", str(target), *COMMAND_DEVICE),
                ]
                for size in (48, 64)
            ]
            outcomes = start_together(commands, target.parent, logs)
            filled = LatencyTable.load(target)
            for size, outcome in zip((48, 64), outcomes, strict=True):
                missing = filled.missing(space.ops(size))
                count.check(
                    outcome.code == (1 if missing else 0) and (not missing or BUSY in outcome.err),
                    f"{size} px: code {outcome.code}, {len(missing)} rows missing",
                )
            count.check(not filled.missing(space.ops(32)), "rows of the old table are gone")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_of_several_merges_at_once_one_writes(
    table: Path, material: Material, tmp_path: Path, logs: Path
) -> None:
    with counted("merging-at-once", 0) as count:
        for index in range(ROUNDS):
            output = tmp_path / str(index) / "merged.csv"
            command = ["table", "merge", str(table), str(material.table), "--output", str(output)]
            outcomes = start_together([command] * AT_ONCE, output.parent, logs)
            codes = sorted(outcome.code for outcome in outcomes)
            count.check(codes == [0] + [1] * (AT_ONCE - 1), f"codes {codes}")
            count.check([path.name for path in output.parent.iterdir()] == ["merged.csv"], "litter")
            count.check(len(LatencyTable.load(output)) == len(LatencyTable.load(table)), "rows")
