"""What is counted as memory, against the tensors of the TFLite file that is written."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_tensors import peak_of_tensors

from proxyless_hw.export.quantise import quantise_tflite
from proxyless_hw.export.runtimes import tflite_outputs
from proxyless_hw.export.tflite_buffers import with_inline_buffers
from proxyless_hw.export.tflite_file import tflite_bytes
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import flash_bytes, memory_bytes
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec

SIDE = 24
ARCH = Architecture(
    "small", SIDE, 5,
    (LayerSpec("conv", 3, 8, kernel=3, stride=2, act="relu6"),),
    (
        LayerSpec("mbconv", 8, 8, kernel=3, expand=6, skip=True, act="relu6"),
        LayerSpec("mbconv", 8, 16, kernel=7, stride=2, expand=4, act="relu6"),
    ),
    (LayerSpec("classifier", 16, 5),), BatchNormSpec(),
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> bytes:
    network = build_network(ARCH, seed=0).eval()
    return tflite_bytes(network, (1, 3, SIDE, SIDE), channels_last_output=False)


def test_the_tensors_of_a_file_peak_at_what_is_counted(model: bytes) -> None:
    # Two maps of 48 channels at 12x12, and the block's input.
    assert memory_bytes(ARCH) == 4 * (2 * 48 + 8) * 12 * 12
    assert peak_of_tensors(model, padded_copies=False) == memory_bytes(ARCH)


def test_padded_copies_of_strided_layers_come_on_top(model: bytes) -> None:
    # The 7x7 layer reads a copy of its 32 channels with 3 zeros on every side.
    assert peak_of_tensors(model) == 4 * 32 * (12 * 12 + 18 * 18)


def test_quantised_weights_stand_inside_the_flatbuffer(model: bytes) -> None:
    images = np.random.default_rng(0).standard_normal((2, 1, SIDE, SIDE, 3), dtype=np.float32)
    content = quantise_tflite(model, "int8", images)
    held = schema.Model.GetRootAs(content, 0)
    buffers = [held.Buffers(index) for index in range(held.BuffersLength())]
    assert all(buffer.Offset() == 0 for buffer in buffers)
    assert sum(buffer.DataLength() for buffer in buffers) >= flash_bytes(ARCH, "int8")
    assert with_inline_buffers(content) == content
    # Its tensors are those of the float file, a byte each.
    assert peak_of_tensors(content) == peak_of_tensors(model) // 4


def test_a_model_with_outside_buffers_computes_the_same_with_inline_ones(model: bytes) -> None:
    import flatbuffers

    held = schema.ModelT.InitFromPackedBuf(model, 0)
    moved = [buffer for buffer in held.buffers if buffer.data is not None and len(buffer.data) > 64]
    weights = [bytes(buffer.data) for buffer in moved]
    for buffer in moved:
        buffer.data, buffer.offset, buffer.size = None, 2, 2  # place holders of the final length

    def packed() -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(held.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    place = -(-len(packed()) // 16) * 16
    content = b""
    for buffer, weight in zip(moved, weights, strict=True):
        buffer.offset, buffer.size = place + len(content), len(weight)
        content += weight + bytes(-len(weight) % 16)
    outside = packed().ljust(place, b"\0") + content
    inline = with_inline_buffers(outside)
    assert inline != outside
    x = np.random.default_rng(1).standard_normal((2, 3, SIDE, SIDE), dtype=np.float32)
    assert np.array_equal(tflite_outputs(inline, x), tflite_outputs(model, x))
