"""What a table's header says of a command is enough to measure there again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_tools import CASES, profiler, tool, two_models

from proxyless_hw.errors import PredictorError, ProfilingError
from proxyless_hw.predictors.measured import measuring_for, settings_of
from proxyless_hw.predictors.verify import verify
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.command.profiler import CommandProfiler
from proxyless_hw.profilers.protocol.measurement import Measuring
from proxyless_hw.tables.table import LatencyTable


@pytest.fixture
def models(tmp_path: Path) -> list[Workload]:
    return two_models(tmp_path)


def test_the_header_holds_what_measuring_again_needs(
    tmp_path: Path, models: list[Workload]
) -> None:
    command = tool(tmp_path, "print('p50: 80')")
    first = profiler(command, pattern="p50: (.+)", unit="us", device="Board 7", timeout="9")
    with first.open(models):
        pass
    header = dict(first.describe())
    assert header["visit_statistic"] == "median"
    assert header["rounded_to"] == "0.001 ms"
    _, again = settings_of(LatencyTable({}, header, "t.csv"))
    assert again.options == {
        "command": header["command"],
        "pattern": "p50: (.+)",
        "unit": "us",
        "model_format": "onnx",
        "timeout": "9.0",
        "device": "Board 7",
    }
    second = CommandProfiler(again)
    with second.open(models) as session:
        assert session.visit([0])[0].value == 0.08
    assert dict(second.describe()) == header


def test_nothing_of_this_machine_stands_in_the_header(
    tmp_path: Path, models: list[Workload]
) -> None:
    from proxyless_hw.profilers.host.environment import cpu_model, fingerprint

    described = profiler(tool(tmp_path, "print('3 ms')")).describe()
    assert not any(
        part in value for value in described.values() for part in (cpu_model(), fingerprint())
    )


BOARD = {
    "device_kind": "command",
    "runtime": "vendor-bench",
    "metric": "latency",
    "unit": "ms",
    "pattern": "p50: (.+)",
    "command_unit": "us",
    "model_format": "onnx",
    "device": "Board 7",
}


def board_table(tmp_path: Path, leave_out: str = "", **header: str) -> LatencyTable:
    """The header of a table that a command made; its ops do not matter here."""
    command = tool(tmp_path, "print('p50: 80')")
    metadata = {**BOARD, "command": command, **header}
    metadata.pop(leave_out, None)
    return LatencyTable({}, metadata, "t.csv")


def measuring(table: LatencyTable, kind: str = "command", **options: str) -> Measuring:
    return measuring_for(table, device=kind, settings=ProfilerSettings(options=options))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pattern": "x ([0-9]+)"}, r"--pattern 'p50: \(.\+\)', and 'x \(\[0-9\]\+\)' is given"),
        ({"unit": "ms"}, "--unit 'us', and 'ms' is given"),
        ({"command": "other {model}"}, "--command '.*', and 'other {model}' is given"),
        ({"model_format": "tflite"}, "--model-format 'onnx', and 'tflite'"),
        ({"device": "Board 8"}, "--option device 'Board 7', and 'Board 8'"),
        ({"delegate_partial": "allow"}, "--option delegate_partial none, and 'allow'"),
    ],
)
def test_an_option_that_differs_from_the_tables_is_refused(
    tmp_path: Path, given: dict[str, str], message: str
) -> None:
    with pytest.raises(ProfilingError, match=message):
        measuring(board_table(tmp_path), **given)


def test_what_is_given_again_alike_is_taken_and_the_time_limit_may_differ(tmp_path: Path) -> None:
    table = board_table(tmp_path)
    again = table.metadata["command"].replace("'", "").replace(" --runs", "  '--runs'")
    assert again != table.metadata["command"]
    options = measuring(table, command=again, timeout="5").settings.options
    assert (options["unit"], options["timeout"]) == ("us", "5")


def test_a_pattern_that_the_table_was_measured_without_is_refused(tmp_path: Path) -> None:
    table = board_table(tmp_path, leave_out="pattern")
    with pytest.raises(ProfilingError, match="--pattern none, and"):
        measuring(table, pattern="(.+) ms")


def test_another_device_does_not_get_the_command(tmp_path: Path) -> None:
    with pytest.raises(PredictorError, match="was measured with device 'Board 7'"):
        measuring(board_table(tmp_path), kind="cpu")


def test_the_delegate_of_a_phones_table_is_measured_again() -> None:
    header = {
        "device_kind": "mobile",
        "runtime": "tflite-external",
        "delegate_library": "/d/libx.so",
        "delegate_options": "a:b",
    }
    kind, settings = settings_of(LatencyTable({}, header, "t.csv"))
    assert (kind, settings.runtime) == ("mobile", None)
    assert settings.options == {
        "delegate": "external",
        "delegate_library": "/d/libx.so",
        "delegate_options": "a:b",
    }


def test_weights_beside_a_file_reach_the_tool(tmp_path: Path) -> None:
    names = ("m22_external.onnx", "p10_external_clip_bounds.onnx")
    workloads = [Workload(name, file=CASES / "onnx" / name) for name in names]
    body = (
        "import os\nfolder = os.path.dirname(model)\n"
        "found = [n for n in os.listdir(folder) if n.endswith('.data')]\n"
        "assert len(found) == 1 and found[0].encode() in open(model, 'rb').read(), found\n"
        "print(os.path.getsize(os.path.join(folder, found[0])), 'ms')"
    )
    with profiler(tool(tmp_path, body)).open(workloads) as session:
        values = [visit.value for visit in session.visit([0, 1])]
    sizes = [(CASES / "onnx" / f"{name}.data").stat().st_size for name in names]
    assert values == sizes


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    alone = shutil.copyfile(CASES / "onnx" / "m22_external.onnx", tmp_path / "alone.onnx")
    with pytest.raises(ProfilingError, match=r"keeps its weights in .*which is not there"):
        profiler(tool(tmp_path, "print('3 ms')")).open([Workload("alone", file=alone)])


def test_verify_takes_the_command_from_the_table(tmp_path: Path) -> None:
    table, file = board_table(tmp_path), CASES / "onnx" / "m22_external.onnx"
    found = verify(file, table, target_ms=0.08, budget_s=1.0, device="command")
    assert found.measured.median == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("file", "batch", "has"),
    [
        ("m03_fixed_batch8.onnx", "4", "a batch of 8"),
        ("m03_fixed_batch8.onnx", "1", "a batch of 8"),
    ],
)
def test_verify_refuses_a_file_of_another_batch_than_the_tables(
    tmp_path: Path, file: str, batch: str, has: str
) -> None:
    table = board_table(tmp_path, batch_size=batch)
    with pytest.raises(PredictorError, match=rf"measured with a batch of {batch}, and .*has {has}"):
        verify(CASES / "onnx" / file, table, target_ms=1.0, device="command")


def test_a_header_runs_no_program_unasked(tmp_path: Path) -> None:
    """A table may come from anywhere: without --device command nothing of it is run."""
    from proxyless_hw.search.measurable import check_device_is_here

    table = board_table(tmp_path)
    with pytest.raises(ProfilingError, match=r"no header runs a program unasked.*--device command"):
        verify(CASES / "onnx" / "p01_relu6_clip_inputs.onnx", table, target_ms=1.0)
    with pytest.raises(ProfilingError, match="no header runs a program unasked"):
        check_device_is_here(table)


def test_profile_makes_a_table_with_a_command(tmp_path: Path) -> None:
    from small_ops import TINY_SPACE

    from proxyless_hw.cli import main

    (tmp_path / "tiny.yaml").write_text(TINY_SPACE, encoding="utf-8")
    out = tmp_path / "board.csv"
    body = "print('mean latency:', len(open(model, 'rb').read()) / 1000, 'ms')"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *("profile", "--device", "command", "--space", str(tmp_path / "tiny.yaml")),
                *("--command", tool(tmp_path, body), "--pattern", r"latency: ([\d.]+) ms"),
                *("--model-format", "onnx", "--option", "device=Board 7"),
                *("--output", str(out), "--quiet"),
            ]
        )
    assert exit_.value.code in (0, None)
    table = LatencyTable.load(out)
    assert table.metadata["device"] == "Board 7"
    assert table.metadata["runtime"] == "vendor-bench"
    assert len(table) == 4
    assert all(entry.half_width < 1e-6 for entry in table.entries.values())
    assert "affinity" not in table.metadata
    assert table.metadata["visit_statistic"] == "mean"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *("validate", "--table", str(out), "--space", str(tmp_path / "tiny.yaml")),
                *("--device", "command", "--networks", "2", "--spread", "0", "--quiet", "--force"),
            ]
        )
    assert exit_.value.code in (0, None)
