"""``table show|check|diff|merge|plot`` as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxyless_hw.cli import main
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

HEADER = {
    **{"metric": "latency", "unit": "ms", "device": "a phone", "runtime": "tflite"},
    **{"threads": "1", "batch_size": "1", "precision": "fp32", "num_classes": "1000"},
}


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(args))
    return int(exit_.value.code or 0)


@pytest.fixture
def full(tmp_path: Path) -> Path:
    ops = SearchSpace.load("imagenet").ops(64)
    entries = {op: Entry(0.1 * i, 0.099 * i, 0.101 * i, rounds=5) for i, op in enumerate(ops, 1)}
    LatencyTable(entries, HEADER).save(tmp_path / "full.csv")
    return tmp_path / "full.csv"


@pytest.fixture
def short(full: Path) -> Path:
    table = LatencyTable.load(full)
    rows = list(table.entries.items())[2:]
    LatencyTable(dict(rows), table.metadata).save(full.parent / "short.csv")
    return full.parent / "short.csv"


def test_show_prints_setting_quality_and_rows(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("table", "show", str(full)) == 0
    text = capsys.readouterr().out
    assert "device: a phone" in text
    assert "half-width median 1.00%" in text
    assert "conv 64x64x3->32x32x32 k3 s2" in text


def test_show_gives_json(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table", "show", str(full), "--json", "--op", "classifier") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metadata"]["threads"] == "1"
    assert len(document["entries"]) == 1
    assert document["entries"][0]["key"].startswith("classifier-2x2x1280")
    assert document["quality"]["rows"] == len(LatencyTable.load(full))


def test_show_names_the_nearest_op(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table", "show", str(full), "--op", "mbcon") == 1
    assert "Did you mean 'mbconv'?" in capsys.readouterr().err


def test_check_accepts_a_complete_table(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table", "check", str(full), "--space", "imagenet", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["complete"] is True
    assert document["missing"] == []


def test_check_names_missing_ops_and_exits_with_1(
    full: Path, short: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = list(LatencyTable.load(full).entries)[:2]
    assert run("table", "check", str(short), "--json", "--resolution", "64") == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["missing"] == [op.key for op in lost]
    assert all(str(op) in captured.err for op in lost)


def test_diff_shows_only_changes(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = LatencyTable.load(full)
    first = next(iter(table.entries))
    entries = {**table.entries, first: Entry(9.0, 8.9, 9.1)}
    LatencyTable(entries, HEADER).save(tmp_path / "later.csv")
    assert run("table", "diff", str(full), str(tmp_path / "later.csv")) == 0
    text = capsys.readouterr().out
    assert str(first) in text
    assert "1 higher" in text
    assert "classifier" not in text


def test_diff_of_two_settings_needs_force(
    full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LatencyTable.load(full).with_metadata(threads=4).save(tmp_path / "four.csv")
    assert run("table", "diff", str(full), str(tmp_path / "four.csv")) == 1
    assert "threads is '1' and '4'" in capsys.readouterr().err
    assert run("table", "diff", str(full), str(tmp_path / "four.csv"), "--force") == 0
    assert "the settings differ: threads" in capsys.readouterr().err


def test_merge_writes_one_table(full: Path, tmp_path: Path) -> None:
    other = {op: Entry(1.0) for op in SearchSpace.load("imagenet").ops(96)}
    LatencyTable(other, HEADER).save(tmp_path / "other.csv")
    out = tmp_path / "both.csv"
    assert run("table", "merge", str(full), str(tmp_path / "other.csv"), "--output", str(out)) == 0
    assert LatencyTable.load(out).resolutions == (64, 96)


def test_merge_leaves_an_existing_output_alone(
    full: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = full.read_bytes()
    assert run("table", "merge", str(full), str(full), "--output", str(full)) == 1
    assert "exists already" in capsys.readouterr().err
    assert full.read_bytes() == before


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_plot_writes_a_picture(full: Path, tmp_path: Path, ending: str, magic: bytes) -> None:
    out = tmp_path / f"plot.{ending}"
    assert run("table", "plot", str(full), "--output", str(out)) == 0
    assert out.read_bytes().startswith(magic)
    if ending == "svg":
        text = out.read_text(encoding="utf-8")
        assert all(f"<!-- {label} -->" in text for label in ("kernel 3", "kernel 7", "expand 6"))


def test_plot_refuses_another_ending(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table", "plot", str(full), "--output", "plot.bmp") == 1
    assert ".png, .svg, .pdf" in capsys.readouterr().err


@pytest.mark.parametrize("sub", ["show", "check", "plot"])
def test_a_table_that_is_not_there_is_one_message(
    sub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = ["--output", "x.png"] if sub == "plot" else []
    assert run("table", sub, "nowhere.csv", *extra) == 1
    assert "no table 'nowhere.csv'" in capsys.readouterr().err


def test_an_unknown_subcommand_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("table", "shwo") == 2
    assert "Did you mean 'show'?" in capsys.readouterr().err


def test_help_loads_no_heavy_module() -> None:
    code = (
        "import sys; from proxyless_hw.cli import main\n"
        "try: main(['table', 'diff', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'onnx'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
