"""Time per op on a phone: the profile that benchmark_model prints after its measurement."""

from __future__ import annotations

from pathlib import Path

import pytest
from android_phone import Phone

from proxyless_hw.commands._benchmark_output import _node_lines
from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.phone_nodes import phone_node_times
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.per_op import check_per_op, node_times

PROFILE = Path(__file__).parents[2].joinpath("cases/logs/op_profile_xnnpack.txt").read_text("utf-8")
INITIAL = PROFILE.replace("CUMSUM", "ModifyGraphWithDelegate")


def test_the_ops_of_the_measured_runs_are_timed(phone: Phone, models: list[Workload]) -> None:
    phone.configure(op_profile=PROFILE, initial_profile=INITIAL)
    nodes = phone_node_times(models[0], phone.profiler().settings)
    assert len(nodes) == 6
    assert sum(node.share for node in nodes) == pytest.approx(1.0)
    convolution = nodes[1]
    assert convolution.op_type == "Convolution (NHWC, F32) IGEMM"
    assert convolution.name == "[Delegate]:1 (2 calls)"
    assert "mean_ms" in convolution.to_json()
    assert "ModifyGraphWithDelegate" not in [node.op_type for node in nodes]
    assert phone.leftovers() == []


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ({}, "printed no profile of them"),
        (
            {"delegate_lines": ["Unconsumed cmdline flags: --enable_op_profiling=true"]},
            "does not know the flag",
        ),
        ({"op_profile": PROFILE[: PROFILE.index("CUMSUM")]}, "rows are missing"),
        ({"crashing": ["m0000.tflite"]}, "failed on conv with exit code"),
    ],
)
def test_what_was_not_profiled_is_an_error(
    phone: Phone, models: list[Workload], behaviour: dict[str, object], message: str
) -> None:
    phone.configure(**behaviour)
    with pytest.raises(ProfilingError, match=message):
        phone_node_times(models[0], phone.profiler().settings)


def test_benchmark_lists_the_ops_of_a_phone(phone: Phone, models: list[Workload]) -> None:
    phone.configure(op_profile=PROFILE, initial_profile=INITIAL)
    settings = phone.profiler().settings
    check_per_op(models[0].file, settings, "mobile")
    document = {"nodes": [node.to_json() for node in node_times(models[0], settings, "mobile")]}
    assert [node["op_type"] for node in document["nodes"]][3] == "CUMSUM"
    assert document["nodes"][3]["mean_ms"] > 0
    shown = _node_lines(document["nodes"])
    assert shown[3].split()[1] == "ms"
    assert shown[3].endswith("CUMSUM                         [Builtin]:3")
