"""Known benchmark tools: recognised by what they print, and read in the unit they print."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tool_outputs import BENCHMARK_APP, HAILORTCLI, LAYOUTS, LITERT_BENCHMARK, PERF_TEST, TRTEXEC

from proxyless_hw.errors import ProfilingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.command.output import OutputRule, asked_accelerator, read_value
from proxyless_hw.profilers.command.profiler import CommandProfiler

CASES = Path(__file__).parents[2] / "cases"
MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
RULE = OutputRule("bench", ("bench", "m.onnx"))


@pytest.mark.parametrize(
    ("tool", "value"),
    [("fake_trtexec", 2.104), ("fake_benchmark_app", 1.87), ("fake_benchmark_model", 20.08)],
)
def test_a_tool_gives_its_median(tmp_path: Path, tool: str, value: float) -> None:
    command = f"'{CASES / 'tools' / tool}' {{model}}"
    profiler = CommandProfiler(ProfilerSettings(options={"command": command}))
    with profiler.open([Workload("m", file=CASES / "onnx" / "m03_fixed_batch8.onnx")]) as session:
        assert session.visit([0])[0].value == pytest.approx(value)
    described = profiler.describe()
    assert described["tool"] == tool.removeprefix("fake_")
    assert described["visit_statistic"] == "median"


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.data())
def test_the_value_is_what_the_tool_measured_in_the_unit_it_printed(
    layout: str, data: st.DataObject
) -> None:
    tool, text, units, statistic = LAYOUTS[layout]
    unit = data.draw(st.sampled_from(units))
    number = data.draw(st.integers(10, 999999)) / data.draw(st.sampled_from([1, 10, 100, 1000]))
    noise = data.draw(st.lists(st.sampled_from(["INFO: ready", "done in a moment"]), max_size=2))
    printed = "\n".join([*noise, text.format(value=f"{number:.6g}", unit=unit)])
    reading = read_value(printed, RULE, "m")
    assert reading.value == pytest.approx(float(f"{number:.6g}") * MS[unit], rel=1e-9)
    assert reading.statistic == statistic
    assert reading.notes["tool"] == tool


@pytest.mark.parametrize("layout", LAYOUTS)
@given(st.data())
def test_an_output_that_was_cut_off_never_gives_another_number(
    layout: str, data: st.DataObject
) -> None:
    _, text, units, _ = LAYOUTS[layout]
    printed = text.format(value="12.345", unit=units[0])
    cut = printed[: data.draw(st.integers(0, len(printed)))]
    cut = cut[: cut.rfind("\n") + 1]  # tools print whole lines
    try:
        reading = read_value(cut, RULE, "m")
    except ProfilingError:
        return
    # What is left is the whole statistic, or a mean that stands before the median.
    assert reading.value == pytest.approx(12.345 * MS[units[0]]) or reading.statistic == "mean"


@given(
    st.integers(1, 10**9),
    st.integers(0, 6),
    st.sampled_from(["ns", "us", "µs", "usec", "ms", "msec", "milliseconds", "s", "sec", "MB", ""]),
    st.sampled_from(["", " ", "\t"]),
    st.sampled_from(
        ["latency: {}", "{} (5 runs)", "mean={}", "5 runs, mean {} each", "{}/iter", "a\n{}\nb",
         "1,{}", "9 {}", "0.5 ± {}", "-{}", "total {}", "v1.{}", "3m {}", "x: {}\ny: 5 ms"]
    ),
    st.sampled_from([None, "ns", "us", "ms", "s"]),
)  # fmt: skip
def test_an_unknown_tools_value_is_what_it_printed_or_it_is_refused(
    digits: int, decimals: int, unit: str, space: str, layout: str, given_unit: str | None
) -> None:
    number = f"{digits / 10**decimals:.{decimals}f}"
    text = layout.format(f"{number}{space}{unit}")
    scale = {"µs": 1e-3, "usec": 1e-3, "msec": 1.0, "milliseconds": 1.0, "sec": 1e3}.get(unit)
    scale = MS.get(unit, scale)
    rule = OutputRule("bench", ("bench",), unit=given_unit)  # type: ignore[arg-type]
    try:
        value = read_value(text, rule, "m").value
    except ProfilingError:
        return
    assert layout not in ("1,{}", "9 {}", "0.5 ± {}", "-{}", "total {}", "v1.{}", "3m {}")
    if layout == "x: {}\ny: 5 ms" and scale is None:
        assert value == 5
        return
    if scale is None:
        assert unit == ""
        assert given_unit is not None
        scale = MS[given_unit]
    assert value == pytest.approx(float(number) * scale, rel=1e-9)


@given(
    st.integers(1, 10**7),
    st.sampled_from(["ns", "us", "ms", "s", ""]),
    st.sampled_from([None, "ns", "us", "ms", "s"]),
    st.booleans(),
)
def test_a_pattern_takes_the_unit_beside_its_number(
    digits: int, unit: str, given_unit: str | None, grouped: bool
) -> None:
    from unittest.mock import patch

    from proxyless_hw.profilers.command import bounded_process
    from proxyless_hw.profilers.command import output as command_output

    text = f"warm-up: 7 s\nmedian: {digits / 100} {unit}\nlimit: 9 ms"
    pattern = r"median: ([\d.]+)" + (r" (?P<unit>\w+)" if grouped else "")
    line = text.splitlines()[1]
    found = bounded_process.PatternMatch(
        line, 8, 8 + len(str(digits / 100)), (unit or None) if grouped else None
    )
    rule = OutputRule("bench", ("bench",), pattern=pattern, unit=given_unit)  # type: ignore[arg-type]
    with patch.object(command_output, "last_match", lambda *_: found):
        try:
            reading = read_value(text, rule, "m")
        except ProfilingError:
            assert (not unit and given_unit is None) or (unit and given_unit not in (None, unit))
            return
    assert reading.value == pytest.approx(digits / 100 * MS[unit or given_unit or ""])
    assert reading.statistic == "median"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TRTEXEC.format(value="2", unit="ms") * 2 + "x", "trtexec"),
        (
            BENCHMARK_APP.format(value="2", unit="ms") + BENCHMARK_APP.format(value="3", unit="ms"),
            "benchmark_app printed 2 results on m: 2 ms, 3 ms",
        ),
        (
            TRTEXEC.format(value="2", unit="ms") + PERF_TEST.format(value="2", unit="s"),
            "of several tools: trtexec, onnxruntime_perf_test",
        ),
        (BENCHMARK_APP.format(value="2", unit="parsecs"), "a unit on m that is not known"),
        (BENCHMARK_APP.format(value="0", unit="ms"), "must be a time above 0"),
        ("[I] Total GPU Compute Time: 2.9 s\n[I] Throughput: 2 qps\n", "was cut off"),
        ("[Step 11/11] Dumping statistics report\n", "was cut off"),
        (HAILORTCLI.format(value="6", unit="ms") + "        (overall) = 8 ms\n", "Name the one"),
    ],
)
def test_a_known_tools_output_that_answers_no_or_two_questions_is_refused(
    text: str, message: str
) -> None:
    if message == "trtexec":  # the same figure twice is one figure
        assert read_value(text, RULE, "m").notes["tool"] == message
        return
    with pytest.raises(ProfilingError, match=message):
        read_value(text, RULE, "m")


def test_what_a_tool_tells_of_itself_joins_the_header() -> None:
    notes = read_value(BENCHMARK_APP.format(value="2", unit="us"), RULE, "m").notes
    assert (notes["ran_on"], notes["tool_precision"]) == ("CPU", "bfloat16")
    assert notes["tool_hint"] == "LATENCY"


@pytest.mark.parametrize("accelerators", ["NPU | CPU", "GPU | CPU"])
def test_litert_benchmark_that_fell_back_to_the_cpu_is_refused(accelerators: str) -> None:
    text = LITERT_BENCHMARK.format(accelerators=accelerators, value="6.00")
    asked = accelerators.split()[0]
    with pytest.raises(ProfilingError, match=f"asked for the {asked} on m.*--require_full_del"):
        read_value(text, RULE, "m")
    alone = text.replace(" | CPU", "").replace("INFO: Created", "Not created")
    assert read_value(alone, RULE, "m").notes["ran_on"] == asked
    with pytest.raises(ProfilingError, match="Fully accelerated: False"):
        read_value(alone.replace("True", "False"), RULE, "m")
    allowed = OutputRule("bench", ("bench",), allow_partial=True)
    assert read_value(text, allowed, "m").notes["ran_on"] == accelerators.replace(" |", " and")


def test_a_delegate_that_the_command_asks_for_must_be_the_one_that_ran() -> None:
    text = (CASES / "logs" / "gpu_asked_cpu_ran.txt").read_text(encoding="utf-8")
    for words in (
        ("benchmark_model", "--graph=m", "--use_gpu=true"),
        ("ssh", "board", "benchmark_model --graph=m --use_gpu=true"),
    ):
        with pytest.raises(ProfilingError, match="TfLiteXNNPackDelegate 58 of 58"):
            read_value(text, OutputRule("bench", words), "m")
        with pytest.raises(ProfilingError, match="TfLiteXNNPackDelegate 58 of 58"):
            read_value(text, OutputRule("bench", words, pattern=r"median=(\d+)", unit="us"), "m")
    reading = read_value(text, OutputRule("bench", ("b", "--use_xnnpack=true")), "m")
    assert reading.notes["ran_on"] == "TfLiteXNNPackDelegate"
    assert asked_accelerator(["--use_npu", "--use_xnnpack=false"]) == ("npu", "")
    assert asked_accelerator(["--use_gpu=false"]) == ("default", "")
    assert asked_accelerator(["--external_delegate_path=/d/x.so"]) == ("external", "/d/x.so")


@pytest.mark.parametrize(
    ("text", "value", "statistic"),
    [
        (PERF_TEST.format(value="1", unit="s"), 109.0, "peak"),
        (
            (CASES / "logs" / "litert_results_block.txt").read_text("utf-8"),
            31.5,
            "overall footprint",
        ),
    ],
)
def test_memory_is_read_where_a_tool_prints_it(text: str, value: float, statistic: str) -> None:
    reading = read_value(text, OutputRule("bench", ("bench",), "memory"), "m")
    assert (reading.value, reading.statistic) == (pytest.approx(value, rel=1e-2), statistic)


def benchmark_app() -> str:
    """OpenVINO's tool: named by BENCHMARK_APP, or on PATH."""
    found = os.environ.get("BENCHMARK_APP") or shutil.which("benchmark_app")
    if not found:
        pytest.skip("no benchmark_app here (pip install openvino; BENCHMARK_APP=PATH)")
    return found


@pytest.mark.slow
def test_openvinos_own_tool_is_read_in_both_of_its_units(tmp_path: Path) -> None:
    from small_ops import small_workloads

    network = load_architecture("proxyless-mobile").with_shape(resolution=448)
    options = "-d CPU -api sync -hint latency -niter 20"
    command = f"'{benchmark_app()}' -m {{model}} {options}"
    profiler = CommandProfiler(ProfilerSettings(options={"command": command, "timeout": "300"}))
    workloads = [small_workloads()[0], Workload("net", arch=network)]
    with profiler.open(workloads) as session:
        op, whole = session.visit([0, 1])
        printed = []
        for file in session.files:
            words = [benchmark_app(), "-m", str(file), *options.split()]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            printed.append(next(line for line in done.stdout.splitlines() if "Median:" in line))
    assert printed[0].split()[-1] == "us"
    assert printed[1].split()[-1] == "ms"
    assert 1e-3 < op.value < 1 < whole.value < 1e3
    assert profiler.describe()["tool"] == "benchmark_app"
    assert profiler.describe()["ran_on"] == "CPU"


@pytest.mark.slow
@pytest.mark.parametrize("tail", ["", " --result_json={result}"])
def test_litert_benchmark_itself_is_read(tmp_path: Path, tail: str) -> None:
    import sys

    beside = Path(sys.executable).with_name("litert-benchmark")
    tool = str(beside) if beside.exists() else shutil.which("litert-benchmark")
    if tool is None:
        pytest.skip("no litert-benchmark here (pip install ai-edge-litert)")

    network = load_architecture("proxyless-mobile").with_shape(resolution=96, num_classes=10)
    command = f"'{tool}' --model={{model}} --num_runs=20{tail}"
    options = {"command": command, "model_format": "tflite"}
    profiler = CommandProfiler(ProfilerSettings(options=options))
    with profiler.open([Workload("net", arch=network)]) as session:
        assert 0.1 < session.visit([0])[0].value < 1e4
    described = profiler.describe()
    assert described["tool"] == "litert-benchmark"
    assert (described["ran_on"], described["rounded_to"]) == ("CPU", "0.01 ms")
    asking = {**options, "command": command + " --use_npu"}
    with pytest.raises(ProfilingError, match="asked for the NPU on net"):
        CommandProfiler(ProfilerSettings(options=asking)).open([Workload("net", arch=network)])
