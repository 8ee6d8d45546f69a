"""profile, validate and benchmark as a user types them: exit codes, JSON, messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_spaces import TO_PROFILE

from proxyless_hw.cli import main
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.network.ops import Classifier
from proxyless_hw.predictors.judgement import (
    ValidationRecord,
    load_record,
    record_path,
    save_record,
)
from proxyless_hw.profilers import profile as profile_module
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(TO_PROFILE)
    return path


@pytest.fixture(scope="module")
def table(space: Path) -> Path:
    path = space.parent / "cpu.csv"
    assert (
        run(
            "profile", "--space", space, "--output", path, "--goal", 0.9, "--sessions", 1, "--quiet"
        )
        == 0
    )
    return path


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


@pytest.mark.parametrize("command", ["profile", "validate", "benchmark"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert f"proxyless-hw {command}" in capsys.readouterr().out


def test_profile_prints_one_json_object(space: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = space.parent / "json.csv"
    code = run(
        "profile", "--space", space, "--output", output, "--goal", 0.9, "--sessions", 1, "--json",
        "--num-classes", 7,
    )  # fmt: skip
    document = printed(capsys)
    assert code == 0
    assert document["ops"] == len(SearchSpace.load(space).ops())
    assert document["num_classes"] == "7"
    assert LatencyTable.load(output).num_classes == 7


@pytest.mark.parametrize(("width", "grade"), [(0.01, "good"), (0.098, "poor")])
def test_profile_says_what_to_think_of_the_table_and_what_to_do_next(
    space: Path,
    table: Path,
    width: float,
    grade: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    header = {"quality_median_half_width": str(width), "quality_drift": "0.71"}
    found = LatencyTable.load(table).with_metadata(**header)
    monkeypatch.setattr(profile_module, "profile", lambda *_, **__: found)
    output = space.parent / "next.csv"
    assert run("profile", "--space", space, "--output", output) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert grade.capitalize() in captured.err
    assert (f"proxyless-hw search --table {output}" in captured.err) == (grade == "good")
    assert run("profile", "--space", space, "--output", output, "--json") == 0
    assert printed(capsys)["verdict"] == grade


def test_profile_refuses_an_existing_table_and_resume_accepts_it(
    space: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = table.read_bytes()
    assert run("profile", "--space", space, "--output", table) == 1
    assert "is there already" in capsys.readouterr().err
    assert run("profile", "--space", space, "--output", table, "--resume", "--quiet") == 0
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cpux"], "cpu"),
        (["--runtime", "onnxruntim"], "onnxruntime"),
        (["--precision", "fp16"], "fp16"),
        (["--cpus", "one"], "--cpus"),
        (["--cpus", "4095"], "--cpus"),
        (["--option", "novalue"], "KEY=VALUE"),
        (["--option", "cach=hot"], "Did you mean 'cache'?"),
        (["--cache", "warm"], "--cache must be one of network, hot, cold"),
        (["--cache", "hot", "--option", "cache=cold"], "given twice"),
        (["--delegate", "xnnpack"], "does not apply to --device cpu --runtime onnxruntime"),
        (["--pattern", "(x)"], "it is for --device command"),
        (["--device", "command", "--command", "x {model}", "--cpus", "0"], "--cpus"),
        (["--device", "mobile", "--option", "runz=1"], "Did you mean 'runs'?"),
        (["--goal", "2"], "--goal"),
        (["--budget", "-1"], "--budget"),
        (["--space", "imagenett"], "imagenet"),
    ],
)
def test_profile_refuses_what_cannot_be_with_one_message(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "t.csv"
    assert run("profile", "--output", output, *arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert not output.exists()


def test_validate_prints_the_agreed_keys(
    space: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = space.parent / "plot.png"
    code = run(
        "validate", "--table", table, "--space", space, "--device", "cpu", "--networks", 4,
        "--spread", 3, "--seed", 0, "--budget", 2, "--plot", plot, "--json", "--force",
    )  # fmt: skip
    document = printed(capsys)
    assert code == 0
    keys = ("networks", "mape", "bias", "within_2", "within_5", "within_10")
    for key in (*keys, "kendall_tau", "spearman", "rmse_ms"):
        assert isinstance(document[key], int | float)
        assert isinstance(document["spread"][key], int | float)
    assert document["networks"] == 4
    assert document["verdict"] in ("good", "fair", "poor")
    assert document["calibrated_mape"] is None
    assert document["machine_speed"] > 0
    assert record_path(table).exists()
    assert plot.stat().st_size > 0


def test_validate_refuses_a_table_whose_rows_are_hardly_known(
    space: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = space.parent / "wide.csv"
    LatencyTable.load(table).with_metadata(quality_median_half_width="0.2").save(copy)
    assert run("validate", "--table", copy, "--space", space, "--networks", 1) == 1
    told = capsys.readouterr().err
    assert "too poor to validate with" in told
    assert "--force" in told
    assert run("search", "--table", copy, "--space", space, "--output", copy.parent / "run") == 1
    assert "too poor to search with" in capsys.readouterr().err


def test_a_large_bias_found_before_does_not_stop_the_calibration_that_corrects_it(
    space: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = space.parent / "biased.csv"
    LatencyTable.load(table).with_metadata(quality_median_half_width="0.01").save(copy)
    biased = ValidationRecord(networks=9, mape=0.7, bias=0.7, calibrated_mape=None)
    save_record(copy, biased)
    arguments = ("--table", copy, "--space", space, "--output", copy.parent / "run")
    assert run("search", *arguments) == 1
    assert "validate --table" in capsys.readouterr().err
    code = run("validate", "--table", copy, "--space", space, "--networks", 6, "--spread", 6,
               "--budget", 2, "--calibrate", "--json")  # fmt: skip
    told = capsys.readouterr()
    # How good a calibration of two seconds is depends on the machine.
    assert code == 0 or "the calibrated error on whole networks" in told.err
    assert json.loads(told.out)["calibrated_mape"] is not None
    record = load_record(LatencyTable.load(copy))
    assert record is not None
    assert record.calibrated_mape is not None


def test_validate_keeps_a_calibration_when_asked(
    space: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = space.parent / "calibrated.csv"
    copy.write_bytes(table.read_bytes())
    code = run(
        "validate", "--table", copy, "--space", space, "--networks", 6, "--spread", 4,
        "--budget", 2, "--calibrate", "--json", "--force",
    )  # fmt: skip
    document = printed(capsys)
    assert code == 0
    assert Path(document["calibration"]).is_file()


@pytest.mark.parametrize(
    ("networks", "flag", "kept"),
    [(17, None, True), (4, None, False), (17, "--no-calibrate", False)],
)
def test_validate_keeps_a_first_calibration_when_it_measured_enough(
    space: Path,
    table: Path,
    networks: int,
    flag: str | None,
    kept: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = space.parent / f"first-{networks}-{flag}.csv"
    copy.write_bytes(table.read_bytes())
    arguments = ["--networks", networks, "--spread", 0, "--budget", 2, "--json", "--force"]
    given = [] if flag is None else [flag]
    assert run("validate", "--table", copy, "--space", space, *arguments, *given) == 0
    document = printed(capsys)
    assert ("calibration" in document) == kept
    assert (copy.parent / f"{copy.stem}.calibration.json").exists() == kept


def test_validate_refuses_a_table_of_another_device(
    space: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("validate", "--table", "pixel1", "--runtime", "onnxruntime", "--networks", 1) == 1
    assert "pixel1" in capsys.readouterr().err


def test_benchmark_times_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(Classifier(64, 10).eval(), (1, 64, 8, 8)))
    assert run("benchmark", path, "--device", "cpu", "--budget", 1, "--per-op", "--json") == 0
    document = printed(capsys)
    assert (document["unit"], document["cache"]) == ("ms", "network")
    assert document["median_ms"] == document["median"]
    for key in ("median_ms", "ci_high_ms", "p90_ms", "file_mb", "peak_memory_mb"):
        assert document[key] > 0
    # 0 where a busy machine left time for a single visit.
    assert document["ci_low_ms"] >= 0
    assert document["ci_low_ms"] <= document["median_ms"] <= document["ci_high_ms"]
    assert any(node["op_type"] == "Gemm" for node in document["nodes"])


def test_benchmark_gives_values_at_a_tables_speed_too(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(Classifier(64, 10).eval(), (1, 64, 8, 8)))
    arguments = ("benchmark", path, "--table", table, "--budget", 3)
    assert run(*arguments, "--json") == 0
    document = printed(capsys)
    ratio = document["table_speed_median"] / document["median"]
    assert ratio == pytest.approx(document["machine_speed"])
    assert document["table_speed_ci_low"] <= document["table_speed_median"]
    assert document["table_speed_median"] <= document["table_speed_ci_high"]
    assert run(*arguments) == 0
    assert "at the table's speed" in capsys.readouterr().err


def test_benchmark_beside_a_table_is_measured_under_its_setting(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(Classifier(64, 10).eval(), (1, 64, 8, 8)))
    for other in (("--threads", 2), ("--cache", "hot")):
        assert run("benchmark", path, "--table", table, *other) == 1
        assert "was measured with" in capsys.readouterr().err
    header = {k: v for k, v in LatencyTable.load(table).metadata.items() if k != "anchors"}
    LatencyTable(LatencyTable.load(table).entries, header).save(tmp_path / "older.csv")
    arguments = ("--table", tmp_path / "older.csv", "--budget", 2, "--json")
    assert run("benchmark", path, *arguments) == 0
    told = capsys.readouterr()
    assert told.err.count("has no anchors") == 1
    assert "machine_speed" not in json.loads(told.out)


def test_per_op_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.tflite").write_bytes(b"not opened")
    path = tmp_path / "model.tflite"
    assert run("benchmark", path, "--device", "gpu", "--per-op") == 1
    assert "--per-op is measured with --device cpu, mobile and npu" in capsys.readouterr().err


def test_benchmark_names_a_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("benchmark", tmp_path / "gone.onnx") == 1
    assert "gone.onnx" in capsys.readouterr().err


def test_benchmark_names_a_network_that_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("benchmark", "proxyless-mobil") == 1
    assert "proxyless-mobile" in capsys.readouterr().err
