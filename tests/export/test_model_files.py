"""ONNX and TFLite files compute what torch computes, in the form their runtimes like."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from small_networks import images, randomise, small_network
from torch import nn

from proxyless_hw.errors import BackendUnavailableError, ExportError
from proxyless_hw.export.onnx_file import onnx_bytes, write_onnx
from proxyless_hw.export.prepare import DeployedNetwork, deployment_copy
from proxyless_hw.export.runtimes import onnx_outputs, open_interpreter, tflite_outputs
from proxyless_hw.export.tflite_file import tflite_bytes
from proxyless_hw.network.ops import build_layer
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec
from proxyless_hw.terminal.quiet import quiet_native_output

OPS = [
    LayerSpec("mbconv", 8, 8, kernel=5, stride=1, expand=3, skip=True, act="relu6"),
    LayerSpec("mbconv", 8, 12, kernel=3, stride=2, expand=6, skip=False, act="hswish", se=1),
    LayerSpec("mbconv", 8, 8, kernel=3, expand=3, skip=True, act="swish", se=2),
    LayerSpec("mbconv_g2_shuffle", 8, 8, kernel=3, skip=True, act="relu"),
    LayerSpec("classifier", 8, 10),
]


def reference(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """What torch gives; activations work in place, so on a copy."""
    with torch.no_grad():
        return module(torch.from_numpy(x.copy())).numpy()


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / expected.std())


def onnx_ops(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(model).graph.node)


def tflite_ops(model: bytes) -> Counter[str]:
    details = open_interpreter(model)._get_ops_details()
    return Counter(detail["op_name"] for detail in details)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return small_network()


def test_onnx_gives_what_torch_gives(network: nn.Module) -> None:
    x = images(3)
    model = onnx_bytes(network, (1, 3, 32, 32))
    assert relative(onnx_outputs(model, x), reference(network, x)) < 1e-4


def test_tflite_gives_what_torch_gives_without_a_transpose(network: nn.Module) -> None:
    x = images(3)
    model = tflite_bytes(network, (1, 3, 32, 32), channels_last_output=False)
    assert relative(tflite_outputs(model, x), reference(network, x)) < 1e-4
    assert tflite_ops(model)["TRANSPOSE"] == 0


def test_a_network_changed_after_export_no_longer_agrees() -> None:
    network, x = small_network(), images(2)
    model = onnx_bytes(network, (1, 3, 32, 32))
    network.blocks[1].depthwise[1].running_mean.add_(0.3)
    assert relative(onnx_outputs(model, x), reference(network, x)) > 1e-2


@pytest.mark.parametrize("layer", OPS, ids=str)
def test_an_isolated_op_is_exact_and_carries_no_layout_change(layer: LayerSpec) -> None:
    module = randomise(build_layer(layer, BatchNormSpec()))
    x = np.random.default_rng(0).standard_normal((1, layer.in_c, 12, 12), dtype=np.float32)
    expected = reference(module, x)
    assert relative(onnx_outputs(onnx_bytes(module, x.shape), x), expected) < 1e-4
    is_map = layer.op != "classifier"
    model = tflite_bytes(module, x.shape, channels_last_output=is_map)
    found = tflite_outputs(model, x)
    found = found.transpose(0, 3, 1, 2) if is_map else found
    assert relative(found, expected) < 1e-4
    # A shuffle itself is a transpose, between two that the converter puts around it.
    assert tflite_ops(model)["TRANSPOSE"] == (3 if "shuffle" in layer.op else 0)


def test_batch_norm_is_folded_and_the_graph_is_tidy(network: nn.Module) -> None:
    ops = onnx_ops(onnx_bytes(network, (1, 3, 32, 32)))
    assert not {"BatchNormalization", "Identity", "Constant", "ReduceMean"} & set(ops)
    # Stem, head, three layers per block but two without expansion, two more of the squeeze.
    assert ops["Conv"] == 1 + 2 + 3 * 3 + 2 + 1
    assert ops["GlobalAveragePool"] == 2


def test_onnx_runtime_fuses_activations_and_additions(network: nn.Module, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(
        onnx_bytes(network, (1, 3, 32, 32)), options, providers=["CPUExecutionProvider"]
    )
    left = onnx_ops((tmp_path / "optimised.onnx").read_bytes())
    assert left["Clip"] == 0
    assert left["BatchNormalization"] == 0


def test_folding_leaves_the_module_alone(network: nn.Module) -> None:
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.train()
    copy = deployment_copy(network)
    assert network.training
    network.eval()
    assert not copy.training
    assert not any(isinstance(part, nn.BatchNorm2d) for part in copy.modules())
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_batch_norm_before_its_convolution_stays() -> None:
    module = randomise(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3)))
    copy = deployment_copy(module)
    assert sum(isinstance(part, nn.BatchNorm2d) for part in copy.modules()) == 1
    x = images(1)
    assert relative(reference(copy, x), reference(module, x)) < 1e-5
    assert relative(onnx_outputs(onnx_bytes(module, x.shape), x), reference(module, x)) < 1e-4


def test_an_open_batch_takes_any_number_of_images(network: nn.Module) -> None:
    model = onnx_bytes(network, (1, 3, 32, 32), dynamic_batch=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 32, 32]
    for count in (1, 5):
        x = images(count)
        found = session.run(None, {"input": x})[0]
        assert relative(found, reference(network, x)) < 1e-4
    x = images(37)  # more than one batch, and a rest
    assert relative(onnx_outputs(model, x), reference(network, x)) < 1e-4


def test_softmax_and_normalisation_inside_match_those_outside(network: nn.Module) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32)).astype(np.float32)
    wrapped = DeployedNetwork(network, mean=mean, std=std, softmax=True).eval()
    shape = (1, 3, 1, 1)
    normal = (pixels / 255 - np.reshape(mean, shape)) / np.reshape(std, shape)
    logits = reference(network, normal.astype(np.float32))
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = onnx_outputs(onnx_bytes(wrapped, (1, 3, 32, 32)), pixels)
    assert found == pytest.approx(expected, abs=1e-5)


def test_files_are_written_whole_or_not_at_all(network: nn.Module, tmp_path: Path) -> None:
    path = write_onnx(network, (1, 3, 32, 32), tmp_path / "deep" / "net.onnx")
    assert onnx_outputs(path.read_bytes(), images(1)).shape == (1, 5)
    assert [item.name for item in path.parent.iterdir()] == ["net.onnx"]
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match="it is a folder"):
        write_onnx(network, (1, 3, 32, 32), tmp_path / "folder.onnx")


def test_a_file_of_another_batch_size_is_refused(network: nn.Module) -> None:
    with pytest.raises(ExportError, match="2 images at a time"):
        onnx_outputs(onnx_bytes(network, (2, 3, 32, 32)), images(3))


def test_damaged_files_are_refused() -> None:
    with pytest.raises(ExportError, match="ONNX Runtime cannot load"):
        onnx_outputs(b"not a model", images(1))
    with pytest.raises(ExportError, match="LiteRT cannot load"):
        open_interpreter(b"not a model at all, but long enough to look into")


def test_tflite_without_its_converter_says_how_to_get_it(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install 'proxyless-hw\[tflite\]'"):
        tflite_bytes(network, (1, 3, 32, 32), channels_last_output=False)


def test_conversion_prints_nothing(network: nn.Module, capfd: pytest.CaptureFixture[str]) -> None:
    tflite_bytes(network, (1, 3, 32, 32), channels_last_output=False)
    onnx_bytes(network, (1, 3, 32, 32))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


def test_native_chatter_is_shown_after_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with quiet_native_output():
            os.write(2, b"a hint from below\n")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert "a hint from below" in capfd.readouterr().err


def test_native_chatter_is_dropped_after_success(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_native_output():
        os.write(2, b"noise\n")
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"


def test_a_python_stream_that_is_no_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with quiet_native_output():
        sys.stderr.write("progress")
    assert stream.getvalue() == "progress"
