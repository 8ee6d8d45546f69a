"""verify as a user types it: verdicts, exit codes, what is said on which stream."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxyless_hw.cli import main
from proxyless_hw.errors import PredictorError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors import verify as module
from proxyless_hw.profilers.host import environment
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring, TableSpeed
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

CASES = Path(__file__).parent.parent / "cases" / "onnx"
SPACE = SearchSpace.load("cifar-mbconv")
SPEED = TableSpeed(median=10.0, ci_low=9.9, ci_high=10.1, machine_speed=0.8)
MEASURED = Measurement(
    name="net", median=12.5, ci_low=12.3, ci_high=12.7, p90=13.0, min=12.0, unit="ms", rounds=30,
    samples=300, converged=True, table_speed=SPEED,
)  # fmt: skip


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A network and a table of its space; measuring gives `MEASURED`."""
    header = {"metric": "latency", "unit": "ms", "device_kind": "cpu", "num_classes": "10"}
    entries = {op: Entry(0.1 + 1e-3 * op.out_c) for op in SPACE.ops()}
    LatencyTable(entries, header).save(tmp_path / "mine.csv")
    Architecture.from_choices(SPACE, [0] * len(SPACE.slots)).save(tmp_path / "net.json")
    measures(monkeypatch, MEASURED)
    return tmp_path / "net.json", tmp_path / "mine.csv"


def measures(monkeypatch: pytest.MonkeyPatch, item: Measurement) -> list[dict[str, Any]]:
    asked: list[dict[str, Any]] = []

    def how(table: LatencyTable, **settings: Any) -> Measuring:
        asked.append(settings)
        return Measuring()

    monkeypatch.setattr(module, "measuring_for", how)
    monkeypatch.setattr(module, "measure_for", lambda *_, **__: [item])
    return asked


@pytest.mark.parametrize(
    ("target", "verdict", "code"), [(10.0, "agrees", 0), (9.65, "undecided", 0), (9.0, "missed", 1)]
)
def test_the_verdict_decides_the_exit_code(
    files: tuple[Path, Path],
    target: float,
    verdict: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, table = files
    assert run("verify", file, "--table", table, "--target-ms", target) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert verdict.capitalize() in told.err
    assert ("warning: " in told.err) == (verdict == "undecided")
    assert ("error: " in told.err) == (verdict == "missed")
    assert "20% slower than when the table was made" in told.err
    assert run("verify", file, "--table", table, "--target-ms", target, "--json") == code
    (line,) = capsys.readouterr().out.splitlines()
    document = json.loads(line)
    assert document["verdict"] == verdict
    assert document["target_ms"] == target
    assert document["measured_ms"] == 12.5
    assert document["table_speed_ms"] == 10.0
    assert document["machine_speed"] == 0.8
    arch = load_architecture(file)
    assert document["predicted_ms"] == pytest.approx(LatencyTable.load(table).latency_ms(arch))


def test_a_table_without_anchors_gives_raw_values_and_one_line_says_why(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measures(monkeypatch, replace(MEASURED, table_speed=None))
    file, table = files
    assert run("verify", file, "--table", table, "--target-ms", 12.5, "--json") == 0
    told = capsys.readouterr()
    assert told.err.count("has no anchors") == 1
    document = json.loads(told.out)
    assert document["table_speed_ms"] is None
    assert document["machine_speed"] is None


def test_a_quiet_verify_still_says_what_is_wrong(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, table = files
    assert run("verify", file, "--table", table, "--target-ms", 10, "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert run("verify", file, "--table", table, "--target-ms", 9, "--quiet") == 1
    assert "Missed" in capsys.readouterr().err


def test_the_budget_and_the_device_are_those_that_were_typed(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = measures(monkeypatch, MEASURED)
    monkeypatch.setattr(environment, "seconds_since_process_start", lambda: 2.0)
    file, table = files
    run("verify", file, "--table", table, "--target-ms", 10, "--budget", 7, "--device", "gpu")
    run("verify", file, "--table", table, "--target-ms", 10)
    # The process has been running for two seconds; one is kept for the end.
    assert (asked[0]["budget_s"], asked[0]["device"]) == (4.0, "gpu")
    assert (asked[1]["budget_s"], asked[1]["device"]) == (57.0, None)
    monkeypatch.setattr(environment, "seconds_since_process_start", lambda: 100.0)
    run("verify", file, "--table", table, "--target-ms", 10)
    assert asked[2]["budget_s"] == 2.0


def test_a_file_is_priced_by_the_architecture_it_carries(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arch = load_architecture(files[0])
    table = LatencyTable.load(files[1])
    document: dict[str, Any] = {"architecture": json.loads(arch.to_json())}
    monkeypatch.setattr(module, "read_metadata", lambda _: document)
    shutil.copy(CASES / "p01_relu6_clip_inputs.onnx", tmp_path / "net.onnx")
    found = module.verify(tmp_path / "net.onnx", table, target_ms=10.0)
    assert found.predicted == pytest.approx(table.latency_ms(arch))
    monkeypatch.setattr(module, "read_metadata", lambda _: None)
    assert module.verify(tmp_path / "net.onnx", table, target_ms=10.0).predicted is None


@pytest.mark.parametrize("target", [0, -3, "inf", "nan", "fast"])
def test_a_target_that_is_none_is_refused(
    files: tuple[Path, Path], target: object, capsys: pytest.CaptureFixture[str]
) -> None:
    file, table = files
    assert run("verify", file, "--table", table, "--target-ms", target) in (1, 2)
    assert "target" in capsys.readouterr().err


def test_a_target_is_checked_in_python_too(files: tuple[Path, Path]) -> None:
    with pytest.raises(PredictorError, match="received inf"):
        module.verify(files[0], files[1], target_ms=float("inf"))


def test_a_table_of_energy_is_refused(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, path = files
    table = LatencyTable.load(path)
    other = {**table.metadata, "metric": "energy", "unit": "mJ"}
    LatencyTable(table.entries, other).save(path)
    assert run("verify", file, "--table", path, "--target-ms", 10) == 1
    assert "energy" in capsys.readouterr().err
