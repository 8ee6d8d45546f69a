"""Any tool as a profiler: what it prints, how it fails, and its limits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from command_tools import CASES, profiler, tool, two_models

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.command.bounded_process import last_match, run_bounded
from proxyless_hw.profilers.command.profiler import CommandProfiler


@pytest.fixture
def models(tmp_path: Path) -> list[Workload]:
    return two_models(tmp_path)


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


def test_another_metric_is_never_called_milliseconds(
    tmp_path: Path, models: list[Workload]
) -> None:
    def measuring(metric: Any, body: str, **options: str) -> CommandProfiler:
        options = {"command": tool(tmp_path, body), **options}
        return CommandProfiler(ProfilerSettings(metric=metric, options=options))

    with pytest.raises(ProfilingError, match="does not measure energy"):
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


def runs(pid: str) -> bool:
    """Whether a process is there, or is still being ended; a zombie is not."""
    status = Path("/proc") / pid / "stat"
    for _ in range(600):
        try:
            if status.read_text().rsplit(")", 1)[1].split()[0] in ("Z", "X"):
                return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.05)
    return True


def test_a_tool_that_hangs_is_stopped_with_its_children(
    tmp_path: Path, models: list[Workload]
) -> None:
    child = tmp_path / "child"
    body = (
        "import subprocess; child = subprocess.Popen(['sleep', '3600']); "
        f"open({str(child)!r}, 'w').write(str(child.pid)); child.wait()"
    )
    with pytest.raises(ProfilingError, match=r"did not end within 0.5 s on a.*--option timeout"):
        profiler(tool(tmp_path, body), timeout="0.5").open(models)
    assert not child.exists() or not runs(child.read_text())


def test_a_tool_that_floods_is_stopped(tmp_path: Path, models: list[Workload]) -> None:
    body = "while True: print('x' * 1000)"
    with pytest.raises(ProfilingError, match="printed more than 1024 KiB"):
        profiler(tool(tmp_path, body)).open(models)


def test_a_tool_that_leaves_a_child_behind_does_not_keep_us(tmp_path: Path) -> None:
    output = run_bounded(["sh", "-c", "sleep 3600 & echo $! ; echo 5 ms"], 120, 1000)
    child, text = output.text.splitlines()
    assert text == "5 ms"
    assert not runs(child)


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


@pytest.mark.parametrize(
    ("printed", "options", "expected_ms"),
    [
        ("mean 250 us", {"unit": "us"}, 0.25),
        ("mean 250 µs", {"unit": "us"}, 0.25),
        ("mean 0.5 s", {"unit": "s"}, 500.0),
        ("mean 4e6 ns", {"unit": "ns"}, 4.0),
        ("mean: 7000", {"unit": "us", "pattern": r"mean: (\d+)"}, 7.0),
        ("mean 2 ms", {}, 2.0),
    ],
)
def test_the_unit_that_the_tool_prints_is_converted(
    tmp_path: Path,
    models: list[Workload],
    printed: str,
    options: dict[str, str],
    expected_ms: float,
) -> None:
    made = profiler(tool(tmp_path, f"print({printed!r})"), **options)
    with made.open(models) as session:
        assert session.visit([0])[0].value == pytest.approx(expected_ms)
    assert made.describe()["unit"] == "ms"
    assert made.describe().get("command_unit") == options.get("unit")


def test_a_unit_that_the_tool_does_not_print_is_an_error(
    tmp_path: Path, models: list[Workload]
) -> None:
    with pytest.raises(ProfilingError, match="--unit says s, and the tool printed ms"):
        profiler(tool(tmp_path, "print('2 ms')"), unit="s").open(models)


def test_a_pattern_that_needs_forever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyless_hw.profilers.command import bounded_process

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


@pytest.mark.parametrize("device", ["command", "gpu"])
def test_nodes_cannot_be_timed_on_a_device_elsewhere(
    models: list[Workload], capsys: pytest.CaptureFixture[str], device: str
) -> None:
    from proxyless_hw.cli import main

    with pytest.raises(SystemExit) as exit_:
        main(["benchmark", str(models[0].file), "--per-op", "--device", device])
    assert exit_.value.code == 1
    assert f"received --device {device}" in capsys.readouterr().err
