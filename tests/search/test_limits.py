"""Limits of flash and memory: what is searched, what is found, and what every page says of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_yaml import TINY_YAML, write_files

from proxyless_hw.cli import main
from proxyless_hw.errors import InfeasibleTargetError, SearchError, TableError
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.report.run_data import read_run
from proxyless_hw.report.run_figures import chosen_against_the_odds
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.limits import read_limit, split_limits
from proxyless_hw.search.other_targets import derive_for, load_search_data, open_search
from proxyless_hw.search.prepare import opening_line, prepare_problem
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import flash_bytes, memory_bytes
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.notices import Notice

Files = tuple[Path, Path]
LIMIT = 41_000
"""Bytes in fp32: takes the larger of the first slot's two blocks out, and nothing else."""
FLASH = 14_000


def config(files: Files, output: Path | None = None, **changes: Any) -> SearchConfig:
    settings: dict[str, Any] = {
        "space": str(files[0]),
        "table": str(files[1]),
        "output": None if output is None else str(output),
        "limit": 64,
        "train_resolution": 16,
        "batch_size": 16,
        "warmup_epochs": 1,
        "epochs": 1,
        "finalists": 2,
        **changes,
    }
    return SearchConfig(**settings)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    folder = tmp_path_factory.mktemp("searched")
    tiny_files = write_files(folder)
    # A network of the space (the first block, the second, the first) meets all three.
    wanted = Architecture.from_choices(SearchSpace.load(tiny_files[0]), [0, 1, 0])
    target = fit_predictor(LatencyTable.load(str(tiny_files[1]))).predict(wanted)
    limits = (f"memory={LIMIT}", f"flash={FLASH}")
    result = run_search(config(tiny_files, folder / "run", target_ms=target, constraints=limits))
    assert result is not None
    return result


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_the_network_found_keeps_its_limits_and_the_result_says_so(searched: SearchResult) -> None:
    memory, flash = memory_bytes(searched.architecture), flash_bytes(searched.architecture)
    assert memory is not None
    assert memory <= LIMIT
    assert flash <= FLASH
    assert searched.predicted <= searched.target
    rows = {row.name: row for row in searched.constraints}
    assert list(rows) == ["tiny", "flash", "memory"]
    assert (rows["memory"].unit, rows["memory"].target) == ("MB", LIMIT / 1e6)
    assert rows["memory"].predicted == memory / 1e6
    assert rows["flash"].predicted == pytest.approx(flash / 1e6)
    document = json.loads((searched.folder / "result.json").read_text())
    assert document["footprint"] == {
        "precision": "fp32",
        "flash_bytes": flash,
        "memory_bytes": memory,
    }
    assert read_result(searched.folder) == searched


def test_every_finalist_and_every_point_of_the_front_keeps_the_limit(
    searched: SearchResult,
) -> None:
    space = open_search(searched.folder).problem.space
    found = [row.derived for row in (*searched.finalists, *searched.pareto)]
    assert len(found) > 50
    for derived in found:
        arch = Architecture.from_choices(space, derived.choices)
        assert (memory_bytes(arch) or 0) <= LIMIT


def test_its_report_says_what_it_takes(searched: SearchResult) -> None:
    assert run("report", searched.folder) == 0
    page = (searched.folder / "report.html").read_text()
    assert "Limits" in page
    assert "peak of the activations, fp32" in page
    assert f"--constraint memory={LIMIT}" in page
    # The candidates of the page are those that were searched, so the choices frame the right ones.
    data = read_run(searched.folder)
    assert data.space is not None
    assert [len(slot.candidates) for slot in data.space.slots] == [2, 2, 3]
    chosen_against_the_odds(data)


def test_other_targets_keep_the_limits(
    searched: SearchResult, tiny_files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_search(searched.folder)
    target = opened.problem.constraints[0].costs.range[1]
    derived = derive_for(opened, target, load_search_data(opened))
    assert (memory_bytes(derived.architecture) or 0) <= LIMIT
    assert flash_bytes(derived.architecture) <= FLASH
    assert derived.footprint is not None
    assert derived.to_json()["footprint"]["memory_bytes"] <= LIMIT
    # By another table: the limits need none, and count as in the search.
    base = LatencyTable.load(str(tiny_files[1]))
    other = tiny_files[1].with_name("other.csv")
    LatencyTable(base.entries, {**base.metadata, "precision": "int8"}).save(other)
    problem = open_search(searched.folder, str(other)).problem
    assert [constraint.name for constraint in problem.constraints] == ["other", "flash"]
    assert problem.memory is not None
    assert (problem.memory.limit, problem.precision) == (LIMIT, "fp32")


def test_a_table_at_another_size_leaves_other_candidates(
    searched: SearchResult, tiny_files: Files
) -> None:
    base, space = LatencyTable.load(str(tiny_files[1])), SearchSpace.load(tiny_files[0])
    entries = dict(zip(space.ops(16), base.entries.values(), strict=True))
    other = tiny_files[1].with_name("small.csv")
    LatencyTable(entries, base.metadata).save(other)
    with pytest.raises(SearchError, match=r"At 16 pixels .*leaves others"):
        open_search(searched.folder, str(other))


def test_slots_that_the_limit_decides_are_fixed(tiny_files: Files, tmp_path: Path) -> None:
    # 32 kB: Zero alone in the first slot, one block in the second, everything in the third.
    result = run_search(
        config(tiny_files, tmp_path / "run", constraints=("memory=32kB",), algorithm="darts")
    )
    assert result is not None
    assert result.architecture.blocks[0].is_zero
    assert result.architecture.blocks[1].kernel == 3
    assert len(result.margins) == 1
    assert (memory_bytes(result.architecture) or 0) <= 32_000


def counted(problem_space: SearchSpace, precision: Any) -> list[int]:
    options = itertools.product(*(range(len(slot.candidates)) for slot in problem_space.slots))
    archs = [Architecture.from_choices(problem_space, choices) for choices in options]
    return [memory_bytes(arch, precision) or 0 for arch in archs]


def test_the_precision_is_the_tables_unless_it_is_given(tiny_files: Files) -> None:
    limits = ("memory=10KiB", "flash=5kB")
    with pytest.raises(InfeasibleTargetError, match=r"10\.24 kB of memory in fp32 at 32 pixels"):
        prepare_problem(config(tiny_files, constraints=limits))
    problem = prepare_problem(config(tiny_files, constraints=limits, constraint_precision="int8"))
    full = SearchSpace.from_yaml(TINY_YAML)
    wanted = [need for need in counted(full, "int8") if need <= 10_240]
    assert sorted(counted(problem.space, "int8")) == sorted(wanted)
    flash = problem.constraints[1].costs
    assert (flash.name, flash.unit) == ("flash", "MB")
    first = Architecture.from_choices(problem.space, [0] * len(problem.space.slots))
    assert flash.cost([0] * len(problem.space.slots)) * 1e6 == pytest.approx(
        flash_bytes(first, "int8")
    )


def test_a_table_that_states_no_precision_asks_for_one(tiny_files: Files) -> None:
    base = LatencyTable.load(str(tiny_files[1]))
    path = tiny_files[1].with_name("bare.csv")
    base.with_metadata(precision=None).save(path)
    files = tiny_files[0], path
    for limit in ("memory=50kB", "flash=12kB"):
        with pytest.raises(SearchError, match="--constraint-precision int8"):
            prepare_problem(config(files, constraints=(limit,)))
    problem = prepare_problem(config(files, constraints=("parameters=3000",)))
    assert problem.footprint(Architecture.from_choices(problem.space, [0, 0, 0])) is None


def test_a_limit_that_every_network_keeps_is_left_out_and_said(tiny_files: Files) -> None:
    with pytest.warns(Notice, match="every network of the space keeps flash=1 MB"):
        problem = prepare_problem(config(tiny_files, constraints=("flash=1MB", "memory=1MB")))
    assert len(problem.constraints) == 1
    assert problem.memory is not None
    assert problem.memory.removed == 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (("memory=",), "a constraint reads name=value"),
        (("memory=-5",), "a constraint reads name=value"),
        (("flash=1TB",), "a constraint reads name=value"),
        (("memory=1MB", "memory=2MB"), "two constraints are named 'memory'"),
    ],
)
def test_what_is_no_limit_is_refused(limits: tuple[str, ...], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        split_limits(limits)


def test_the_opening_says_what_the_limit_takes_out(
    tiny_files: Files, digits_of: Callable[[SearchConfig], Any]
) -> None:
    settings = config(tiny_files, constraints=(f"memory={LIMIT}",))
    line = opening_line(settings, prepare_problem(settings), digits_of(settings))
    assert "memory at most 41.00 kB in fp32 (1 candidate needs more)" in line


@pytest.fixture
def digits_of() -> Callable[[SearchConfig], Any]:
    from proxyless_hw.data.load import load_data
    from proxyless_hw.search.context import data_config

    return lambda settings: load_data(data_config(settings))


def test_an_expectation_of_a_peak_is_refused(tiny_files: Files) -> None:
    base = LatencyTable.load(str(tiny_files[1]))
    peaks = LatencyTable(base.entries, {**base.metadata, "metric": "memory", "unit": "MB"})
    with pytest.raises(TableError, match="the peak of a network is not the sum"):
        ExpectedLatency(SearchSpace.load(tiny_files[0]), fit_predictor(peaks))


def test_a_limit_that_cannot_be_kept_ends_before_training(
    tiny_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "search",
        "--space",
        tiny_files[0],
        "--table",
        tiny_files[1],
        "--output",
        tmp_path / "a",
    )
    assert run(*words, "--constraint", "memory=1kB") == 1
    assert "the smallest needs 24.58 kB (24576 bytes)" in capsys.readouterr().err
    assert not (tmp_path / "a" / "config.json").exists()


def test_predict_and_zoo_show_say_flash_and_memory(
    tiny_files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arch = Architecture.from_choices(SearchSpace.load(tiny_files[0]), [1, 0, 2])
    arch.save(tmp_path / "net.json")
    sizes = {"flash_bytes": flash_bytes(arch), "memory_bytes": memory_bytes(arch)}
    words = ("predict", tmp_path / "net.json", "--table", tiny_files[1])
    assert run(*words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["footprint"] == {"precision": "fp32", **sizes}
    assert run(*words) == 0
    assert "memory 57.34 kB in fp32" in capsys.readouterr().out
    assert run("zoo", "show", tmp_path / "net.json", "--json") == 0
    shown = json.loads(capsys.readouterr().out)["footprints"]
    assert shown[0] == {"precision": "fp32", **sizes}
    assert shown[1]["memory_bytes"] == (memory_bytes(arch) or 0) // 4
    assert run("zoo", "show", tmp_path / "net.json") == 0
    assert "memory 57.34 kB in fp32; flash" in capsys.readouterr().out


def test_a_mistyped_limit_names_the_nearest() -> None:
    with pytest.raises(SearchError, match=r"received 'flsh=1MB'\. Did you mean 'flash'"):
        read_limit("flsh=1MB")
