"""Model files for the tests: small real ones, and ONNX models written on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.runtimes.litert import LiteRtProfiler
from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler

CASES = Path(__file__).parents[2] / "cases"
ONNX, TFLITE = CASES / "onnx", CASES / "tflite"


def run(path: Path, shape: FileShape | None = None, **settings: Any) -> Runner:
    """Builds the file's runner and calls it once."""
    workload = Workload(path.name, file=path, shape=shape)
    chosen = ProfilerSettings(**settings)
    if path.suffix.lower() == ".tflite":
        runner = LiteRtProfiler(chosen).runner(workload, path.read_bytes())
    else:
        runner = OnnxRuntimeProfiler(chosen).runner(workload)
    runner.call()
    assert runner.touch is not None
    runner.touch()
    return runner


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[str] | list[onnx.ValueInfoProto],
    weights: tuple[onnx.TensorProto, ...] = (),
) -> Path:
    """Writes a model; outputs given by name have any type."""
    infos = [
        helper.make_tensor_value_info(item, TensorProto.FLOAT, None)
        if isinstance(item, str)
        else item
        for item in outputs
    ]
    graph = helper.make_graph(nodes, "g", inputs, infos, list(weights))
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def value(name: str, sizes: Any, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, sizes)
