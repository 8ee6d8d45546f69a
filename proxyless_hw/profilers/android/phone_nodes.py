"""Time per op of a model on a phone, from ``benchmark_model --enable_op_profiling=true``."""

from __future__ import annotations

from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.adb import AdbProfiler
from proxyless_hw.profilers.android.delegate_log import read_evidence, whole_lines
from proxyless_hw.profilers.android.phone_flags import OP_PROFILING_FLAG
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.node_time import NodeTime
from proxyless_hw.profilers.op_profile import parse_op_profile

_TITLE: Final = "Operator-wise Profiling Info for Regular Benchmark Runs"


def phone_node_times(workload: Workload, settings: ProfilerSettings) -> list[NodeTime]:
    """Times every op of a model in one more run of the tool, with its profiler on.

    The values are means over the tool's runs, in thousandths of a millisecond. What a delegate
    runs is one node, unless the delegate tells its own ops, as XNNPACK does.

    Args:
        workload: a network or a .tflite file.
        settings: threads, options.

    Raises:
        BackendUnavailableError: the phone or its tool is not there.
        ProfilingError: the model cannot be run, or the tool prints no profile, or an unknown one.
    """
    with AdbProfiler(settings).open([workload]) as session:
        output = session.output_of(0, (OP_PROFILING_FLAG,))
    return read_phone_profile(output, workload.name)


def read_phone_profile(output: str, name: str) -> list[NodeTime]:
    """The op times in what the tool printed.

    Args:
        output: of one run.
        name: names the model in messages.

    Raises:
        ProfilingError: there is no profile in it, or one of an unknown form.
    """
    lines = whole_lines(output)
    start = next((place for place, line in enumerate(lines) if _TITLE in line), None)
    if start is None:
        unknown = OP_PROFILING_FLAG in read_evidence(output, None).unknown_flags
        why = "does not know the flag" if unknown else "printed no profile of them"
        raise ProfilingError(
            f"the ops of {name} were not timed: this benchmark_model {why} ({OP_PROFILING_FLAG}). "
            "Use a build that does: --option benchmark_model=FILE."
        )
    ops = parse_op_profile("\n".join(lines[start:]), name)
    total = sum(op.ms for op in ops if op.inside is None)
    return [
        NodeTime(
            name=op.name if op.calls == 1 else f"{op.name} ({op.calls:g} calls)",
            op_type=op.op_type,
            ms=op.ms,
            share=op.ms / total if total else 0.0,
            inside=op.inside,
            statistic="mean",
        )
        for op in ops
    ]
