"""The parser of ``benchmark_model``'s output."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.benchmark_model import (
    check_delegate,
    delegate_flags,
    delegate_use,
    failure_reason,
    parse_output,
)

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


APPLIED = "INFO: Explicitly applied GPU delegate, and the model graph will be"
WHOLE = f"{APPLIED} completely executed by the delegate.\n"
PARTIAL = f"{APPLIED} partially executed by the delegate w/ 2 delegate kernels.\n"
UNUSED = (
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the "
    "delegate.\n"
)
REFUSED = "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.\n"


@pytest.mark.parametrize(
    ("text", "use"),
    [
        (WHOLE, "whole"),
        (PARTIAL, "partial"),
        (UNUSED, "unused"),
        (REFUSED, "refused"),
        ("NNAPI acceleration is unsupported on this platform.\n", "refused"),
        ("WARNING: Unconsumed cmdline flags: --use_gpu=true\n", "refused"),
        (
            "INFO: Replacing 5 out of 7 node(s) with delegate (TfLiteGpuDelegateV2) node\n",
            "partial",
        ),
        ("INFO: Replacing 7 out of 7 node(s) with delegate (TfLiteGpuDelegateV2) node\n", "whole"),
        (REAL, "unmentioned"),
    ],
)
def test_what_the_output_says_about_a_delegate(text: str, use: str) -> None:
    assert delegate_use(text) == use


def test_a_delegate_that_did_the_work_is_accepted() -> None:
    check_delegate(WHOLE, "gpu", False, "M")
    check_delegate(PARTIAL, "gpu", True, "M")
    check_delegate(REAL, "default", False, "M")
    check_delegate(REAL, "xnnpack", False, "M")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PARTIAL, r"ran only a part .*delegate_partial=allow"),
        (UNUSED, "ran nothing of it"),
        (REFUSED, "was refused: ERROR: Failed to apply GPU delegate"),
        (REAL, "is not mentioned"),
    ],
)
def test_a_delegate_that_did_not_do_the_work_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ProfilingError, match=message):
        check_delegate(text, "gpu", False, "M")


def test_a_refused_delegate_is_never_allowed() -> None:
    with pytest.raises(ProfilingError, match="was refused"):
        check_delegate(REFUSED, "gpu", True, "M")


def test_an_unknown_delegate_names_the_nearest() -> None:
    with pytest.raises(ProfilingError, match="Did you mean 'xnnpack'"):
        delegate_flags("xnpack")
    assert delegate_flags("none") == ("--use_xnnpack=false",)


def test_the_reason_of_a_failure_is_the_last_error_line() -> None:
    assert failure_reason(REFUSED + "bye\n") == "ERROR: Benchmarking failed."
    assert failure_reason("") == "it printed nothing"
    assert "\x1b" not in failure_reason("error \x1b[31m red")
