"""ONNX files that are damaged: one message each that names the file, never a crash."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from proxyless_hw.errors import PredictorError
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.formats.onnx_import import architecture_from_onnx
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace

SPACE = SearchSpace.load("mobilenet-v3")
NETWORK = Architecture.from_choices(SPACE, [0] * len(SPACE.slots), resolution=32, num_classes=10)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """A network with squeeze-and-excite, exported; its large weights emptied: none is read."""
    exported = onnx.load_from_string(onnx_bytes(build_network(NETWORK).eval(), (1, 3, 32, 32)))
    for tensor in exported.graph.initializer:
        if len(tensor.raw_data) > 64:
            tensor.raw_data = b""
    return exported


def read(model: onnx.ModelProto, folder: Path) -> Architecture:
    path = folder / "network.onnx"
    path.write_bytes(model.SerializeToString())
    return architecture_from_onnx(path)


def damaged(model: onnx.ModelProto, draw: random.Random) -> onnx.ModelProto:
    """A copy in which one node or weight lost something."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    node = copy.graph.node[draw.randrange(len(copy.graph.node))]
    match draw.randrange(6):
        case 0:
            del node.output[:]
        case 1:
            del node.input[:]
        case 2:
            del node.attribute[:]
        case 3:
            node.op_type = draw.choice(["Constant", "Identity", "Clip", "Gemm", "Conv", "Add"])
        case 4:
            tensor = copy.graph.initializer[draw.randrange(len(copy.graph.initializer))]
            del tensor.dims[-1:]
        case _:
            copy.graph.node.remove(node)
    return copy


def test_the_undamaged_file_reads_back_as_the_ops_that_were_exported(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    assert read(model, tmp_path).ops() == NETWORK.ops()


def test_whatever_a_file_lost_the_error_names_the_file(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    draw = random.Random(0)
    messages = []
    for _ in range(150):
        try:
            read(damaged(model, draw), tmp_path)
        except PredictorError as error:
            messages.append(str(error))
    assert len(messages) > 75
    assert all("network.onnx" in message for message in messages)


def test_an_input_that_no_node_makes_is_named(model: onnx.ModelProto, tmp_path: Path) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    convolution = next(node for node in copy.graph.node if node.op_type == "Conv")
    convolution.input[1] = "nowhere"
    with pytest.raises(PredictorError, match="uses 'nowhere', which no node before that makes"):
        read(copy, tmp_path)


def test_a_mean_over_channels_is_not_taken_for_pooling(
    model: onnx.ModelProto, tmp_path: Path
) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    pool = [
        node for node in copy.graph.node if node.op_type in ("GlobalAveragePool", "ReduceMean")
    ][-1]
    pool.op_type = "ReduceMean"
    del pool.attribute[:]
    del pool.input[1:]
    pool.input.append("axes")
    copy.graph.initializer.append(numpy_helper.from_array(np.array([1, 2]), "axes"))
    with pytest.raises(PredictorError, match=r"a mean over axes \[1, 2\]"):
        read(copy, tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x00" * 100, b"PK\x03\x04"])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(PredictorError, match=r"network\.onnx"):
        architecture_from_onnx(path)
