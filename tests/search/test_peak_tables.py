"""Tables of flash and of SRAM as limits of a search: one is a sum, the other a peak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_limits import FLASH, LIMIT, config
from tiny_yaml import write_files

from proxyless_hw.errors import InfeasibleTargetError, MissingEntryError
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.report.run_data import read_run
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.other_targets import open_search
from proxyless_hw.search.prepare import opening_line, prepare_problem
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import (
    flash_bytes,
    memory_bytes,
    op_flash_bytes,
    op_memory_bytes,
    within_memory,
)
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.table import LatencyTable

Files = tuple[Path, Path]


def counted(files: Files, metric: str, count: Callable[[OpSpec], int]) -> Path:
    """A table of an NPU that has what the project counts itself, in MB."""
    base = LatencyTable.load(str(files[1]))
    entries = {op: Entry(count(op) / 1e6) for op in base.entries}
    header = {**base.metadata, "metric": metric, "unit": "MB", "device": "an NPU"}
    path = files[1].with_name(f"npu-{metric}.csv")
    LatencyTable(entries, header).save(path)
    return path


def limits(files: Files) -> tuple[str, str]:
    sram, flash = counted(files, "sram", op_memory_bytes), counted(files, "flash", op_flash_bytes)
    return f"{sram}={LIMIT / 1e6}", f"{flash}={FLASH / 1e6}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_files(tmp_path_factory.mktemp("peaks"))


@pytest.fixture(scope="module")
def searched(files: Files) -> SearchResult:
    wanted = Architecture.from_choices(SearchSpace.load(files[0]), [0, 1, 0])
    target = fit_predictor(LatencyTable.load(str(files[1]))).predict(wanted)
    folder = files[0].with_name("run")
    result = run_search(config(files, folder, target_ms=target, constraints=limits(files)))
    assert result is not None
    return result


def test_a_table_of_sram_takes_out_what_the_count_of_memory_would(files: Files) -> None:
    problem = prepare_problem(config(files, constraints=limits(files)[:1]))
    assert problem.space == within_memory(SearchSpace.load(files[0]), LIMIT)
    assert [limit.removed for limit in problem.peaks] == [1]
    assert [item.name for item in problem.constraints] == ["tiny"], "a peak is no constraint"


def test_the_network_found_keeps_both_and_the_result_says_so(searched: SearchResult) -> None:
    memory, flash = memory_bytes(searched.architecture), flash_bytes(searched.architecture)
    assert memory is not None
    rows = {row.name: row for row in searched.constraints}
    assert list(rows) == ["tiny", "npu-flash", "npu-sram"]
    assert rows["npu-sram"].predicted == pytest.approx(memory / 1e6)
    assert rows["npu-sram"].predicted <= rows["npu-sram"].target == LIMIT / 1e6
    assert rows["npu-flash"].predicted == pytest.approx(flash / 1e6)
    assert rows["npu-flash"].predicted <= FLASH / 1e6
    assert read_result(searched.folder) == searched


def test_the_report_and_other_targets_have_the_candidates_that_were_searched(
    searched: SearchResult, files: Files
) -> None:
    space = within_memory(SearchSpace.load(files[0]), LIMIT)
    assert read_run(searched.folder).space == space
    assert open_search(searched.folder).problem.space == space
    other = files[1].with_name("other.csv")
    base = LatencyTable.load(str(files[1]))
    LatencyTable(base.entries, base.metadata).save(other)
    assert open_search(searched.folder, str(other)).problem.space == space


def test_the_opening_names_the_limit(files: Files) -> None:
    from proxyless_hw.data.load import load_data
    from proxyless_hw.search.context import data_config

    settings = config(files, constraints=limits(files))
    line = opening_line(settings, prepare_problem(settings), load_data(data_config(settings)))
    assert "npu-sram at most 0.041 MB (1 candidate needs more)" in line


def test_a_peak_that_no_network_keeps_is_refused(files: Files) -> None:
    name = limits(files)[0].partition("=")[0]
    with pytest.raises(InfeasibleTargetError, match=r"smallest needs 0\.024576 MB"):
        prepare_problem(config(files, constraints=(f"{name}=0.001",)))


def test_a_peak_table_that_lacks_ops_is_refused(files: Files) -> None:
    path = counted(files, "sram", op_memory_bytes)
    table = LatencyTable.load(str(path))
    first, *rest = table.entries
    path = path.with_name("gap.csv")
    LatencyTable({op: table.entries[op] for op in rest}, table.metadata).save(path)
    with pytest.raises(MissingEntryError, match=first.key.partition("-")[0]):
        prepare_problem(config(files, constraints=(f"{path}=1",)))
