"""The files that newer builds of the tool write, read without generated code."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.benchmark_model import BenchmarkRun, Stats
from proxyless_hw.profilers.android.delegate_log import Placement
from proxyless_hw.profilers.android.runtime_info import joined, read_result, read_runtime_info


def runtime_info(delegates: dict[str, list[int]], nodes: int, *, undone: str = "") -> bytes:
    """A runtime-info file as LiteRT's own classes write it."""
    pytest.importorskip("google.protobuf")
    messages: Any = pytest.importorskip("ai_edge_litert.model_runtime_info_pb2")
    details = messages.ModelRuntimeDetails(model_name="m")
    graph = details.subgraphs.add(subgraph_id=0, subgraph_type=1)
    for index in range(nodes):
        graph.nodes.add(id=index, name="CONV_2D", type="3")
    plan = set(range(nodes))
    for offset, (name, replaced) in enumerate(delegates.items()):
        node = graph.nodes.add(id=nodes + offset, name=name)
        node.delegate_node_details.delegate_name = name
        node.delegate_node_details.tflite_node_ids_replaced.extend(replaced)
        if name != undone:
            plan -= set(replaced)
            plan.add(nodes + offset)
    graph.execution_plan.extend(sorted(plan))
    details.subgraphs.add(subgraph_id=1, subgraph_type=2).nodes.add(id=0)
    return bytes(details.SerializeToString())


def test_nodes_are_counted_by_what_runs_them() -> None:
    data = runtime_info({"LITERT_CL": [0, 1, 2], "TfLiteXNNPackDelegate": [3, 5]}, 7)
    placement = read_runtime_info(data, "m")
    assert placement == Placement((("LITERT_CL", 3), ("TfLiteXNNPackDelegate", 2)), 7)
    assert "CPU 2 of 7 nodes" in str(placement)


def test_a_delegate_that_was_undone_ran_nothing() -> None:
    data = runtime_info({"LITERT_CL": [0, 1]}, 2, undone="LITERT_CL")
    assert read_runtime_info(data, "m") == Placement((), 2)


def number(field: int, value: float) -> bytes:
    return bytes([field << 3 | 5]) + struct.pack("<f", value)


def nested(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2, len(content)]) + content


def result(median: float = 5.01, runs: int = 30) -> bytes:
    """A result file: average, extremes, median and p95 in ms; memory; the number of runs."""
    latency = b"".join(
        number(field, value)
        for field, value in ((1, 5.02), (2, 4.95), (3, 5.21), (5, median), (7, 5.1), (8, 21.4))
    )
    memory = bytes([1 << 3, 0x80, 0x08, 2 << 3, 0x80, 0x10]) + number(3, 40.5)
    misc = number(1, 4.1) + bytes([2 << 3, runs])
    return nested(1, b"run") + nested(2, latency) + nested(3, memory) + nested(4, misc)


def test_a_result_file_gives_median_and_memory() -> None:
    run = read_result(result(), "m")
    assert run.measured.median == pytest.approx(5010)
    assert run.measured.count == 30
    assert run.peak_memory_mb == 40.5
    assert run.overall_memory_mb == 2.0


@pytest.mark.parametrize("data", [b"", result(median=0), result(runs=0), result()[:-1]])
def test_a_result_file_without_a_measurement_is_refused(data: bytes) -> None:
    with pytest.raises(ProfilingError, match="the result file of m"):
        read_result(data, "m")


def test_a_result_file_of_another_run_is_refused() -> None:
    printed = BenchmarkRun(Stats(30, 9000.0, 8000.0, 9900.0), None, peak_memory_mb=3.0)
    with pytest.raises(ProfilingError, match="Are they of two runs"):
        joined(printed, read_result(result(), "m"), "m")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ProfilingError):
        read_runtime_info(data, "m")
    with contextlib.suppress(ProfilingError):
        read_result(data, "m")


@given(st.data())
def test_a_file_that_was_cut_off_is_never_more_than_the_whole(data: st.DataObject) -> None:
    whole = runtime_info({"LITERT_CL": [0, 1, 2]}, 4)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with contextlib.suppress(ProfilingError):
        assert read_runtime_info(whole[:cut], "m").replaced <= 3
