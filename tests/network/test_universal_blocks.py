"""``uib`` and ``fused_mbconv`` against torch's own functions, in every form and file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from block_networks import draw_statistics, likeness, network_of, two_slots
from tiny_spaces import MADE_UP_HEADER
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from proxyless_hw.drawing.figures import architecture_svg
from proxyless_hw.errors import ArchitectureError, SpaceError, TableError
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.formats.onnx_import import architecture_from_onnx
from proxyless_hw.network.ops import Residual, build_layer
from proxyless_hw.network.start import identity_start
from proxyless_hw.predictors.features import family, op_parts, shape_features, shape_group
from proxyless_hw.predictors.rates import KINDS, cost_amounts
from proxyless_hw.search.start import align_candidates
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.search.weights import StartingWeights, fit, start_from
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.bottlenecks import start_options
from proxyless_hw.space.counting import op_bytes, op_macs, op_parameters
from proxyless_hw.space.footprint import op_flash_bytes, op_memory_bytes
from proxyless_hw.space.op_options import OpOptions
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, OpSpec, describe
from proxyless_hw.tables.table import Entry, LatencyTable


def uib(in_c: int, out_c: int, start: int, kernel: int, stride: int = 1) -> LayerSpec:
    return LayerSpec(
        "uib",
        in_c,
        out_c,
        kernel=kernel,
        stride=stride,
        expand=3,
        skip=stride == 1 and in_c == out_c,
        act="relu",
        options=start_options(start),
    )


EXTRA = uib(8, 16, 5, 3, stride=2)
EXTRA_JOINED = uib(16, 16, 3, 5)
NEXT = uib(16, 16, 5, 1)
NEXT_DOWN = uib(16, 24, 3, 1, stride=2)
FFN = uib(24, 24, 1, 1)
FUSED = LayerSpec("fused_mbconv", 24, 24, kernel=3, expand=2, skip=True, act="relu")
FUSED_DOWN = LayerSpec("fused_mbconv", 24, 32, kernel=5, stride=2, expand=2, act="relu")
LAYERS = [EXTRA, EXTRA_JOINED, NEXT, NEXT_DOWN, FFN, FUSED, FUSED_DOWN]


def by_hand(layer: LayerSpec, module: nn.Module, x: Tensor) -> Tensor:
    """MobileNetV4's block (Qin et al., ECCV 2024, figure 4) and the fused one."""
    body = module.body if isinstance(module, Residual) else module

    def depthwise(part: nn.Module, y: Tensor, kernel: int, stride: int) -> Tensor:
        weight = part.get_submodule("conv").weight
        y = functional.conv2d(y, weight, None, stride, kernel // 2, groups=y.shape[1])
        return part.get_submodule("bn")(y)

    y, fused = x, layer.op == "fused_mbconv"
    if layer.start_kernel > 1:
        y = depthwise(body.start, y, layer.start_kernel, layer.stride if layer.kernel == 1 else 1)
    stride, padding = (layer.stride, layer.kernel // 2) if fused else (1, 0)
    y = functional.conv2d(y, body.expand.conv.weight, None, stride, padding)
    y = functional.relu(body.expand.bn(y))
    if layer.kernel > 1 and not fused:
        y = functional.relu(depthwise(body.depthwise, y, layer.kernel, layer.stride))
    y = body.project.bn(functional.conv2d(y, body.project.conv.weight))
    return x + y if layer.skip else y


@pytest.mark.parametrize("layer", LAYERS, ids=describe)
def test_a_block_is_the_papers_and_counts_as_it_is_built(layer: LayerSpec) -> None:
    module, op = draw_statistics(build_layer(layer, BatchNormSpec())), layer.at(11, 11)
    x = torch.randn(2, layer.in_c, 11, 11, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(module(x.clone()), by_hand(layer, module, x))
    assert op_parameters(op) == sum(part.numel() for part in module.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x[:1])
    assert op_macs(op) == counter.get_total_flops() // 2
    parts = [part for part in op_parts(op) if part.kind != "addition"]
    assert sum(part.macs for part in parts) == op_macs(op)
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    biases = sum(conv.out_channels for conv in convolutions)
    weights = sum(conv.weight.numel() for conv in convolutions)
    assert op_flash_bytes(op, "int8") == weights + 4 * biases


def test_memory_and_bytes_follow_the_maps_inside() -> None:
    """Worked by hand: 12 x 12 maps; 8 channels in, 24 in the middle, 16 out."""
    before, start, expanded, middle, out = 144 * 8, 144 * 8, 144 * 24, 36 * 24, 36 * 16
    op = EXTRA.at(12, 12)
    assert op_memory_bytes(op) == 4 * (expanded + start)
    weights = 25 * 8 + 8 * 24 + 9 * 24 + 24 * 16 + 2 * (8 + 24 + 24 + 16)
    moved = (before + start) + (start + expanded) + (expanded + middle) + (middle + out)
    assert op_bytes(op) == 4 * (weights + moved)
    joined = NEXT.at(6, 6)  # the input is kept until the addition
    assert op_memory_bytes(joined) == 4 * 36 * (16 + 16 + 48)


def test_keys_tables_and_features_tell_the_blocks_apart(tmp_path: Path) -> None:
    layers = [*LAYERS, replace(NEXT, options=start_options(3)), replace(EXTRA, kernel=5)]
    ops = [layer.at(12, 12) for layer in layers]
    assert ops[0].key == "uib-12x12x8-6x6x16-k3-s2-e3-skip0-relu-se0-start_kernel=5"
    assert [OpSpec.from_key(op.key) for op in ops] == ops
    assert len({tuple(row) for row in shape_features(ops)}) == len(ops)
    assert len({family(op) for op in ops}) == len(ops)
    assert shape_group(ops[2]) == shape_group(ops[-2])
    entries = {op: Entry(1.0 + number) for number, op in enumerate(ops)}
    path = tmp_path / "blocks.csv"
    LatencyTable(entries, MADE_UP_HEADER, "blocks").save(path)
    assert LatencyTable.load(path).entries == entries
    path.write_text(path.read_text().replace("start_kernel=5", "start_kernel=4"))
    with pytest.raises(TableError, match="start_kernel is an odd kernel from 1"):
        LatencyTable.load(path)
    path.write_text(path.read_text().replace("start_kernel=4", "begin_kernel=5"))
    with pytest.raises(TableError, match="takes start_kernel: received begin_kernel"):
        LatencyTable.load(path)
    assert [describe(layer) for layer in LAYERS] == [
        *("ExtraDW3 5x5 3x3", "ExtraDW3 3x3 5x5", "ConvNext3 5x5", "ConvNext3 3x3", "FFN3"),
        *("fusedMB2 3x3", "fusedMB2 5x5"),
    ]


def test_a_swish_runs_on_its_own_behind_each_activated_layer() -> None:
    swish = replace(EXTRA, act="swish")
    more = cost_amounts([swish.at(12, 12)]) - cost_amounts([EXTRA.at(12, 12)])
    found = {kind: amount for kind, amount in zip(KINDS, more[0], strict=True) if amount}
    wanted = {"activations": 2.0, "activation_moved": (144 + 36) * 24 / 1e6}
    assert found == pytest.approx(wanted)


def test_the_blocks_come_back_from_json_and_an_onnx_file_and_are_drawn(tmp_path: Path) -> None:
    inverted = LayerSpec("mbconv", 32, 32, kernel=3, expand=2, skip=True, act="relu")
    network = network_of([*LAYERS, inverted, uib(32, 32, 3, 3)])
    assert Architecture.from_json(network.arch.to_json()) == network.arch
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(network, (1, 3, 24, 24)))
    assert architecture_from_onnx(tmp_path / "x.onnx").blocks == network.arch.blocks
    drawn = architecture_svg(network.arch)
    for text in ("XDW3", "CNx3", "FFN3", "FMB2", "ExtraDW3 5x5 3x3, 8 to 16 channels, stride 2"):
        assert text in drawn


def test_what_only_looks_like_a_block_is_read_as_its_layers(tmp_path: Path) -> None:
    """Two 1x1 convolutions without a shortcut; a stem before a linear one."""
    layers = [
        LayerSpec("conv", 8, 8, act="none"),
        LayerSpec("conv", 8, 24, act="relu"),
        LayerSpec("conv", 24, 8, act="none"),
        LayerSpec("conv", 8, 8, kernel=3, skip=True, act="relu"),
        EXTRA,
    ]
    network = network_of(layers)
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(network, (1, 3, 24, 24)))
    assert architecture_from_onnx(tmp_path / "x.onnx").layers == network.arch.layers


def test_a_training_begins_with_the_identity() -> None:
    network = network_of([EXTRA_JOINED, NEXT, uib(16, 16, 1, 1)])
    identity_start(network, seed=0)
    x = torch.randn(2, 16, 9, 9)
    with torch.no_grad():
        network.eval()
        for block in network.blocks:
            norm = block.get_submodule("body.project.bn")
            assert torch.equal(norm.weight, torch.zeros_like(norm.weight))
            norm.bias.zero_()
            norm.running_mean.zero_()
        assert torch.equal(network.blocks(x), x)


SPACE = two_slots(
    [
        "{op: uib, kernel: 3, expand: 3, act: relu}",
        "{op: uib, start_kernel: 3, kernel: 5, expand: 3, act: relu}",
        "{op: uib, start_kernel: 5, expand: 6, act: relu}",
        "{op: fused_mbconv, kernel: 3, expand: 3, act: relu}",
    ]
)


def test_the_form_that_is_an_inverted_bottleneck_has_its_name() -> None:
    space = SearchSpace.from_yaml(SPACE)
    assert [layer.op for layer in space.positions[1].candidates] == [
        *("mbconv", "uib", "uib", "fused_mbconv"),
    ]
    space = SearchSpace.from_yaml(SPACE.replace("kernel: 3, expand: 3, act", "kernel: 3, act", 1))
    assert space.positions[0].candidates[0].op == "mbconv_pw"


@pytest.mark.parametrize("act", ["relu", "hswish"])
def test_candidates_of_different_structure_begin_as_nearly_the_same_map(act: str) -> None:
    space = SearchSpace.from_yaml(SPACE.replace("relu", act))
    net, apart = SuperNet(space, 4, seed=0), SuperNet(space, 4, seed=0)
    align_candidates(net, seed=0)
    x = torch.randn(8, 8, 8, 8, generator=torch.Generator().manual_seed(3))

    assert likeness(net, x).min() > 0.85
    assert likeness(apart, x).fill_diagonal_(0).abs().max() < 0.3
    shortcut = net.positions[0]
    assert all(
        torch.equal(shortcut(x.clone(), choice), x) for choice in range(len(shortcut.candidates))
    )


@pytest.mark.parametrize("choice", [0, 1, 2, 3])
def test_a_supernet_that_begins_with_weights_computes_what_their_network_does(choice: int) -> None:
    space = SearchSpace.from_yaml(SPACE)
    arch = Architecture.from_choices(space, [choice, choice])
    network = draw_statistics(network_of(list(arch.blocks)))
    supernet = SuperNet(space, 5, seed=1)
    align_candidates(supernet, 1)
    supernet.stem.load_state_dict(network.stem.state_dict())
    supernet.head.load_state_dict(network.head.state_dict())
    said = start_from(supernet, StartingWeights(network, "given", {}))
    assert "2 of 2 blocks (candidates: 2 in full, 0 in part)" in said
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        found = supernet.eval()(x, [choice, choice])
        torch.testing.assert_close(found, network(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("candidate", "taken"),
    [
        (replace(NEXT, expand=6), "whole"),
        (replace(NEXT, options=start_options(7)), "whole"),
        (replace(NEXT, options=start_options(3)), "part"),
        (replace(NEXT, act="hswish"), "part"),
        (EXTRA_JOINED, "none"),
        (uib(16, 16, 1, 1), "none"),
        (LayerSpec("mbconv", 16, 16, kernel=5, expand=3, skip=True, act="relu"), "none"),
    ],
)
def test_a_block_goes_into_candidates_of_its_structure(candidate: LayerSpec, taken: str) -> None:
    assert fit(candidate, NEXT) == taken


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (uib(8, 8, 1, 3), "Write mbconv, its one name"),
        (uib(8, 16, 1, 1, stride=2), "without depthwise convolutions has stride 1: received 2"),
        (replace(FFN, se=8), "has no squeeze-and-excite: received se 8. Write mbconv"),
        (replace(FUSED, options=start_options(3)), "'fused_mbconv' takes no options"),
        (replace(FFN, options=OpOptions({"start_kernel": 1})), "says nothing is left out"),
        (replace(FFN, options=OpOptions({"start_kernel": 4})), "an odd kernel from 1"),
        (replace(FFN, options=OpOptions({"start": 5})), "takes start_kernel: received start"),
    ],
)
def test_what_no_such_block_is_is_refused(layer: LayerSpec, message: str) -> None:
    with pytest.raises(ArchitectureError, match=re.escape(message)):
        network_of([layer])


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ("{op: uib, expand: 2}", "without depthwise convolutions has stride 1"),
        ("{op: uib, start_kernel: 4}", "start_kernel is an odd kernel"),
        ("{op: uib, start_kernel: 3, se: 1}", "has no squeeze-and-excite"),
        ("{op: mbconv, start_kernel: 3}", "unknown field 'start_kernel'"),
        ("{op: uib, start_kernl: 3}", "Did you mean 'start_kernel'"),
    ],
)
def test_what_no_such_candidate_is_is_refused(candidate: str, message: str) -> None:
    wanted = "{op: fused_mbconv, kernel: 3, expand: 3, act: relu}"
    with pytest.raises(SpaceError, match=re.escape(message)):
        SearchSpace.from_yaml(SPACE.replace(wanted, candidate))
