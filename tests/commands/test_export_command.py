"""`export` and `report` from the command line: options, messages, exit codes, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxyless_hw.cli import main
from proxyless_hw.export.metadata import read_metadata
from proxyless_hw.export.runtimes import onnx_outputs

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from small_networks import images, small_architecture
from synthetic_run import write_run


def call(*arguments: str | Path) -> int:
    """Runs the command line in this process; returns its exit code."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.fixture
def arch(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    small_architecture().save(path)
    return path


def result(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_an_architecture_is_exported_with_a_warning_about_its_weights(
    arch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "net.onnx"
    assert call("export", arch, "--output", output, "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert document["file"] == str(output)
    assert document["format"] == "onnx"
    assert document["verification"]["passed"] is True
    assert document["bytes"] == output.stat().st_size
    assert "weights are random (seed 0)" in captured.err
    assert onnx_outputs(output.read_bytes(), images(1)).shape == (1, 5)


def test_shape_and_ends_are_as_asked(
    arch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "net.onnx"
    options = ("--resolution", "48", "--num-classes", "10", "--batch-size", "dynamic")
    ends = ("--include-softmax", "--normalise-in-graph", "--data", "digits")
    assert call("export", arch, "--format", "onnx", *options, *ends, "--output", output) == 0
    assert capsys.readouterr().out == ""
    document = read_metadata(output)
    assert document is not None
    assert document["input"]["shape"] == [None, 3, 48, 48]
    assert document["input"]["values"] == "0 to 255"
    assert document["output"]["labels"] == [str(digit) for digit in range(10)]
    found = onnx_outputs(output.read_bytes(), 255 * images(3, 48))
    assert found.shape == (3, 10)
    assert found.sum(1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_random_weights_may_be_quantised_on_noise(
    arch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "net.tflite"
    assert call("export", arch, "--precision", "int8", "--output", output, "--json") == 0
    assert result(capsys)["precision"] == "int8"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "give --format onnx, tflite or pte, or --all"),
        (("--output", "x.onnx", "--format", "tflite"), 2, "contradicts the name x.onnx"),
        (("--all", "--format", "onnx"), 2, "leave out --format"),
        (("--format", "onnx", "--batch-size", "0"), 2, "from 1 to 4096"),
        (("--format", "tflite", "--batch-size", "dynamic"), 1, "fixed batch size"),
        (("--format", "onnx", "--precision", "int8-dynamic"), 1, "written as TFLite only"),
        (("--format", "onnx", "--training-shape"), 1, "knows no training shape"),
        (("--format", "onnx", "--normalise-in-graph"), 1, "needs the data's mean"),
        (("--format", "onnx", "--data", "digit"), 1, "Did you mean 'digits'?"),
        (("--format", "onnx", "--weights", "absent.pt"), 1, "absent.pt"),
    ],
)
def test_what_cannot_be_done_is_one_message(
    arch: Path,
    options: tuple[str, ...],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("export", arch, *options) == code
    captured = capsys.readouterr()
    assert message in captured.err.replace("\n", " ")
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["small.json"]


def test_an_unknown_network_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("export", "proxyless-mobil", "--format", "onnx") == 1
    assert "Did you mean 'proxyless-mobile'?" in capsys.readouterr().err


def test_a_report_is_written_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    output = tmp_path / "page.html"
    figures = tmp_path / "figures"
    assert call("report", run, "--output", output, "--figures", figures, "--json") == 0
    document = result(capsys)
    assert document == {
        "report": str(output),
        "bytes": output.stat().st_size,
        "figures": str(figures),
    }
    assert (figures / "architecture.svg").is_file()


def test_a_report_on_no_run_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("report", tmp_path) == 1
    assert "holds nothing of a run" in capsys.readouterr().err
    assert call("report") == 2


@pytest.mark.parametrize("name", ["export", "report"])
def test_help_shows_an_example_and_loads_no_torch(name: str) -> None:
    code = (
        "import sys\nfrom proxyless_hw.cli import main\n"
        f"try:\n    main(['{name}', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'onnx', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Example:" in found.stdout
