"""Any tool as a profiler: what it prints, how it fails, and its limits."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.bounded_process import last_match, run_bounded
from proxyless_hw.profilers.command import CommandProfiler
from proxyless_hw.profilers.command_recorded import with_recorded_options

PYTHON = sys.executable
CASES = Path(__file__).parents[1] / "cases"


def tool(tmp_path: Path, body: str) -> str:
    """A vendor's tool: a Python script; `model` is the path it was given."""
    path = tmp_path / "vendor-bench"
    path.write_text(f"#!{PYTHON} -S\nimport sys, time\nmodel = sys.argv[-1]\n{body}\n", "utf-8")
    path.chmod(0o755)
    return f"'{path}' --runs 3 {{model}}"


def profiler(command: str, **options: str) -> CommandProfiler:
    return CommandProfiler(ProfilerSettings(options={"command": command, **options}))


@pytest.fixture
def models(tmp_path: Path) -> list[Workload]:
    found = []
    for name in ("a", "b"):
        (tmp_path / f"{name}.onnx").write_bytes(name.encode())
        found.append(Workload(name, file=tmp_path / f"{name}.onnx"))
    return found


def test_the_first_group_of_the_pattern_is_the_latency(
    tmp_path: Path, models: list[Workload]
) -> None:
    body = "print('warm-up: 9.0 ms'); print('mean:', 1.25 if 'm0000' in model else 2.5, 'ms')"
    with profiler(tool(tmp_path, body), pattern=r"mean: ([\d.]+) ms").open(models) as session:
        visits = session.visit([1, 0, 1])
    assert [visit.value for visit in visits] == [2.5, 1.25, 2.5]


def test_without_a_pattern_the_only_time_counts(tmp_path: Path, models: list[Workload]) -> None:
    body = "print('20 runs'); print('latency 1.5e-1ms (5 runs)')"
    with profiler(tool(tmp_path, body)).open(models) as session:
        assert session.visit([0])[0].value == 0.15


def test_several_times_without_a_pattern_are_refused_and_shown(
    tmp_path: Path, models: list[Workload]
) -> None:
    body = "print('load 9 ms'); print('latency 1.5 ms')"
    with pytest.raises(ProfilingError, match=r"2 numbers .* 'load 9 ms'; 'latency 1.5 ms'.*--pat"):
        profiler(tool(tmp_path, body)).open(models)


def test_the_unit_is_read_with_each_number(tmp_path: Path, models: list[Workload]) -> None:
    body = "print('Median:', '80.36 us' if 'm0000' in model else '19.69 ms')"
    for options in ({}, {"pattern": r"Median: ([\d.]+)"}, {"pattern": r"([\d.]+) (?P<unit>\w+)$"}):
        with profiler(tool(tmp_path, body), **options).open(models) as session:
            values = [visit.value for visit in session.visit([0, 1])]
        assert values == [pytest.approx(0.08036), 19.69]


def test_a_number_without_a_unit_needs_one_given(tmp_path: Path, models: list[Workload]) -> None:
    command = tool(tmp_path, "print('mean: 1250')")
    with pytest.raises(ProfilingError, match=r"has no unit: 'mean: 1250'.*--unit ns, us, ms or s"):
        profiler(command, pattern=r"mean: (\d+)").open(models)
    for options in ({"unit": "us"}, {"unit": "us", "pattern": r"mean: (\d+)"}):
        with profiler(command, **options).open(models) as session:
            assert session.visit([0])[0].value == 1.25


def test_a_given_unit_must_not_contradict_the_printed_one(
    tmp_path: Path, models: list[Workload]
) -> None:
    command = tool(tmp_path, "print('mean: 80.36 us')")
    for options in ({}, {"pattern": r"mean: ([\d.]+)"}):
        with pytest.raises(ProfilingError, match="--unit says ms, and the tool printed us"):
            profiler(command, unit="ms", **options).open(models)


def test_a_pattern_that_misses_shows_the_nearest_line(
    tmp_path: Path, models: list[Workload]
) -> None:
    body = "print('Average latency = 5 ms'); print('bye')"
    with pytest.raises(ProfilingError, match=r"nearest line: 'Average latency = 5 ms'"):
        profiler(tool(tmp_path, body), pattern=r"avg latency: ([\d.]+) ms").open(models)


@pytest.mark.parametrize(
    "line", ["mean: 1,234 us", "mean: -5 us", "mean: 1e-5 us", "mean: 12,5 us"]
)
def test_a_pattern_that_cuts_a_number_in_two_is_refused(
    tmp_path: Path, models: list[Workload], line: str
) -> None:
    with pytest.raises(ProfilingError, match=r"must be a whole one|above 0"):
        profiler(tool(tmp_path, f"print({line!r})"), pattern=r"(\d+)(?: us|,5| ?$)").open(models)


def test_a_result_file_is_read_where_the_command_names_one(
    tmp_path: Path, models: list[Workload]
) -> None:
    body = "open(sys.argv[-2], 'w').write('latency 2 ms')"
    command = tool(tmp_path, body).replace("--runs 3", "{result}")
    with profiler(command).open(models) as session:
        assert session.visit([0])[0].value == 2
    with pytest.raises(ProfilingError, match="wrote no result file on a"):
        profiler(tool(tmp_path, "pass").replace("--runs 3", "{result}")).open(models)


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
    again = with_recorded_options(ProfilerSettings(), "command", header, "t.csv")
    assert again.options == {
        "command": header["command"],
        "pattern": "p50: (.+)",
        "unit": "us",
        "model_format": "onnx",
        "timeout": "9",
        "device": "Board 7",
    }
    second = CommandProfiler(again)
    with second.open(models) as session:
        assert session.visit([0])[0].value == 0.08
    assert dict(second.describe()) == header


def test_nothing_of_this_machine_stands_in_the_header(
    tmp_path: Path, models: list[Workload]
) -> None:
    from proxyless_hw.profilers.environment import cpu_model, fingerprint

    described = profiler(tool(tmp_path, "print('3 ms')")).describe()
    assert not any(
        part in value for value in described.values() for part in (cpu_model(), fingerprint())
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pattern": "x ([0-9]+)"}, r"--pattern 'p50: \(.\+\)', and 'x \(\[0-9\]\+\)' is given"),
        ({"unit": "ms"}, "--unit 'us', and 'ms' is given"),
        ({"command": "other {model}"}, "--command '.*', and 'other {model}' is given"),
        ({"model_format": "tflite"}, "--model-format 'onnx', and 'tflite'"),
        ({"device": "Board 8"}, "--option device 'Board 7', and 'Board 8'"),
    ],
)
def test_an_option_that_differs_from_the_tables_is_refused(
    given: dict[str, str], message: str
) -> None:
    header = {
        "device_kind": "command",
        "command": "bench {model}",
        "pattern": "p50: (.+)",
        "command_unit": "us",
        "model_format": "onnx",
        "device": "Board 7",
    }
    with pytest.raises(ProfilingError, match=message):
        with_recorded_options(ProfilerSettings(options=given), "command", header, "t.csv")
    same = ProfilerSettings(options={"command": "bench  '{model}'", "timeout": "5"})
    assert with_recorded_options(same, "command", header, "t.csv").options["unit"] == "us"
    assert with_recorded_options(same, "cpu", header, "t.csv") is same


def test_a_pattern_that_the_table_was_measured_without_is_refused() -> None:
    header = {"device_kind": "command", "command": "bench {model}"}
    given = ProfilerSettings(options={"pattern": "(.+) ms"})
    with pytest.raises(ProfilingError, match="--pattern none, and"):
        with_recorded_options(given, "command", header, "t.csv")


def test_another_metric_is_never_called_milliseconds(
    tmp_path: Path, models: list[Workload]
) -> None:
    def measuring(metric: Any, body: str, **options: str) -> CommandProfiler:
        options = {"command": tool(tmp_path, body), **options}
        return CommandProfiler(ProfilerSettings(metric=metric, options=options))

    with pytest.raises(ProfilingError, match="tells no energy"):
        measuring("energy", "")
    with pytest.raises(ProfilingError, match="--pattern finds a latency"):
        measuring("memory", "", pattern="(.)")
    with pytest.raises(ProfilingError, match="printed no peak memory on a"):
        measuring("memory", "print('3 ms')").open(models)
    body = f"print(open({str(CASES / 'logs' / 'litert_results_block.txt')!r}).read())"
    board = measuring("memory", body)
    with board.open(models) as session:
        assert session.visit([0])[0].value == 31.5
    described = board.describe()
    assert (described["unit"], described["visit_statistic"]) == ("MB", "overall footprint")


def test_words_reach_the_tool_without_a_shell(tmp_path: Path, models: list[Workload]) -> None:
    body = "assert sys.argv[1] == '$(id);x y', sys.argv; print('3 ms')"
    command = tool(tmp_path, body).replace("--runs 3", "'$(id);x y'")
    with profiler(command).open(models) as session:
        assert session.visit([0])[0].value == 3


def test_the_model_may_be_part_of_a_word(tmp_path: Path, models: list[Workload]) -> None:
    body = "assert model.startswith('--model=/'), model; print('3 ms')"
    command = tool(tmp_path, body).replace("{model}", "--model={model}")
    with profiler(command).open(models):
        pass


def test_model_files_are_deleted_at_the_end(tmp_path: Path, models: list[Workload]) -> None:
    session = profiler(tool(tmp_path, "print('3 ms')")).open(models)
    folder = session.files[0].parent
    assert sorted(path.name for path in folder.iterdir()) == ["m0000.onnx", "m0001.onnx"]
    session.close()
    session.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('all fine')", r"no number with a unit of time on a. It ended with: 'all fine'"),
        ("pass", r"It ended with: '\(nothing\)'"),
        ("print('0 ms')", "must be a time above 0 .*: found '0' in '0 ms'"),
        ("sys.exit('no device')", "failed on a with exit code 1: no device"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
        ("print('\\x1b[31m\\x00')", r"ended with: '\?\[31m\?'"),
    ],
)
def test_a_tool_that_gives_no_latency_is_an_error(
    tmp_path: Path, models: list[Workload], body: str, message: str
) -> None:
    with pytest.raises(ProfilingError, match=message):
        profiler(tool(tmp_path, body)).open(models)


def test_a_tool_that_hangs_is_stopped_with_its_children(
    tmp_path: Path, models: list[Workload]
) -> None:
    body = "import subprocess; subprocess.run(['sleep', '60'])"
    begin = time.monotonic()
    with pytest.raises(ProfilingError, match=r"did not end within 0.5 s on a.*--option timeout"):
        profiler(tool(tmp_path, body), timeout="0.5").open(models)
    assert time.monotonic() - begin < 20


def test_a_tool_that_floods_is_stopped(tmp_path: Path, models: list[Workload]) -> None:
    body = "while True: print('x' * 1000)"
    with pytest.raises(ProfilingError, match="printed more than 1024 KiB"):
        profiler(tool(tmp_path, body)).open(models)


def test_a_tool_that_leaves_a_child_behind_does_not_keep_us(tmp_path: Path) -> None:
    begin = time.monotonic()
    output = run_bounded(["sh", "-c", "sleep 60 & echo 5 ms"], 30, 1000)
    assert output.text == "5 ms\n"
    assert time.monotonic() - begin < 20


def test_a_tool_that_is_not_there_is_named(models: list[Workload]) -> None:
    with pytest.raises(BackendUnavailableError, match="'vendor-bench' is not on PATH"):
        profiler("vendor-bench {model}").open(models)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs --command"),
        ({"command": "tool"}, r"must hold \{model\}"),
        ({"command": "{model}"}, r"must hold \{model\}"),
        ({"command": "tool 'open {model}"}, "cannot be split"),
        ({"command": "t {model}", "pattern": "("}, "must be a regular expression"),
        ({"command": "t {model}", "pattern": "ms"}, "must have a group"),
        ({"command": "t {model}", "pattern": "(a)" * 400}, "at most 1000 characters"),
        ({"command": "t {model}", "model_format": "onyx"}, "Did you mean 'onnx'"),
        ({"command": "t {model}", "pattern": "(?P<unit>ms)"}, "beside one named unit"),
        ({"command": "t {model}", "unit": "msec"}, "Did you mean 'ms'"),
        ({"command": "t {model}", "timeout": "-1"}, "timeout must be a number"),
    ],
)
def test_bad_options_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ProfilingError, match=message):
        CommandProfiler(ProfilerSettings(options=options))


def test_a_pattern_that_needs_forever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyless_hw.profilers import bounded_process

    monkeypatch.setattr(bounded_process, "PATTERN_SECONDS", 0.5)
    with pytest.raises(ProfilingError, match="Write one without nested repetition"):
        last_match(r"((a+)+)$", "a" * 60 + "!")


def test_the_last_match_counts_and_no_match_is_none() -> None:
    found = last_match(r"(\d)", "1 2\n3\n")
    assert found is not None
    assert (found.line, found.start, found.end, found.unit) == ("3", 0, 1, None)
    assert last_match(r"(\d)", "none") is None
    found = last_match(r"(?P<unit>[mu]s) (\d)|(x)", "us 1\nms 2 x\n")
    assert found is not None
    assert (found.line[found.start : found.end], found.unit) == ("2", "ms")


def test_real_models_reach_the_tool(tmp_path: Path) -> None:
    from small_ops import small_workloads

    body = "print(len(open(model, 'rb').read()), 'ms', model[-4:] == 'onnx')"
    with profiler(tool(tmp_path, body)).open(small_workloads()) as session:
        visits = session.visit([0, 1, 2])
    assert all(visit.value > 500 for visit in visits)


def test_tflite_files_need_no_format_option(tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"x")
    body = "print('2 ms' if model.endswith('.tflite') else 'no')"
    workloads = [Workload("net", file=tmp_path / "net.tflite")]
    with profiler(tool(tmp_path, body)).open(workloads) as session:
        assert session.visit([0])[0].value == 2


def test_profile_makes_a_table_with_a_command(tmp_path: Path) -> None:
    from small_ops import TINY_SPACE

    from proxyless_hw.cli import main
    from proxyless_hw.tables.table import LatencyTable

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
    assert all(entry.half_width == pytest.approx(0) for entry in table.entries.values())
    assert "affinity" not in table.metadata
    assert table.metadata["visit_statistic"] == "mean"
    with pytest.raises(SystemExit) as exit_:
        main(
            [
                *("validate", "--table", str(out), "--space", str(tmp_path / "tiny.yaml")),
                *("--device", "command", "--networks", "2", "--spread", "0", "--quiet"),
            ]
        )
    assert exit_.value.code in (0, None)


@pytest.mark.parametrize("device", ["mobile", "command", "gpu"])
def test_nodes_cannot_be_timed_on_a_device_elsewhere(
    models: list[Workload], capsys: pytest.CaptureFixture[str], device: str
) -> None:
    from proxyless_hw.cli import main

    with pytest.raises(SystemExit) as exit_:
        main(["benchmark", str(models[0].file), "--per-op", "--device", device])
    assert exit_.value.code == 1
    assert f"received --device {device}" in capsys.readouterr().err
