"""Hard swish and squeeze-and-excite as old exporters write them out are the ops they stand for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from proxyless_hw.errors import PredictorError
from proxyless_hw.export.onnx_file import write_onnx
from proxyless_hw.formats.onnx_import import architecture_from_onnx
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import LayerSpec

ARCH = Architecture(
    space="x",
    resolution=32,
    num_classes=5,
    stem=(LayerSpec("conv", 3, 8, kernel=3, stride=2, act="hswish"),),
    blocks=(
        LayerSpec("mbconv", 8, 8, kernel=3, expand=4, skip=True, act="hswish", se=1),
        LayerSpec("mbconv", 8, 16, kernel=5, stride=2, expand=4, act="hswish"),
    ),
    head=(LayerSpec("conv", 16, 32, act="hswish"), LayerSpec("classifier", 32, 5)),
)


class WrittenOut(nn.Module):
    """An activation by a formula."""

    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


def replaced(module: nn.Module, kind: type[nn.Module], formula: Callable[[Tensor], Tensor]) -> None:
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, WrittenOut(formula))
        else:
            replaced(child, kind, formula)


def relu6(x: Tensor) -> Tensor:
    return nn.functional.relu6(x)


def bounded(x: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(x, torch.tensor(6.0)), torch.tensor(0.0))


SWISHES = {
    "division last": lambda x: x * relu6(x + 3) / 6,
    "division first": lambda x: x * (relu6(x + 3) / 6),
    "a multiplication by 1/6": lambda x: x * (relu6(x + 3) * (1 / 6)),
    "a clamp": lambda x: torch.clamp(x + 3, 0, 6) / 6 * x,
    "x divided first": lambda x: x / 6 * relu6(x + 3),
    "x multiplied by 1/6": lambda x: relu6(x + 3) * (x * (1 / 6)),
    "bounds one by one": lambda x: x * torch.relu(x + 3).minimum(torch.tensor(6.0)) / 6,
    "bounds the other way": lambda x: x * bounded(x + 3) / 6,
}


def written(tmp_path: Path, swish: Callable[[Tensor], Tensor], opset: int) -> Architecture:
    network = build_network(ARCH, seed=0).eval()
    replaced(network, nn.Hardswish, swish)
    replaced(network, nn.Hardsigmoid, lambda x: relu6(x + 3) / 6)
    path = write_onnx(network, (1, 3, 32, 32), tmp_path / "net.onnx", opset=opset)
    return architecture_from_onnx(path)


@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize("spelling", SWISHES)
def test_every_spelling_is_the_same_network(spelling: str, opset: int, tmp_path: Path) -> None:
    found = written(tmp_path, SWISHES[spelling], opset)
    assert (found.stem, found.blocks, found.head) == (ARCH.stem, ARCH.blocks, ARCH.head)


def test_the_decomposition_of_an_old_operator_set_is_known_too(tmp_path: Path) -> None:
    network = build_network(ARCH, seed=0).eval()
    path = write_onnx(network, (1, 3, 32, 32), tmp_path / "net.onnx", opset=11)
    assert architecture_from_onnx(path).blocks == ARCH.blocks


def with_swish(alpha: float) -> onnx.ModelProto:
    """A stem, ONNX's own Swish (since operator set 24), pooling and a classifier."""
    weights = {"w": (8, 3, 3, 3), "v": (5, 8)}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        onnx.helper.make_node("Swish", ["c"], ["s"], alpha=alpha),
        onnx.helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        onnx.helper.make_node("Flatten", ["p"], ["f"]),
        onnx.helper.make_node("Gemm", ["f", "v"], ["y"], transB=1),
    ]
    values = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "swish",
        [values("x", onnx.TensorProto.FLOAT, [1, 3, 16, 16])],
        [values("y", onnx.TensorProto.FLOAT, [1, 5])],
        [onnx.numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in weights.items()],
    )
    return onnx.helper.make_model(graph)


def test_the_swish_of_operator_set_24_is_known(tmp_path: Path) -> None:
    onnx.save(with_swish(1.0), tmp_path / "swish.onnx")
    assert architecture_from_onnx(tmp_path / "swish.onnx").stem[0].act == "swish"
    onnx.save(with_swish(1.5), tmp_path / "other.onnx")
    with pytest.raises(PredictorError, match="a swish of another alpha than 1"):
        architecture_from_onnx(tmp_path / "other.onnx")


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: x * relu6(x + 2) / 6,
        lambda x: x * relu6(x + 3) / 5,
        lambda x: x * torch.clamp(x + 3, 0, 5) / 6,
        lambda x: x * relu6(x + 3) * x,
        lambda x: x / 5 * relu6(x + 3),
        lambda x: x * torch.relu(x + 3).minimum(torch.tensor(5.0)) / 6,
    ],
)
def test_what_is_nearly_a_hard_swish_is_refused(
    formula: Callable[[Tensor], Tensor], tmp_path: Path
) -> None:
    with pytest.raises(PredictorError, match="is not made of known ops alone"):
        written(tmp_path, formula, 20)
