"""Time per node: every node once, bodies inside the node that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.per_op import check_per_op
from proxyless_hw.profilers.runtimes.onnxruntime_nodes import gather, onnx_node_times

ONNX = Path(__file__).parents[2] / "cases" / "onnx"


def node(name: str, start: float, length: float, kind: str = "Relu") -> dict[str, Any]:
    """An event as ONNX Runtime writes it (microseconds)."""
    arguments = {"op_name": kind}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": length} | {
        "args": arguments
    }


def execution(start: float, length: float) -> dict[str, Any]:
    return {
        "cat": "Session",
        "name": "SequentialExecutor::Execute",
        "ts": start,
        "dur": length,
        "args": {},
    }


def run(start: float, length: float) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": length, "args": {}}


def test_a_body_is_listed_inside_its_node_and_counted_once() -> None:
    nodes = onnx_node_times(ONNX / "m08_if.onnx", ProfilerSettings())
    outer = [item for item in nodes if item.inside is None]
    inner = [item for item in nodes if item.inside is not None]
    assert [item.op_type for item in outer] == ["ReduceSum", "Greater", "If"]
    assert [(item.op_type, item.inside) for item in inner] == [("Relu", "the_if")]
    assert sum(item.share for item in outer) == pytest.approx(1.0)
    assert inner[0].ms <= outer[2].ms


def test_a_loop_s_body_is_summed_over_its_turns() -> None:
    events = [
        node("first", 0, 0),
        *(node("inner", 1, 2), execution(1, 3), node("inner", 5, 4), execution(5, 5)),
        *(node("loop", 0.5, 20, "Loop"), node("last", 30, 10)),
        *(execution(0, 40), run(0, 41)),
    ]
    nodes = {item.name: item for item in gather(events)}
    assert list(nodes) == ["first", "loop", "inner", "last"]
    assert nodes["inner"].ms == pytest.approx(0.006)
    assert nodes["inner"].inside == "loop"
    assert nodes["inner"].share == pytest.approx(6 / 30)
    assert nodes["loop"].share + nodes["last"].share == pytest.approx(1.0)


def test_nested_bodies_hang_below_each_other() -> None:
    events = [
        *(node("deep", 3, 1), execution(3, 1), node("if", 2, 3, "If"), execution(2, 3)),
        *(node("loop", 1, 5, "Loop"), execution(0, 9), run(0, 9)),
    ]
    found = [(item.name, item.inside) for item in gather(events)]
    assert found == [("loop", None), ("if", "loop"), ("deep", "if")]
    assert sum(item.share for item in gather(events) if item.inside is None) == 1.0


def test_a_node_is_the_median_over_runs() -> None:
    events: list[dict[str, Any]] = []
    for number, length in enumerate((10, 30, 11)):
        start = 100 * number
        events += [node("a", start, length), execution(start, length), run(start, length)]
    (found,) = gather(events)
    assert found.ms == pytest.approx(0.011)


def test_a_real_loop_is_counted_once(tmp_path: Path) -> None:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["go"]),
            helper.make_node("Sin", ["v"], ["w"], name="inner"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["N", 4096]),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, ["N", 4096]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "yes", "x"], ["y"], body=body, name="loop")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4096])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array(5, np.int64), "turns"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    path = tmp_path / "loop.onnx"
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    nodes = onnx_node_times(path, ProfilerSettings(), FileShape(batch=2))
    loop = next(item for item in nodes if item.name == "loop")
    inner = next(item for item in nodes if item.name == "inner")
    assert loop.share == pytest.approx(1.0)
    assert inner.inside == "loop"
    assert inner.ms <= loop.ms


def test_a_profile_without_nodes_is_an_error() -> None:
    with pytest.raises(ProfilingError, match="no node times"):
        gather([run(0, 1)])


@pytest.mark.parametrize(
    ("path", "runtime", "device", "message"),
    [
        (None, "torch", "cpu", "received --runtime torch"),
        (Path("m.onnx"), "openvino", "cpu", "received --runtime openvino"),
        (Path("m.onnx"), None, "command", "received --device command"),
        (Path("m.onnx"), None, "gpu", "received --device gpu"),
    ],
)
def test_what_tells_no_time_per_node_is_refused(
    path: Path | None, runtime: str | None, device: str, message: str
) -> None:
    with pytest.raises(BackendUnavailableError, match=message):
        check_per_op(path, ProfilerSettings(runtime=runtime), device)
