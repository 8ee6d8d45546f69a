"""Grouped bottlenecks and squeeze-and-excite against torch and torchvision, in every form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from block_networks import draw_statistics, likeness, network_of, two_slots
from tiny_spaces import MADE_UP_HEADER
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.efficientnet import MBConv as TorchvisionMBConv
from torchvision.models.efficientnet import MBConvConfig

from proxyless_hw.errors import ArchitectureError, PredictorError, SpaceError
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.export.runtimes import onnx_outputs
from proxyless_hw.formats.onnx_import import architecture_from_onnx
from proxyless_hw.network.ops import build_layer
from proxyless_hw.predictors.features import op_parts, shape_features
from proxyless_hw.predictors.rates import KINDS, cost_amounts
from proxyless_hw.search.start import align_candidates
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.counting import op_macs, op_parameters
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, OpSpec, describe
from proxyless_hw.tables.table import Entry, LatencyTable

PW = LayerSpec("mbconv_pw", 8, 8, kernel=3, skip=True, act="relu")
GROUPED = LayerSpec("mbconv_g2_shuffle", 8, 8, kernel=3, skip=True, act="relu")
WIDE = LayerSpec("mbconv_g2_shuffle", 8, 16, kernel=5, stride=2, expand=3, act="relu")
PLAIN = LayerSpec("mbconv_g4", 16, 16, kernel=3, skip=True, act="relu")
SWISH = LayerSpec("mbconv", 16, 16, kernel=3, expand=3, skip=True, act="swish", se=4)
LAYERS = [PW, GROUPED, WIDE, PLAIN, SWISH]


def by_hand(layer: LayerSpec, module: nn.Module, x: Tensor, groups: int, shuffles: bool) -> Tensor:
    """FBNet's block (Wu et al., CVPR 2019, figure 3), with torch's own channel shuffle."""
    body = module.body if layer.skip else module
    y = functional.conv2d(x, body.expand.conv.weight, groups=groups)
    y = functional.relu(body.expand.bn(y))
    if shuffles:
        y = nn.ChannelShuffle(groups)(y)
    y = functional.conv2d(
        y, body.depthwise.conv.weight, None, layer.stride, layer.kernel // 2, groups=y.shape[1]
    )
    y = functional.relu(body.depthwise.bn(y))
    y = body.project.bn(functional.conv2d(y, body.project.conv.weight, groups=groups))
    return x + y if layer.skip else y


@pytest.mark.parametrize(
    ("layer", "groups", "shuffles"),
    [(PW, 1, False), (GROUPED, 2, True), (WIDE, 2, True), (PLAIN, 4, False)],
    ids=str,
)
def test_a_grouped_block_is_that_of_fbnet(layer: LayerSpec, groups: int, shuffles: bool) -> None:
    module = draw_statistics(build_layer(layer, BatchNormSpec()))
    x = torch.randn(2, layer.in_c, 9, 9, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = by_hand(layer, module, x, groups, shuffles)
        torch.testing.assert_close(module(x.clone()), expected, rtol=1e-6, atol=1e-6)


def test_swish_and_squeeze_excite_are_those_of_torchvisions_efficientnet() -> None:
    config = MBConvConfig(3, 3, 1, 16, 16, 1)
    theirs = draw_statistics(TorchvisionMBConv(config, 0.0, nn.BatchNorm2d))
    ours = build_layer(SWISH, BatchNormSpec(eps=1e-5)).eval()
    pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
    for mine, other in pairs:
        mine.copy_(other)
    x = torch.randn(2, 16, 9, 9, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(ours(x.clone()), theirs(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_counts_are_those_of_the_built_block(layer: LayerSpec) -> None:
    module, op = build_layer(layer, BatchNormSpec()).eval(), layer.at(12, 12)
    assert op_parameters(op) == sum(part.numel() for part in module.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, layer.in_c, 12, 12))
    assert op_macs(op) == counter.get_total_flops() // 2
    assert sum(part.macs for part in op_parts(op)) == op_macs(op)


def test_keys_and_tables_tell_the_blocks_apart(tmp_path: Path) -> None:
    ops = [layer.at(12, 12) for layer in (*LAYERS, replace(PW, op="mbconv"))]
    assert [OpSpec.from_key(op.key) for op in ops] == ops
    assert len({tuple(row) for row in shape_features(ops)}) == len(ops)
    entries = {op: Entry(1.0 + number) for number, op in enumerate(ops)}
    LatencyTable(entries, MADE_UP_HEADER, "blocks").save(tmp_path / "blocks.csv")
    assert LatencyTable.load(tmp_path / "blocks.csv").entries == entries
    assert [describe(layer) for layer in LAYERS] == [
        *("MB1pw 3x3", "MB1g2 3x3", "MB3g2 5x5", "MB1g4 3x3", "MB3 3x3"),
    ]


def test_a_shuffle_counts_as_a_launch_that_moves_the_map_twice() -> None:
    shuffled, plain = GROUPED.at(12, 12), replace(GROUPED, op="mbconv_g2").at(12, 12)
    more = dict(zip(KINDS, (cost_amounts([shuffled]) - cost_amounts([plain]))[0], strict=True))
    wanted = {"poolings": 1.0, "moved": 2 * 12 * 12 * 8 / 1e6}
    assert {kind: amount for kind, amount in more.items() if amount} == pytest.approx(wanted)


@pytest.mark.parametrize("opset", [11, 17])
def test_the_blocks_come_back_from_an_onnx_file(opset: int, tmp_path: Path) -> None:
    network = network_of(LAYERS)
    content = onnx_bytes(network, (1, 3, 24, 24), opset=opset)
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network(x.clone())
    found = torch.from_numpy(onnx_outputs(content, x.numpy()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    (tmp_path / "blocks.onnx").write_bytes(content)
    assert architecture_from_onnx(tmp_path / "blocks.onnx").blocks == network.arch.blocks


def test_another_shuffle_or_squeeze_is_refused_in_an_onnx_file(tmp_path: Path) -> None:
    network = network_of([GROUPED])
    network.blocks[0].body.shuffle.groups = 4  # of a convolution in two groups
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(network, (1, 3, 24, 24)))
    with pytest.raises(PredictorError, match="Reshape after"):
        architecture_from_onnx(tmp_path / "x.onnx")
    network = network_of([SWISH])
    network.blocks[0].body.se.act = nn.ReLU()
    (tmp_path / "x.onnx").write_bytes(onnx_bytes(network, (1, 3, 24, 24)))
    with pytest.raises(PredictorError, match="with relu and Sigmoid over 4 channels, behind swish"):
        architecture_from_onnx(tmp_path / "x.onnx")


SPACE = two_slots(
    [
        "{op: mbconv_pw, kernel: 3, act: relu}",
        "{op: mbconv_g2_shuffle, kernel: 3, act: relu}",
        "{op: mbconv_g2_shuffle, kernel: 5, act: relu}",
        "{op: mbconv, kernel: 5, expand: 3, act: relu}",
    ]
)


def test_candidates_with_and_without_groups_begin_as_nearly_the_same_map() -> None:
    space = SearchSpace.from_yaml(SPACE)
    assert [layer.skip for layer in space.positions[0].candidates] == [True] * 5
    net, apart = SuperNet(space, 4, seed=0), SuperNet(space, 4, seed=0)
    align_candidates(net, seed=0)
    x = torch.randn(8, 8, 8, 8, generator=torch.Generator().manual_seed(3))

    # The wide candidate has channels of its own beside those of the others.
    assert likeness(net, x)[:3, :3].min() > 0.9
    assert likeness(net, x).min() > 0.6
    assert likeness(apart, x).fill_diagonal_(0).abs().max() < 0.3
    shortcut = net.positions[0]
    assert all(
        torch.equal(shortcut(x.clone(), choice), x) for choice in range(len(shortcut.candidates))
    )


def test_a_share_in_a_space_squeezes_to_that_of_the_input_channels() -> None:
    space = SearchSpace.from_yaml(SPACE.replace("expand: 3, act: relu", "expand: 3, se: 0.25"))
    assert [position.candidates[3].se for position in space.positions] == [2, 2]
    space = SearchSpace.from_yaml(SPACE.replace("expand: 3, act: relu", "expand: 3, se: 0.4"))
    assert [position.candidates[3].se for position in space.positions] == [3, 3]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LayerSpec("mbconv_g3_shuffle", 8, 8, kernel=3), "3 groups must divide its channels.*8 to"),
        (LayerSpec("mbconv_g4", 4, 8, kernel=3, expand=1.5), "received 4 to 6 to 8"),
        (LayerSpec("mbconv_pw", 8, 8, kernel=3, expand=2), "received expansion 2. Write mbconv"),
    ],
)
def test_what_no_such_block_is_is_refused(layer: LayerSpec, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        network_of([layer])


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ("{op: mbconv_pw, kernel: 3, expand: 3}", r"expand must be 1 in 'mbconv_pw'"),
        ("{op: mbconv_g3_shuffle, kernel: 3}", r"op has groups that divide 8 and 8 channels"),
        ("{op: mbconv, kernel: 3, se: 0.1}", r"se must be a share that leaves 2 of 8 channels"),
        ("{op: mbconv, kernel: 3, se: -1}", r"se must be a whole number from 0 to"),
        ("{op: mbconv, kernel: 3, se: .nan}", r"se must be a share"),
    ],
)
def test_what_no_such_candidate_is_is_refused(candidate: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        SearchSpace.from_yaml(SPACE.replace("{op: mbconv_pw, kernel: 3, act: relu}", candidate))
