"""fp16 and int8 files: close to the network, smaller, and of the number format they claim."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_networks import images, small_network
from torch import nn

from proxyless_hw.errors import ExportError
from proxyless_hw.export import quantise
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.export.quantise import quantise_onnx, quantise_tflite
from proxyless_hw.export.runtimes import onnx_outputs, open_interpreter, tflite_outputs
from proxyless_hw.export.tflite_file import tflite_bytes
from proxyless_hw.export.verify import torch_outputs

X = images(24)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return small_network()


@pytest.fixture(scope="module")
def expected(network: nn.Module) -> np.ndarray:
    return torch_outputs(network, X)


@pytest.fixture(scope="module")
def tflite(network: nn.Module) -> bytes:
    return tflite_bytes(network, (1, 3, 32, 32), channels_last_output=False)


@pytest.fixture(scope="module")
def onnx_model(network: nn.Module) -> bytes:
    return onnx_bytes(network, (1, 3, 32, 32))


def errors(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    difference = np.abs(found - expected) / expected.std()
    return float(difference.max()), float(difference.mean())


def test_half_precision_tflite_is_close_and_half_the_size(
    tflite: bytes, expected: np.ndarray
) -> None:
    half = quantise_tflite(tflite, "fp16")
    largest, _ = errors(tflite_outputs(half, X), expected)
    assert 1e-6 < largest < 1e-2
    assert len(half) < 0.8 * len(tflite)


def test_half_precision_onnx_is_close_and_its_weights_are_halves(
    onnx_model: bytes, expected: np.ndarray
) -> None:
    half = quantise_onnx(onnx_model, "fp16")
    largest, _ = errors(onnx_outputs(half, X), expected)
    assert 1e-6 < largest < 1e-2
    tensors = onnx.load_from_string(half).graph.initializer
    halves = {tuple(t.dims) for t in tensors if t.data_type == onnx.TensorProto.FLOAT16}
    assert halves == {(1280, 16, 1, 1)}


def test_int8_tflite_is_integer_from_end_to_end(tflite: bytes, expected: np.ndarray) -> None:
    model = quantise_tflite(tflite, "int8", X[:16, None].transpose(0, 1, 3, 4, 2))
    interpreter = open_interpreter(model)
    assert interpreter.get_input_details()[0]["dtype"] == np.int8
    assert interpreter.get_output_details()[0]["dtype"] == np.int8
    _, mean = errors(tflite_outputs(model, X), expected)
    assert 1e-4 < mean < 0.15


def test_int8_ranges_hold_every_calibration_image(tflite: bytes, expected: np.ndarray) -> None:
    # One image of ten times the usual values among small ones: its range must not be cut off.
    calibration = X[:8, None].copy()
    calibration[3] *= 10
    model = quantise_tflite(tflite, "int8", calibration.transpose(0, 1, 3, 4, 2))
    detail = open_interpreter(model).get_input_details()[0]
    scale, zero = detail["quantization"]
    reach = (127 - zero) * scale, (-128 - zero) * scale
    assert reach[0] >= calibration.max() * 0.99
    assert reach[1] <= calibration.min() * 0.99


def test_int8_ranges_are_those_that_agree_best(
    tflite: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A share of nothing keeps no range at all: a file of noise, which must never be chosen.
    calibration = X[:16, None].transpose(0, 1, 3, 4, 2)
    monkeypatch.setattr(quantise, "RANGE_SHARES", (1.0,))
    widest = quantise_tflite(tflite, "int8", calibration)
    monkeypatch.setattr(quantise, "RANGE_SHARES", (0.0, 1.0))
    assert quantise_tflite(tflite, "int8", calibration) == widest
    monkeypatch.setattr(quantise, "RANGE_SHARES", (0.0,))
    assert quantise_tflite(tflite, "int8", calibration) != widest


def test_int8_onnx_keeps_float_ends(onnx_model: bytes, expected: np.ndarray) -> None:
    model = quantise_onnx(onnx_model, "int8", X[:16, None])
    names = {node.op_type for node in onnx.load_from_string(model).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= names
    _, mean = errors(onnx_outputs(model, X), expected)
    assert 1e-4 < mean < 0.15


def test_dynamic_range_needs_no_images(tflite: bytes, expected: np.ndarray) -> None:
    model = quantise_tflite(tflite, "int8-dynamic")
    assert open_interpreter(model).get_input_details()[0]["dtype"] == np.float32
    _, mean = errors(tflite_outputs(model, X), expected)
    assert 1e-4 < mean < 0.15


def test_fp32_is_the_model_itself(tflite: bytes, onnx_model: bytes) -> None:
    assert quantise_tflite(tflite, "fp32") is tflite
    assert quantise_onnx(onnx_model, "fp32") is onnx_model


def test_int8_without_images_is_refused(tflite: bytes, onnx_model: bytes) -> None:
    with pytest.raises(ExportError, match="needs images"):
        quantise_tflite(tflite, "int8")
    with pytest.raises(ExportError, match="needs images"):
        quantise_onnx(onnx_model, "int8", X[:0, None])


def test_dynamic_range_onnx_is_refused_with_what_to_choose(onnx_model: bytes) -> None:
    with pytest.raises(ExportError, match="--format tflite"):
        quantise_onnx(onnx_model, "int8-dynamic")


def test_a_weight_beyond_half_precision_is_refused() -> None:
    network = small_network()
    network.head[0][0].weight.data[0, 0] = 1e7
    with pytest.raises(ExportError, match="beyond the range of half precision"):
        quantise_onnx(onnx_bytes(network, (1, 3, 32, 32)), "fp16")


def test_quantising_prints_nothing(tflite: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    quantise_tflite(tflite, "int8", X[:4, None].transpose(0, 1, 3, 4, 2))
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""
