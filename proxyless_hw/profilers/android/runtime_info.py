"""The two files that newer builds of ``benchmark_model`` write: what ran where, and the figures.

``--model_runtime_info_output_file`` gives ``ModelRuntimeDetails``: every node of the model and the
delegate that replaced it. ``--result_file_path`` gives ``BenchmarkResult``: the statistics that the
log rounds, the median among them. Both are protocol buffers; field numbers as in LiteRT's sources.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.benchmark_model import BenchmarkRun, Stats
from proxyless_hw.profilers.android.delegate_log import Placement
from proxyless_hw.profilers.android.protobuf_wire import (
    Value,
    WireError,
    float32,
    grouped,
    integers,
    messages,
)

RUNTIME_INFO_FLAG: Final = "--model_runtime_info_output_file"
RESULT_FLAG: Final = "--result_file_path"

# ModelRuntimeDetails
_SUBGRAPHS = 2
# RuntimeSubgraph
_NODES, _EXECUTION_PLAN, _SUBGRAPH_TYPE = 3, 4, 5
_DELEGATE_SUBGRAPH = 2
# Node
_NODE_ID, _DELEGATE_DETAILS = 1, 8
# DelegateNodeDetails
_DELEGATE_NAME, _REPLACED = 1, 2
# BenchmarkResult
_LATENCY, _MEMORY, _MISC = 2, 3, 4


def read_runtime_info(data: bytes, name: str) -> Placement:
    """Counts a model's nodes by the delegate that runs them.

    Args:
        data: a runtime-info file.
        name: names the model in messages.

    Raises:
        ProfilingError: the file is malformed.
    """
    try:
        return _placement(data)
    except WireError as cause:
        raise ProfilingError(
            f"the runtime-info file of {name} cannot be read: {cause} Measure it again."
        ) from cause


def _placement(data: bytes) -> Placement:
    nodes: dict[str, int] = {}
    total = 0
    for subgraph in messages(grouped(data).get(_SUBGRAPHS, [])):
        fields = grouped(subgraph)
        if integers(fields.get(_SUBGRAPH_TYPE, [0]))[-1:] == [_DELEGATE_SUBGRAPH]:
            continue
        plan = set(integers(fields.get(_EXECUTION_PLAN, [])))
        own: set[int] = set()
        for node in messages(fields.get(_NODES, [])):
            node_fields = grouped(node)
            identity = _last_integer(node_fields.get(_NODE_ID, []))
            details = messages(node_fields.get(_DELEGATE_DETAILS, []))
            if not details:
                own.add(identity)
            elif not plan or identity in plan:  # one not in the plan was undone
                delegate = grouped(details[-1])
                label = messages(delegate.get(_DELEGATE_NAME, [b"unnamed"]))[-1]
                text = label.decode("utf-8", errors="replace")[:80]
                replaced = len(set(integers(delegate.get(_REPLACED, []))))
                nodes[text] = nodes.get(text, 0) + replaced
        total += len(own)
    return Placement(tuple(nodes.items()), total)


def _last_integer(values: list[Value]) -> int:
    return integers(values)[-1] if values else 0


def read_result(data: bytes, name: str) -> BenchmarkRun:
    """Reads a result file.

    Args:
        data: a result file.
        name: names the model in messages.

    Raises:
        ProfilingError: the file is malformed, or holds no measured inference.
    """
    try:
        return _result(data, name)
    except WireError as cause:
        raise ProfilingError(
            f"the result file of {name} cannot be read: {cause} Measure it again."
        ) from cause


def _result(data: bytes, name: str) -> BenchmarkRun:
    fields = grouped(data)
    latency, memory, misc = (
        grouped(messages(fields[number])[-1]) if number in fields else {}
        for number in (_LATENCY, _MEMORY, _MISC)
    )
    figures = {number: float32(values[-1]) for number, values in latency.items()}
    runs = _last_integer(misc.get(2, []))
    average, median = figures.get(1, math.nan), figures.get(5, math.nan)
    if runs < 1 or not average > 0 or not median > 0:
        raise ProfilingError(
            f"the result file of {name} holds no measured inference: {runs} runs, average "
            f"{average:g} ms, median {median:g} ms."
        )
    peak = float32(memory[3][-1]) if 3 in memory else None
    overall = integers(memory[2])[-1] / 1024 if 2 in memory else None
    init = figures.get(8)
    return BenchmarkRun(
        measured=Stats(
            count=runs,
            avg=average * 1e3,
            min=figures.get(2, average) * 1e3,
            max=figures.get(3, average) * 1e3,
            median=median * 1e3,
            p95=figures.get(7, figures.get(3, average)) * 1e3,
        ),
        warm_up=None,
        init_us=None if init is None else init * 1e3,
        peak_memory_mb=peak,
        overall_memory_mb=overall,
    )


def joined(printed: BenchmarkRun, filed: BenchmarkRun, name: str) -> BenchmarkRun:
    """One run from what it printed and what it wrote to its result file, which is more exact.

    Raises:
        ProfilingError: the two are of different runs.
    """
    first, second = printed.measured.avg, filed.measured.avg
    if not math.isclose(first, second, rel_tol=1e-2, abs_tol=10.0):
        raise ProfilingError(
            f"the log of {name} gives {first:g} us, its result file {second:g} us. Are they of two "
            "runs?"
        )
    return replace(
        filed,
        warm_up=printed.warm_up,
        init_us=printed.init_us,
        peak_memory_mb=filed.peak_memory_mb or printed.peak_memory_mb,
        overall_memory_mb=filed.overall_memory_mb or printed.overall_memory_mb,
    )
