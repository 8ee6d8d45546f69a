"""The parser of ``benchmark_model``'s output."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.benchmark_model import failure_reason, parse_output

REAL = """\
INFO: STARTING!
INFO: Num threads: [1]
INFO: Graph: [/data/local/tmp/M.tflite]
INFO: Loaded model /data/local/tmp/M.tflite
INFO: The input model file size (MB): 16.9008
INFO: Initialized session in 12.75ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
INFO: count=37 first=14744 curr=15520 min=13164 max=18295 avg=13764.3 std=967 p5=13200 \
median=13700 p95=15400

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
INFO: count=74 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470 p5=13150 \
median=13500 p95=14400

INFO: Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, \
Inference (avg): 13520.2
INFO: Overall peak memory footprint (MB) via periodic monitoring: 24.1
"""
WARM_UP = "INFO: count=1 curr=900\n"


def test_the_second_statistics_line_is_the_measured_one() -> None:
    run = parse_output(REAL, "M")
    assert run.measured.count == 74
    assert run.measured.avg == 13520.2
    assert run.measured.median == 13500
    assert run.measured.min == 13105
    assert run.measured.p95 == 14400
    assert run.warm_up is not None
    assert run.warm_up.count == 37
    assert run.init_us == 12750
    assert run.peak_memory_mb == 24.1


@pytest.mark.parametrize(
    "prefix", ["", "I tflite  : ", "07-01 12:00:00.123  991  991 I tflite  : "]
)
def test_other_prefixes_mean_the_same(prefix: str) -> None:
    assert parse_output(REAL.replace("INFO: ", prefix), "M") == parse_output(REAL, "M")


def test_carriage_returns_of_old_adb_do_not_matter() -> None:
    assert parse_output(REAL.replace("\n", "\r\n"), "M") == parse_output(REAL, "M")


def test_builds_without_percentiles_give_a_mean_only() -> None:
    text = WARM_UP + "count=74 first=9 curr=7 min=5 max=9 avg=6.5 std=1\n"
    stats = parse_output(text, "M").measured
    assert (stats.avg, stats.median, stats.p95) == (6.5, None, None)


def test_all_equal_inferences_print_one_value() -> None:
    stats = parse_output(WARM_UP + "INFO: count=50 curr=123(all same)\n", "M").measured
    assert (stats.count, stats.avg, stats.median, stats.min, stats.max) == (50, 123, 123, 123, 123)


def test_a_single_inference_prints_one_value() -> None:
    stats = parse_output(WARM_UP + "count=1 curr=123\n", "M").measured
    assert (stats.count, stats.median) == (1, 123)


def test_scientific_notation_is_read() -> None:
    text = WARM_UP + "count=2 first=9992420 curr=9992420 min=9992420 max=9992421 avg=9.99242e+06\n"
    assert parse_output(text, "M").measured.avg == 9.99242e6


def test_the_very_old_summary_alone_is_enough() -> None:
    text = "Average inference timings in us: Warmup: 76605.9, Init: 9933, no stats: 66767.6\n"
    run = parse_output(text, "M")
    assert run.measured.avg == 66767.6
    assert run.measured.count is None
    assert run.init_us == 9933


def test_no_inference_is_an_error() -> None:
    with pytest.raises(ProfilingError, match="ran no inference of M"):
        parse_output(WARM_UP + "INFO: count=0\n", "M")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "\x00\xff\x1b[31m" * 100,
        REAL[: REAL.index("INFO: count=74")],
        WARM_UP,
    ],
)
def test_output_without_a_measurement_is_refused(text: str) -> None:
    with pytest.raises(ProfilingError, match="M was cut off or is not its own"):
        parse_output(text, "M")


def test_a_number_that_was_cut_off_is_never_taken() -> None:
    start = REAL.index("INFO: count=74")
    end = REAL.index("\n", start)
    for cut in range(start, end + 1):
        with pytest.raises(ProfilingError):
            parse_output(REAL[:cut], "M")


@pytest.mark.parametrize("bad", ["avg=nan", "avg=inf", "avg=-5", "avg=1.2.3", "avg=abc"])
def test_an_average_that_is_no_number_is_refused(bad: str) -> None:
    with pytest.raises(ProfilingError, match="holds no number for avg"):
        parse_output(WARM_UP + f"count=3 first=4 curr=4 min=4 max=6 {bad} std=1\n", "M")


def test_statistics_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ProfilingError, match="min <= avg <= max"):
        parse_output(WARM_UP + "count=3 first=4 curr=4 min=40 max=60 avg=600 std=1\n", "M")


def test_statistics_that_contradict_the_summary_are_refused() -> None:
    with pytest.raises(ProfilingError, match="contradicts itself"):
        parse_output(REAL.replace("Inference (avg): 13520.2", "Inference (avg): 99"), "M")


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=400))
def test_any_text_gives_a_result_or_a_profiling_error(text: str) -> None:
    with contextlib.suppress(ProfilingError):
        parse_output(text + "\ncount=" + text, "M")


@given(st.integers(0, len(REAL)), st.integers(0, len(REAL)))
def test_a_log_with_a_hole_never_gives_another_number(start: int, end: int) -> None:
    start, end = min(start, end), max(start, end)
    try:
        run = parse_output(REAL[:start] + REAL[end:], "M")
    except ProfilingError:
        return
    # Either the hole spared both lines, or what is left could have been printed like this.
    assert run.measured.min <= run.measured.avg <= run.measured.max + 1


CASES = Path(__file__).parents[2] / "cases" / "logs"
LITERT = (CASES / "litert_results_block.txt").read_text(encoding="utf-8")
BLOCK = LITERT[LITERT.index("========== BENCHMARK") :]


def test_a_litert_log_gives_the_median_of_the_line_that_its_results_sum_up() -> None:
    run = parse_output(LITERT, "M")
    assert (run.measured.count, run.measured.median, run.init_us) == (30, 5010, 21400)
    assert (run.peak_memory_mb, run.overall_memory_mb) == (None, 31.5)
    assert run.rounded_ms is None


def test_a_litert_block_alone_gives_its_rounded_mean_and_says_so() -> None:
    run = parse_output(BLOCK, "M")
    assert (run.measured.avg, run.measured.median, run.measured.count) == (5020, None, 30)
    assert run.rounded_ms == 0.01


def test_the_python_tools_block_has_a_median() -> None:
    block = BLOCK.replace("Inference (std)", "Inference (median):  5.01 ms\nInference (std)")
    assert parse_output(block, "M").measured.median == pytest.approx(5010)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("5.02 ms (30 runs)", "9.02 ms (30 runs)"), "contradicts itself"),
        (("5.02 ms (30 runs)", "5.02 ms (31 runs)"), "contradicts itself"),
        (("Inference (avg)", "Inference"), "was cut off"),
        (("Inference (avg):      5.02", "Inference (avg):      x"), "holds no number"),
        (("Memory Usage:", "No inference runs were performed."), "ran no inference"),
        (("Memory Usage:", "===== BENCHMARK RESULTS ====="), "2 blocks of results"),
    ],
)
def test_a_litert_log_that_contradicts_itself_is_refused(
    change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ProfilingError, match=message):
        parse_output(LITERT.replace(*change), "M")


def test_a_time_that_the_tool_rounds_to_nothing_is_refused() -> None:
    block = BLOCK.replace("5.02 ms", "0.00 ms").replace("4.95", "0.00").replace("5.21", "0.01")
    with pytest.raises(ProfilingError, match="rounded to 0"):
        parse_output(block, "M")


@pytest.mark.parametrize(
    ("line", "peak", "overall"),
    [
        ("Overall peak memory footprint (MB) via periodic monitoring: 24.1", 24.1, None),
        ("Peak memory footprint (MB): init=4.1 overall=7.5", 7.5, None),
        ("Memory footprint delta from the start of the tool (MB): init=3 overall=6.25", None, 6.25),
        ("INFO: [benchmark_litert_model.h:131] Peak memory:          40.25 MB", 40.25, None),
        ("Peak memory usage not available. (peak_mem_mb <= 0)", None, None),
    ],
)
def test_memory_is_read_in_every_form(line: str, peak: float | None, overall: float | None) -> None:
    text = WARM_UP + "count=50 curr=123(all same)\n" + line + "\n"
    run = parse_output(text, "M")
    assert (run.peak_memory_mb, run.overall_memory_mb) == (peak, overall)


def test_profiles_of_ops_are_no_measurements() -> None:
    text = (
        "Timings (microseconds): count=50 first=9 curr=9 min=9 max=9 avg=9 std=0\n"
        "Memory (bytes): count=0\n"
    )
    assert parse_output(text + REAL, "M") == parse_output(REAL, "M")


def test_two_summaries_that_differ_are_refused() -> None:
    with pytest.raises(ProfilingError, match="2 summaries that differ"):
        parse_output(REAL + REAL.replace("(avg): 13520.2", "(avg): 14000"), "M")


def test_the_reason_of_a_failure_is_the_last_error_line() -> None:
    assert failure_reason("ERROR: Benchmarking failed.\nbye\n") == ("ERROR: Benchmarking failed.")
    assert failure_reason("") == "it printed nothing"
    assert "\x1b" not in failure_reason("error \x1b[31m red")
