"""The tables of ops that TensorFlow Lite's profiler prints, and the times made of them.

The logs are LiteRT 2.3's, of one run of ``partly_delegated.tflite``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.op_profile import ProfiledOp, parse_op_profile
from proxyless_hw.profilers.runtimes.litert_nodes import RUNS, median_times
from proxyless_hw.terminal.notices import Notice

LOGS = Path(__file__).parents[1] / "cases" / "logs"
XNNPACK = (LOGS / "op_profile_xnnpack.txt").read_text(encoding="utf-8")
KERNELS = (LOGS / "op_profile_kernels.txt").read_text(encoding="utf-8")

# benchmark_model's form where it does not print when an op starts.
NO_START = """\
INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t     TfLiteGpuDelegateV2\t    2.100\t    2.000\t 80.000%\t 80.000%\t     0.000\t        1\t[relu]:8
\t                 SOFTMAX\t    0.100\t    0.250\t 20.000%\t100.000%\t     0.000\t        2\t[probabilities]:7

Number of nodes executed: 2
"""  # noqa: E501


def total_us(text: str) -> int:
    found = re.search(r"Timings \(microseconds\): count=\d+ curr=(\d+)", text)
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("text", [XNNPACK, KERNELS])
def test_the_rows_add_up_to_the_time_that_the_profiler_states(text: str) -> None:
    ops = parse_op_profile(text, "m")
    rounding = sum(op.calls for op in ops) * 0.0005
    assert sum(op.ms for op in ops) * 1e3 == pytest.approx(total_us(text), abs=1e3 * rounding)


def test_ops_of_the_file_and_ops_inside_a_delegate_are_rows() -> None:
    ops = parse_op_profile(XNNPACK, "m")
    assert [op.op_type for op in ops] == [
        "Transpose (ND, X32) Transpose",
        "Convolution (NHWC, F32) IGEMM",
        "Transpose (ND, X32) Transpose",
        "CUMSUM",
        "Mean (ND) Reduce2",
        "Fully Connected (NC, F32) GEMM",
    ]
    assert [op.calls for op in ops] == [2, 2, 2, 1, 1, 1]
    assert ops[3].name == "[Builtin]:3"


def test_a_form_without_starts_is_read_and_calls_are_added() -> None:
    assert parse_op_profile(NO_START, "m") == [
        ProfiledOp("TfLiteGpuDelegateV2", "[relu]:8", 2.0, 1),
        ProfiledOp("SOFTMAX", "[probabilities]:7", 0.5, 2),
    ]


def test_further_graphs_and_a_delegates_own_table_are_parts_of_the_graph() -> None:
    table = NO_START.partition("\n")[2]
    text = f"Primary graph (name: main):\n{table}\nSubgraph (index: 2, name: body):\n{table}"
    text += f"\nDelegate internal: \n{table}"
    assert [op.inside for op in parse_op_profile(text, "m")] == [
        *(None, None, "graph 2", "graph 2", "delegate", "delegate")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "there is no table of ops"),
        (lambda text: text.replace("[mem KB]", "[mem MB]"), "columns that are not known"),
        (lambda text: re.sub(r"\n.*CUMSUM.*", "", text), "add up to .*rows are missing"),
        (lambda text: text[: text.index("CUMSUM") + 30], "a row .* cannot be read"),
        (lambda text: re.sub(r"(CUMSUM.*)%", r"\1", text, count=1), "a row .* cannot be read"),
        (lambda text: re.sub(r"(CUMSUM .*?)\d+   \[Built", r"\g<1>0   [Built", text), "one call"),
        (lambda text: text + "\nWarning: Dropping ProfileBuffer event.\n", "lacks ops"),
    ],
)
def test_what_is_not_known_or_not_whole_is_refused(
    change: Callable[[str], str], message: str
) -> None:
    assert change(XNNPACK) != XNNPACK
    with pytest.raises(ProfilingError, match=message):
        parse_op_profile(change(XNNPACK), "m.tflite")


@settings(max_examples=30, deadline=None)
@given(st.text(), st.integers(0, len(XNNPACK)))
def test_any_other_text_is_read_or_refused(text: str, place: int) -> None:
    for damaged in (text, XNNPACK[:place] + text, XNNPACK[:place] + text + XNNPACK[place:]):
        with contextlib.suppress(ProfilingError):
            parse_op_profile(damaged, "m")


def session(conv_ms: float) -> str:
    """A profile of `RUNS` runs in which the convolution took a given time."""
    share = 100 * conv_ms / (conv_ms + 1.0)
    return f"""\
========= Run Order =========
   [node type]    [start]    [first]   [avg ms]        [%]     [cdf%]   [mem KB] [times called]   [Name]
       CONV_2D      0.000      0.000      {conv_ms:.3f}     {share:.3f}%     0.000%      0.000   {RUNS}   [Builtin]:1
           PAD      0.000      0.000      0.500     {100 - share:.3f}%   100.000%      0.000   {2 * RUNS}   [Delegate]:0
"""  # noqa: E501


def test_sessions_are_joined_by_their_medians_and_ops_are_named_by_their_outputs() -> None:
    nodes = median_times([session(ms) for ms in (3.0, 90.0, 2.0)], ["pad", "relu"], "m")
    assert [(node.name, node.ms) for node in nodes] == [
        ("relu", 3.0),
        ("XNNPACK op 0 (2 calls)", 1.0),
    ]
    assert [node.share for node in nodes] == [0.75, 0.25]
    assert nodes[0].to_json()["median_ms"] == 3.0


def test_ops_below_the_profilers_microsecond_are_given_as_0_and_that_is_said() -> None:
    text = re.sub(r"\d+\.\d{3}", "0.000", session(1.0))
    with pytest.warns(Notice, match="takes less than one"):
        nodes = median_times([text], [], "m")
    assert [(node.ms, node.share) for node in nodes] == [(0.0, 0.0), (0.0, 0.0)]
