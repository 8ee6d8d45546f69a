"""Time per op of .tflite files, from the profiler in LiteRT's library."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.per_op import check_per_op
from proxyless_hw.profilers.runtimes import litert_library, litert_nodes
from proxyless_hw.profilers.runtimes.litert_nodes import litert_node_times

pytest.importorskip("ai_edge_litert")

TFLITE = Path(__file__).parents[2] / "cases" / "tflite"


@pytest.mark.parametrize(
    ("delegate", "ops"),
    [
        ("none", {"CONV_2D": 2, "CUMSUM": 1, "FULLY_CONNECTED": 1, "MEAN": 1, "TRANSPOSE": 4}),
        ("xnnpack", {"Convolution (NHWC, F32) IGEMM": 1, "CUMSUM": 1}),
    ],
)
def test_every_op_of_a_file_is_timed(delegate: str, ops: dict[str, int]) -> None:
    settings = ProfilerSettings(options={"delegate": delegate})
    nodes = litert_node_times(TFLITE / "partly_delegated.tflite", settings)
    found = [node.op_type for node in nodes]
    assert {kind: found.count(kind) for kind in ops} == ops
    assert sum(node.share for node in nodes) == pytest.approx(1.0)
    # The convolutions multiply most by far.
    assert max(nodes, key=lambda node: node.ms).op_type.startswith(("CONV", "Convolution"))
    (sums,) = (node for node in nodes if node.op_type == "CUMSUM")
    assert sums.name == "__main__.M;3"  # the tensor that the op writes


@pytest.mark.filterwarnings("ignore::proxyless_hw.terminal.notices.Notice")  # below 1 us
@pytest.mark.parametrize(
    ("file", "shape", "op"),
    [
        ("f02_dynamic_batch", FileShape(batch=8), "RELU"),
        ("embedding", None, "GATHER"),
        ("two_signatures", FileShape(signature="prefill"), "ADD"),
    ],
)
def test_open_sizes_and_all_inputs(file: str, shape: FileShape | None, op: str) -> None:
    settings = ProfilerSettings(options={"delegate": "none"})
    (node,) = litert_node_times(TFLITE / f"{file}.tflite", settings, shape)
    assert node.op_type == op


def test_what_cannot_be_run_is_named() -> None:
    with pytest.raises(ProfilingError, match="which is which is not known"):
        litert_node_times(TFLITE / "unnamed_inputs.tflite", ProfilerSettings())


def test_a_version_that_is_not_known_and_a_missing_library_are_refused_beforehand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(litert_nodes, "package_version", lambda *names: "2.1.6")
    with pytest.raises(BackendUnavailableError, match=r"2\.3 or newer.*2\.1\.6 is installed"):
        check_per_op(Path("m.tflite"), ProfilerSettings(), "cpu")
    monkeypatch.setattr(litert_library.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailableError, match="ai-edge-litert with its libLiteRt"):
        check_per_op(None, ProfilerSettings(runtime="litert"), "cpu")


def test_a_library_that_crashes_is_an_error_with_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crash = ("-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    real = litert_nodes.run_python
    monkeypatch.setattr(litert_nodes, "run_python", lambda args, *rest: real(crash, *rest))
    with pytest.raises(ProfilingError, match=r"with LiteRT \d+\.\d+.* ended with code -11"):
        litert_node_times(TFLITE / "embedding.tflite", ProfilerSettings())
