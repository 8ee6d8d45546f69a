"""Any tool as a profiler: what it prints, how it fails, and its limits."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.bounded_process import last_group, run_bounded
from proxyless_hw.profilers.command import CommandProfiler

PYTHON = sys.executable


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


def test_without_a_pattern_the_last_number_of_milliseconds_counts(
    tmp_path: Path, models: list[Workload]
) -> None:
    body = "print('warm-up 9 ms'); print('latency 1.5e-1ms (5 runs)')"
    with profiler(tool(tmp_path, body)).open(models) as session:
        assert session.visit([0])[0].value == 0.15


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
        ("print('all fine')", r"matches on a. It ended with: all fine"),
        ("pass", r"It ended with: \(nothing\)"),
        ("print('0 ms')", "a number above 0: it matched '0'"),
        ("sys.exit('no device')", "failed on a with exit code 1: no device"),
        ("import os; os.kill(os.getpid(), 11)", "exit code -11"),
        ("print('\\x1b[31m\\x00')", r"ended with: \?\[31m\?"),
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
    assert made.describe().get("tool_unit") == options.get("unit")


def test_a_unit_that_the_tool_does_not_print_is_an_error(
    tmp_path: Path, models: list[Workload]
) -> None:
    with pytest.raises(ProfilingError, match="printed nothing that --pattern"):
        profiler(tool(tmp_path, "print('2 ms')"), unit="s").open(models)


def test_a_pattern_that_needs_forever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    from proxyless_hw.profilers import bounded_process

    monkeypatch.setattr(bounded_process, "PATTERN_SECONDS", 0.5)
    with pytest.raises(ProfilingError, match="Write one without nested repetition"):
        last_group(r"((a+)+)$", "a" * 60 + "!")


def test_the_last_match_counts_and_no_match_is_none() -> None:
    assert last_group(r"(\d)", "1 2\n3\n") == "3"
    assert last_group(r"(\d)", "none") is None


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
