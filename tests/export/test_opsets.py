"""ONNX files in older operator sets and in both forms of int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from small_networks import images, small_network
from torch import nn

from proxyless_hw.cli import main
from proxyless_hw.errors import ExportError
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.export.quantise import quantise_onnx
from proxyless_hw.export.runtimes import onnx_outputs
from proxyless_hw.export.verify import torch_outputs

X = images(8)


def run(words: list[str]) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return small_network()


@pytest.mark.parametrize("opset", [11, 13, 15, 18, 20])
def test_a_file_of_an_older_operator_set_computes_the_same(network: nn.Module, opset: int) -> None:
    model = onnx_bytes(network, (1, 3, 32, 32), opset=opset)
    loaded = onnx.load_from_string(model)
    assert [(item.domain, item.version) for item in loaded.opset_import] == [("", opset)]
    kinds = {node.op_type for node in loaded.graph.node}
    assert "ReduceMean" not in kinds
    assert "GlobalAveragePool" in kinds
    expected = torch_outputs(network, X)
    assert np.abs(onnx_outputs(model, X) - expected).max() / expected.std() < 1e-4


@pytest.mark.parametrize("opset", [10, 21])
def test_other_operator_sets_are_refused(network: nn.Module, opset: int) -> None:
    with pytest.raises(ExportError, match=rf"opset 11 to 20: received {opset}"):
        onnx_bytes(network, (1, 3, 32, 32), opset=opset)


def test_int8_is_written_with_quantised_ops_where_that_is_asked_for(network: nn.Module) -> None:
    model = onnx_bytes(network, (1, 3, 32, 32), opset=13)
    calibration = images(16)[:, None]
    expected = torch_outputs(network, X)
    kinds = {}
    for form in ("qdq", "qoperator"):
        written = quantise_onnx(model, "int8", calibration, form)
        kinds[form] = [node.op_type for node in onnx.load_from_string(written).graph.node]
        assert np.abs(onnx_outputs(written, X) - expected).mean() / expected.std() < 0.25
    assert "QLinearConv" not in kinds["qdq"]
    assert "QLinearConv" in kinds["qoperator"]
    assert kinds["qoperator"].count("DequantizeLinear") < kinds["qdq"].count("DequantizeLinear")


def test_int8_below_opset_13_is_refused_with_the_way_on(network: nn.Module) -> None:
    model = onnx_bytes(network, (1, 3, 32, 32), opset=12)
    with pytest.raises(ExportError, match=r"opset 13 or newer: received 12\. Give --opset 13"):
        quantise_onnx(model, "int8", images(4)[:, None])


def test_the_command_writes_the_operator_set_it_is_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "net.onnx"
    words = ["export", "mobilenet-v2-0.1", "--resolution", "32", "--opset", "12"]
    assert run([*words, "--output", str(output), "--quiet"]) == 0
    assert [item.version for item in onnx.load(output).opset_import] == [12]
