"""Several deployment resolutions compete for one target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxyless_hw.cli import cli
from proxyless_hw.errors import MissingEntryError, SearchError
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.resolutions import search_resolutions
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

SCALES = {16: 0.5, 32: 1.0, 64: 1.3}


@pytest.fixture
def table(tiny_files: tuple[Path, Path]) -> Path:
    """Made-up latencies at three resolutions; 16 px cannot cost as much as the target."""
    tiny_files[0].write_text(tiny_files[0].read_text().replace("depth: 1", "depth: 2"))
    space = SearchSpace.load(tiny_files[0])
    base = LatencyTable.load(str(tiny_files[1]))
    entries = {}
    for resolution, scale in SCALES.items():
        for index, op in enumerate(space.ops(resolution)):
            value = (1.0 + 0.113 * index + 0.0571 * op.kernel + 0.0173 * op.out_c**0.5) * scale
            entries[op] = Entry(value, 0.99 * value, 1.01 * value)
    metadata = {**base.metadata, "resolutions": "16 32 64"}
    path = tiny_files[1].with_name("three.csv")
    LatencyTable(entries, metadata).save(path)
    return path


def config(files: tuple[Path, Path], table: Path, output: Path, **changes: object) -> SearchConfig:
    settings: dict[str, object] = {
        "space": str(files[0]),
        "table": str(table),
        "output": str(output),
        "target_ms": 8.5,
        "limit": 192,
        "train_resolution": 32,
        "batch_size": 32,
        "warmup_epochs": 1,
        "epochs": 1,
        "finalists": 2,
        **changes,
    }
    return SearchConfig(**settings)  # type: ignore[arg-type]


def test_the_best_of_all_reachable_resolutions_wins(
    tiny_files: tuple[Path, Path], table: Path, tmp_path: Path
) -> None:
    result = search_resolutions(config(tiny_files, table, tmp_path / "run"))
    rows = {row.resolution: row for row in result.resolutions}
    assert sorted(rows) == [16, 32, 64]
    assert "outside what the space can reach" in rows[16].infeasible
    assert (rows[32].train_resolution, rows[64].train_resolution) == (16, 32)
    reached = [rows[32], rows[64]]
    best = max(reached, key=lambda row: row.supernet_accuracy)
    assert result.architecture.resolution == best.resolution
    assert all(0.99 * 8.5 <= row.predicted <= 8.5 for row in reached)
    # The outer folder reads like any run, and the winner's own files are what it holds.
    inner = tmp_path / "run" / best.run
    assert Architecture.load(tmp_path / "run" / "architecture.json") == result.architecture
    for name in ("checkpoint.pt", "network.pt", "config.json", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (inner / name).read_bytes()


def test_a_resolution_whose_window_holds_no_network_is_listed_and_the_others_go_on(
    tiny_files: tuple[Path, Path], table: Path, tmp_path: Path
) -> None:
    settings = config(tiny_files, table, tmp_path / "run", target_ms=8.0)
    result = search_resolutions(settings, [32, 64])
    low, high = result.resolutions
    assert low.resolution == result.architecture.resolution == 32
    assert "nearest cost" in high.infeasible


def test_a_resumed_choice_keeps_the_searches_that_are_done(
    tiny_files: tuple[Path, Path], table: Path, tmp_path: Path
) -> None:
    settings = config(tiny_files, table, tmp_path / "run")
    first = search_resolutions(settings, [32, 64])
    (tmp_path / "run" / "result.json").unlink()
    stamp = (tmp_path / "run" / "r32" / "result.json").stat().st_mtime_ns
    with pytest.raises(SearchError, match="already holds a run"):
        search_resolutions(settings, [32, 64])
    again = search_resolutions(config(tiny_files, table, tmp_path / "run", resume=True), [32, 64])
    assert again.to_json() == first.to_json()
    assert (tmp_path / "run" / "r32" / "result.json").stat().st_mtime_ns == stamp


def test_a_resolution_that_the_table_lacks_is_an_error(
    tiny_files: tuple[Path, Path], table: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingEntryError):
        search_resolutions(config(tiny_files, table, tmp_path / "run"), [32, 48])


def test_a_choice_without_a_target_says_that_it_needs_one(
    tiny_files: tuple[Path, Path], table: Path, tmp_path: Path
) -> None:
    with pytest.raises(SearchError, match="--target-ms"):
        search_resolutions(config(tiny_files, table, tmp_path / "run", target_ms=None))


def test_the_command_line_takes_several_resolutions(
    tiny_files: tuple[Path, Path], table: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        cli,
        [
            *("search", "--space", str(tiny_files[0]), "--table", str(table), "--target-ms", "8.5"),
            *("--resolution", "32", "--resolution", "64", "--limit", "192", "--epochs", "1"),
            *("--train-resolution", "32", "--warmup-epochs", "1", "--batch-size", "32"),
            *("--output", str(tmp_path / "run"), "--json", "--quiet", "--no-report"),
        ],
    )
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["resolutions"]) == 2
