"""benchmark with model files as a user types it: what ran stands in the result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from proxyless_hw.cli import main
from proxyless_hw.profilers.models import tflite_cache
from proxyless_hw.profilers.models.file_shapes import file_setting
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace

CASES = Path(__file__).parent.parent / "cases"
ONNX, TFLITE = CASES / "onnx", CASES / "tflite"


@pytest.fixture(autouse=True)
def _reference_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured beside a TFLite file is itself one: converting takes longer than a test."""
    model = (TFLITE / "partly_delegated.tflite").read_bytes()
    monkeypatch.setattr(tflite_cache, "missing_models", lambda *_: [])
    monkeypatch.setattr(tflite_cache, "tflite_models", lambda items, *_: [model] * len(items))


def run(*arguments: object) -> int:
    try:
        main(["benchmark", *map(str, arguments), "--budget", "1"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def result(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_a_fixed_batch_stands_in_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    document = result(capsys, ONNX / "m03_fixed_batch8.onnx")
    assert document["batch_size"] == 8
    assert document["input_shape"] == "8x3x32x32"
    assert document["resolution"] == 32


def test_several_files_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("m03_fixed_batch8.onnx", "m22_external.onnx")
    document = result(capsys, *(ONNX / name for name in names))
    assert list(document) == ["files"]
    assert [Path(item["name"]).name for item in document["files"]] == list(names)


def test_files_of_two_runtimes_are_measured_in_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    files = ONNX / "m03_fixed_batch8.onnx", TFLITE / "f02_dynamic_batch.tflite"
    first, second = result(capsys, *files)["files"]
    assert (first["runtime"], second["runtime"]) == ("onnxruntime", "litert")
    assert first["median"] > 0
    assert second["median"] > 0
    assert (first["batch_size"], second["batch_size"]) == (8, 1)
    assert run(*files) == 0
    shown = capsys.readouterr().err
    assert "median ms" in shown
    both = ("--runtime", "onnxruntime", "--runtime", "litert")
    assert run(*files, *both, "--table", "pixel1") == 2
    assert "a --table is of one runtime" in capsys.readouterr().err


def test_a_file_that_none_of_the_runtimes_runs_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runtimes = ("--runtime", "onnxruntime", "--runtime", "torch")
    assert run(TFLITE / "f02_dynamic_batch.tflite", *runtimes) == 1
    assert "is run by litert" in " ".join(capsys.readouterr().err.split())


def test_an_open_batch_is_resized_also_where_memory_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = result(capsys, TFLITE / "f02_dynamic_batch.tflite", "--batch-size", 8)
    assert (document["batch_size"], document["input_shape"]) == (8, "8x8x8x3")
    assert document["peak_memory_mb"] > 0


def test_people_are_told_the_shape_too(capsys: pytest.CaptureFixture[str]) -> None:
    shape = ("--input-shape", "x:2,3,16,24")
    assert run(ONNX / "m02_dynamic_hw.onnx", *shape) == 0
    assert "input 2x3x16x24 (batch 2)" in capsys.readouterr().err


def test_per_op_runs_the_same_shape_and_marks_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ONNX / "m08_if.onnx", "--per-op") == 0
    lines = capsys.readouterr().err.splitlines()
    (body,) = [line for line in lines if "(in the_if)" in line]
    assert "Relu" in body
    document = result(capsys, ONNX / "m02_dynamic_hw.onnx", "--per-op", "--resolution", 16)
    assert "Conv" in [item["op_type"] for item in document["nodes"]]


def test_per_op_times_the_ops_of_a_tflite_file(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert")
    assert run(TFLITE / "partly_delegated.tflite", "--per-op") == 0
    lines = capsys.readouterr().err.splitlines()
    (sums,) = [line for line in lines if "CUMSUM" in line]
    assert sums.split()[1] == "ms"


SPACE = """
schema: proxyless-hw-space/1
id: tiny
resolution: 64
num_classes: 1000
stem: {op: conv, kernel: 3, stride: 2, width: 8}
candidates: [{op: mbconv, kernel: 3, expand: 3}, {op: mbconv, kernel: 5, expand: 3}]
stages: [{width: 16, depth: 1, stride: 2}]
head: [{op: classifier}]
"""


def test_a_network_states_its_shape_as_well(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    network = tmp_path / "architecture.json"
    network.write_text(Architecture.from_choices(SearchSpace.from_yaml(SPACE), [0]).to_json())
    shape = ("--resolution", 32, "--num-classes", 10, "--batch-size", 2)
    document = result(capsys, network, *shape)
    assert document["input_shape"] == "2x3x32x32"
    assert (document["batch_size"], document["num_classes"]) == (2, 10)


def test_a_tool_that_runs_files_as_they_are_gets_the_sizes_that_are_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tool = tmp_path / "tool"
    tool.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}\necho 2.5 ms\n')
    tool.chmod(0o755)
    document = result(
        capsys, ONNX / "m02_dynamic_hw.onnx", "--resolution", 16, "--batch-size", 4,
        "--device", "command", "--command", f"{tool} {{model}}",
    )  # fmt: skip
    assert document["input_shape"] == "4x3x16x16"
    assert document["name"].endswith("m02_dynamic_hw.onnx")
    seen = file_setting(tmp_path / "m0000.onnx", None)
    assert seen.input_shape == "4x3x16x16"


def test_a_suffix_in_capitals_is_a_suffix(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = shutil.copyfile(ONNX / "m03_fixed_batch8.onnx", tmp_path / "M.ONNX")
    assert run(path, "--batch-size", 2) == 1
    assert "runs a batch of 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([ONNX / "m03_fixed_batch8.onnx", "--batch-size", "1"], "runs a batch of 8"),
        ([ONNX / "m02_dynamic_hw.onnx"], "--resolution N, or --input-shape"),
        ([TFLITE / "f15_dynamic_hw.tflite"], "--resolution N, or --input-shape"),
        ([TFLITE / "f02_dynamic_batch.tflite", "--resolution", "16"], "another size"),
        ([ONNX / "m08_if.onnx", "--per-op", "--device", "gpu"], "received --device gpu"),
        ([ONNX / "p01_relu6_clip_inputs.onnx", "--num-classes", "1000"], "has 10 classes"),
        ([ONNX / "m08_if.onnx", "--num-classes", "10"], "does not tell its classes"),
        ([ONNX / "m08_if.onnx", "--input-shape", "y:1,3,64,64"], "no input 'y'"),
        (["proxyless-mobile", "--input-shape", "1,3,64,64"], "are for model files"),
        ([TFLITE / "two_signatures.tflite"], "--signature prefill"),
        (
            [
                TFLITE / "f15_dynamic_hw.tflite",
                *("--resolution", "8", "--device", "command", "--command", "true {model}"),
            ],
            "runs a file as it is",
        ),
    ],
)
def test_what_contradicts_a_file_is_refused_before_anything_is_measured(
    arguments: list[object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
