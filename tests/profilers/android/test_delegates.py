"""The delegate that a log names against the one that was asked for."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.delegate_log import Placement, read_evidence
from proxyless_hw.profilers.android.delegates import (
    DELEGATE_FLAGS,
    check_delegate,
    delegate_flags,
    delegate_use,
    kind_of,
)

CASES = Path(__file__).parents[2] / "cases" / "logs"
APPLIED = "INFO: Explicitly applied GPU delegate, and the model graph will be"
WHOLE = f"{APPLIED} completely executed by the delegate.\n"
PARTIAL = f"{APPLIED} partially executed by the delegate w/ 2 delegate kernels.\n"
UNUSED = (
    "INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the "
    "delegate.\n"
)
REFUSED = "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.\n"
SILENT = "INFO: count=1 curr=900\n"
CREATED = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"


def replaced(name: str, nodes: int, total: int | None, graph: str = "the whole graph") -> str:
    if total is None:
        return f"Replacing {nodes} node(s) with delegate ({name}) node, yielding 1 partitions.\n"
    return (
        f"INFO: Replacing {nodes} out of {total} node(s) with delegate ({name}) node, yielding "
        f"3 partitions for {graph}.\n"
    )


GPU = "TfLiteGpuDelegateV2"
XNNPACK = "TfLiteXNNPackDelegate"


@pytest.mark.parametrize(
    ("text", "use"),
    [
        (WHOLE, "whole"),
        (PARTIAL, "partial"),
        (UNUSED, "unused"),
        (REFUSED, "refused"),
        ("WARNING: Unconsumed cmdline flags: --use_gpu=true\n", "refused"),
        (replaced(GPU, 5, 7), "partial"),
        (replaced(GPU, 7, 7), "whole"),
        (replaced(GPU, 7, None), "whole"),
        (replaced("LITERT_CL", 7, 7), "whole"),
        (replaced("GPU WebGPU", 7, 7), "whole"),
        (replaced(GPU, 7, 7) + PARTIAL, "partial"),
        (replaced(GPU, 0, 7), "unused"),
        (replaced(GPU, 5, 7) + replaced(XNNPACK, 2, 3), "partial"),
        (replaced(GPU, 7, 7) + replaced(XNNPACK, 7, 7), "other"),
        (replaced(GPU, 7, 7) * 2, "whole"),
        (replaced(GPU, 3, 3, "subgraph 0") + replaced(GPU, 2, 4, "subgraph 1"), "partial"),
        (WHOLE + replaced(XNNPACK, 7, 7), "other"),
        (replaced("TfLiteQnnDelegate", 7, 7), "other"),
        (CREATED, "other"),
        (SILENT, "unmentioned"),
    ],
)
def test_what_the_output_says_about_the_gpu_delegate(text: str, use: str) -> None:
    assert delegate_use(read_evidence(text), "gpu") == use


def test_an_unsupported_platform_is_a_refusal() -> None:
    text = "NNAPI acceleration is unsupported on this platform.\n"
    assert delegate_use(read_evidence(text), "nnapi") == "refused"


def check(text: str, delegate: str, allow_partial: bool = False, library: str = "") -> None:
    check_delegate(read_evidence(text), delegate, allow_partial, "M", library)


def test_a_delegate_that_did_the_work_is_accepted() -> None:
    check(WHOLE, "gpu")
    check(PARTIAL, "gpu", allow_partial=True)
    check(SILENT, "default")
    check(SILENT, "none")
    check(CREATED, "xnnpack")
    check(replaced("TfLiteQnnDelegate", 7, 7), "external", library="/d/libQnnTFLiteDelegate.so")
    check(replaced(GPU, 7, 7), "external", library="/d/libtensorflowlite_gpu_delegate.so")
    check(replaced("DispatchDelegate", 1, 1), "npu")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PARTIAL, r"ran only a part .*delegate_partial=allow"),
        (replaced(GPU, 5, 7), r"5 of 7 nodes, CPU 2 of 7 nodes.*delegate_partial=allow"),
        (UNUSED, "ran nothing of it"),
        (REFUSED, "was refused: ERROR: Failed to apply GPU delegate"),
        (SILENT, "is not mentioned"),
        ("Unconsumed cmdline flags: --use_gpu=true\n" + WHOLE, "does not know --use_gpu=true"),
        (CREATED, "is not what the output names: XNNPACK"),
    ],
)
def test_a_delegate_that_did_not_do_the_work_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ProfilingError, match=message):
        check(text, "gpu")


def test_a_refused_or_another_delegate_is_never_allowed() -> None:
    with pytest.raises(ProfilingError, match="was refused"):
        check(REFUSED, "gpu", allow_partial=True)
    with pytest.raises(ProfilingError, match="is not what the output names"):
        check(replaced(XNNPACK, 7, 7), "gpu", allow_partial=True)


def test_a_gpu_that_litert_could_not_load_is_named_with_what_ran() -> None:
    text = (CASES / "gpu_asked_cpu_ran.txt").read_text(encoding="utf-8")
    for asked in ("gpu", "nnapi", "npu", "external"):
        with pytest.raises(ProfilingError, match="TfLiteXNNPackDelegate 58 of 58 nodes"):
            check(text, asked)
    with pytest.raises(ProfilingError, match="GPU accelerator could not be dynamically loaded"):
        check(text, "gpu")
    check(text, "xnnpack")


def test_a_flag_that_the_tool_did_not_know_is_noticed() -> None:
    text = (CASES / "flag_unconsumed.txt").read_text(encoding="utf-8")
    with pytest.raises(ProfilingError, match="does not know --use_xnnpack=false"):
        check(text, "none")
    check(text, "xnnpack")
    with pytest.raises(ProfilingError, match="does not know --use_xnnpack=false"):
        check("WARNING: Unconsumed cmdline flags: --use_xnnpack=false\n", "none")


@pytest.mark.parametrize("text", [CREATED, replaced(XNNPACK, 3, 7), WHOLE, replaced(GPU, 1, 7)])
def test_a_delegate_that_ran_though_none_was_asked_for_is_an_error(text: str) -> None:
    with pytest.raises(ProfilingError, match="--delegate none asks for"):
        check(text, "none")


def test_litert_2_runs_xnnpack_on_the_cpu() -> None:
    text = (CASES / "litert_results_block.txt").read_text(encoding="utf-8")
    check(text, "xnnpack")
    for asked in ("none", "gpu", "npu"):
        with pytest.raises(ProfilingError, match="XNNPACK"):
            check(text, asked)


def test_a_dispatch_that_failed_is_no_npu() -> None:
    text = replaced("DispatchDelegate", 1, 1) + "ERROR: Failed to initialize Dispatch API\n"
    with pytest.raises(ProfilingError, match="was refused: ERROR: Failed to initialize"):
        check(text, "npu")


def test_the_nodes_of_all_graphs_are_added_up() -> None:
    text = replaced("TfLiteNnapiDelegate", 5, 64) + replaced(XNNPACK, 59, 62)
    placement = read_evidence(text).placement
    assert placement == Placement((("TfLiteNnapiDelegate", 5), (XNNPACK, 59)), 64)
    assert str(placement) == f"TfLiteNnapiDelegate 5 of 64 nodes, {XNNPACK} 59 of 64 nodes"


def test_an_unknown_delegate_names_the_nearest() -> None:
    with pytest.raises(ProfilingError, match="Did you mean 'xnnpack'"):
        delegate_flags("xnpack")
    assert delegate_flags("none") == ("--use_xnnpack=false",)


def test_an_external_delegate_needs_its_library() -> None:
    with pytest.raises(ProfilingError, match="delegate_library=PATH"):
        delegate_flags("external")
    assert delegate_flags("external", "/d/libx.so", "a:b") == (
        "--external_delegate_path=/d/libx.so",
        "--external_delegate_options=a:b",
    )
    assert delegate_flags("npu", "/d") == ("--use_npu=true", "--dispatch_library_path=/d")
    with pytest.raises(ProfilingError, match="belongs to --delegate external or npu"):
        delegate_flags("gpu", "/d/libx.so")


NAMES = {
    "xnnpack": ["TfLiteXNNPackDelegate"],
    "gpu": ["TfLiteGpuDelegateV2", "TfLiteGpuDelegate", "LITERT_CL", "LITERT_WEBGPU"],
    "nnapi": ["TfLiteNnapiDelegate"],
    "npu": ["DispatchDelegate"],
    "external": ["TfLiteQnnDelegate", "EthosUDelegate", "Vx Delegate", "TfLiteArmNnDelegate"],
}


@st.composite
def logs(draw: st.DrawFn) -> tuple[str, dict[str, int], int]:
    """A log with noise around it, the nodes each kind of delegate ran, and all nodes."""
    total = draw(st.integers(1, 300))
    left, shown = total, total
    ran: dict[str, int] = {}
    lines = draw(
        st.lists(
            st.sampled_from(
                [
                    "WARNING: GPU accelerator could not be loaded and registered.",
                    "INFO: [npu_registry.cc:30] NPU accelerator registered.",
                    "INFO: The input model file size (MB): 4.1",
                    "WARNING: Unconsumed cmdline flags: --warmup_min_secs=0.02",
                    "INFO: Initialized session in 31.2ms.",
                ]
            ),
            max_size=4,
        )
    )
    for kind in draw(st.lists(st.sampled_from(list(NAMES)), max_size=3, unique=True)):
        count = draw(st.integers(0, left))
        name = draw(st.sampled_from(NAMES[kind]))
        if kind == "xnnpack":
            lines.append("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")
        lines.append(replaced(name, count, shown).strip())
        ran[kind] = count
        left, shown = left - count, max(left - count + (count > 0), 1)
    return "\n".join(lines) + "\n", ran, total


@given(logs(), st.sampled_from(list(DELEGATE_FLAGS)), st.booleans())
def test_an_accepted_delegate_is_the_one_that_ran(
    log: tuple[str, dict[str, int], int], asked: str, allow_partial: bool
) -> None:
    text, ran, total = log
    try:
        check(text, asked, allow_partial, "/d/lib.so" if asked == "external" else "")
    except ProfilingError:
        # Never refused: a delegate that ran every node, alone.
        assert asked == "none" or ran.get(asked) != total
        return
    if asked == "none":
        assert not any(ran.values())
    elif asked != "default":
        assert ran.get(asked, 0) > 0
        assert allow_partial or ran[asked] == total


@given(logs())
def test_the_placement_of_a_log_is_what_ran(log: tuple[str, dict[str, int], int]) -> None:
    text, ran, total = log
    placement = read_evidence(text).placement
    if not ran:
        assert placement is None
        return
    assert placement is not None
    assert placement.total == total
    assert {kind_of(name): count for name, count in placement.nodes} == ran


@given(st.text(max_size=400))
def test_any_text_is_judged_or_refused(text: str) -> None:
    for asked in DELEGATE_FLAGS:
        with contextlib.suppress(ProfilingError):
            check(text + "\nReplacing " + text, asked, library="x")
