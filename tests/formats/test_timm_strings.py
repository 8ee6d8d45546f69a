"""timm's block strings: meaning, exact round trips, faults."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.timm_settings import TimmSettings
from proxyless_hw.formats.timm_strings import from_timm_strings, to_timm_strings, to_timm_text
from proxyless_hw.formats.zoo import zoo_architecture, zoo_names
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.bottlenecks import start_options
from proxyless_hw.space.specs import LayerSpec

# As timm defines its MobileNetV3-Large and MnasNet-A1.
MOBILENET_V3 = [
    ["ds_r1_k3_s1_e1_c16_nre"],
    ["ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"],
    ["ir_r3_k5_s2_e3_c40_se0.25_nre"],
    ["ir_r1_k3_s2_e6_c80", "ir_r1_k3_s1_e2.5_c80", "ir_r2_k3_s1_e2.3_c80"],
    ["ir_r2_k3_s1_e6_c112_se0.25"],
    ["ir_r3_k5_s2_e6_c160_se0.25"],
    ["cn_r1_k1_s1_c960"],
]
MNASNET_A1 = [
    ["ds_r1_k3_s1_e1_c16_noskip"],
    ["ir_r2_k3_s2_e6_c24"],
    ["ir_r3_k5_s2_e3_c40_se0.25"],
    ["ir_r4_k3_s2_e6_c80"],
    ["ir_r2_k3_s1_e6_c112_se0.25"],
    ["ir_r3_k5_s2_e6_c160_se0.25"],
    ["ir_r1_k3_s1_e6_c320"],
]
MOBILE = TimmSettings(stem=16, act="hswish", se="middle", bn_momentum=0.01, bn_eps=1e-3)
MNASNET = TimmSettings(act="relu", bn_momentum=0.01, bn_eps=1e-3)


@pytest.mark.parametrize(
    ("strings", "settings", "name"),
    [(MOBILENET_V3, MOBILE, "mobilenet-v3-large"), (MNASNET_A1, MNASNET, "mnasnet-a1")],
)
def test_timms_definitions_give_the_zoos_networks(strings, settings, name):
    arch = from_timm_strings(strings, settings=settings)
    assert replace(arch, space=name) == zoo_architecture(name)


@pytest.mark.parametrize(("strings", "settings"), [(MOBILENET_V3, MOBILE), (MNASNET_A1, MNASNET)])
def test_strings_come_back_exactly(strings, settings):
    flat = [text for stage in strings for text in stage]
    arch = from_timm_strings(strings, settings=settings)
    assert to_timm_strings(arch) == flat
    assert to_timm_strings(Architecture.from_json(arch.to_json())) == flat
    assert to_timm_strings(from_timm_strings(to_timm_text(arch))) == flat


@pytest.mark.parametrize("name", [name for name in zoo_names() if name != "proxyless-cifar"])
def test_every_chain_of_the_zoo_survives_the_text_form(name, tmp_path):
    arch = zoo_architecture(name)
    path = tmp_path / "network.txt"
    path.write_text(to_timm_text(arch))
    back = load_architecture(path)
    assert replace(back, space=name) == arch


def test_runs_of_different_kinds_are_not_written_as_repeats() -> None:
    strings = ["ds_r1_k3_s1_c32", "cn_r1_k3_s1_c32", "uir_r1_a3_k3_s1_e4_c32"]
    strings += ["uir_r1_a5_k3_s1_e4_c32", "ir_r2_k3_s1_e4_c32", "er_r1_k3_s1_e4_c32"]
    assert to_timm_strings(replace(from_timm_strings(strings), provenance={})) == strings


def test_universal_blocks_come_with_the_head_of_mobilenet_v4() -> None:
    arch = from_timm_strings(["uir_r1_a3_k3_s2_e4_c48", "cn_r1_k1_s1_c96"])
    assert [layer.op for layer in arch.head] == ["conv", "pool", "conv", "classifier"]
    assert from_timm_strings(to_timm_text(arch)).head == arch.head
    text = "# head_norm: False\nuir_r1_a3_k3_s2_e4_c48\ncn_r1_k1_s1_c96"
    assert from_timm_strings(text).head[2].op == "conv_nobn"


def test_what_a_string_means():
    arch = from_timm_strings(["ir_r2_k5_s2_e3_c40_se0.25_nsw"])
    assert arch.blocks == (
        LayerSpec("mbconv", 32, 40, kernel=5, stride=2, expand=3, act="swish", se=8),
        LayerSpec("mbconv", 40, 40, kernel=5, expand=3, skip=True, act="swish", se=10),
    )
    assert arch.head[0] == LayerSpec("conv", 40, 1280, act="relu6")


def conv(in_c: int, out_c: int, kernel: int = 1, stride: int = 1, act: str = "none") -> LayerSpec:
    return LayerSpec("conv", in_c, out_c, kernel=kernel, stride=stride, act=act)


def depthwise(channels: int, kernel: int, stride: int = 1) -> LayerSpec:
    return replace(conv(channels, channels, kernel, stride), op=f"conv_g{channels}")


def uib(
    in_c: int, out_c: int, start: int, kernel: int, *, expand: int, stride: int = 1
) -> LayerSpec:
    return LayerSpec(
        "uib", in_c, out_c, kernel=kernel, stride=stride, expand=expand, act="relu6",
        options=start_options(start),
    )  # fmt: skip


# Of 32 channels, which the stem gives.
@pytest.mark.parametrize(
    ("text", "layers"),
    [
        # Its inverted bottleneck: no depthwise convolution at the start.
        (
            "uir_r2_a0_k3_s1_e2_c32",
            [LayerSpec("mbconv", 32, 32, kernel=3, expand=2, skip=True, act="relu6")] * 2,
        ),
        (
            "uir_r1_k5_s1_e4_c32_noskip_nre",
            [LayerSpec("mbconv", 32, 32, kernel=5, expand=4, act="relu")],
        ),
        # The other forms of MobileNetV4's block: ExtraDW, ConvNext, FFN.
        (
            "uir_r1_a5_k3_s2_e3_c96",
            [uib(32, 96, 5, 3, stride=2, expand=3)],
        ),
        (
            "uir_r2_a3_k0_s1_e1_c32",
            [replace(uib(32, 32, 3, 1, expand=1), skip=True)] * 2,
        ),
        ("uir_r1_a3_k0_s2_e4_c64", [uib(32, 64, 3, 1, stride=2, expand=4)]),
        ("uir_r1_a0_k0_s1_e2_c32", [replace(uib(32, 32, 1, 1, expand=2), skip=True)]),
        ("uir_r1_a0_k0_s1_e2_c64_p3", [uib(32, 64, 1, 1, expand=2), depthwise(64, 3)]),
        # What the op does not hold: a squeeze-and-excite behind two depthwise convolutions.
        (
            "uir_r1_a5_k3_s2_e3_c96_se0.25",
            [
                depthwise(32, 5),
                LayerSpec("mbconv", 32, 96, kernel=3, stride=2, expand=3, act="relu6", se=8),
            ],
        ),
        (
            "er_r2_k3_s1_e2_c32",
            [LayerSpec("fused_mbconv", 32, 32, kernel=3, expand=2, skip=True, act="relu6")] * 2,
        ),
        (
            "er_r1_k3_s2_e4_c48",
            [LayerSpec("fused_mbconv", 32, 48, kernel=3, stride=2, expand=4, act="relu6")],
        ),
        (
            "er_r1_k3_s1_e2_c32_noskip",
            [LayerSpec("fused_mbconv", 32, 32, kernel=3, expand=2, act="relu6")],
        ),
        ("dsa_r1_k3_s1_c32", [replace(depthwise(32, 3), act="relu6"), conv(32, 32, act="relu6")]),
        (
            "cn_r2_k3_s2_e1_c32_skip",
            [conv(32, 32, 3, 2, "relu6"), replace(conv(32, 32, 3, 1, "relu6"), skip=True)],
        ),
        ("cn_r1_k3_s1_c32_noskip", [conv(32, 32, 3, 1, "relu6")]),
        # Its first 1x1 convolution is there at expansion 1 too, where ds has none.
        (
            "ir_r2_k3_s1_e1_c32_nre",
            [LayerSpec("mbconv_pw", 32, 32, kernel=3, skip=True, act="relu")] * 2,
        ),
        (
            "ir_r1_k3_s1_e4_c32_skip_a1_p1_d0",
            [LayerSpec("mbconv", 32, 32, kernel=3, expand=4, skip=True, act="relu6")],
        ),
    ],
)
def test_a_block_is_read_as_what_it_consists_of(text: str, layers: list[LayerSpec]) -> None:
    arch = from_timm_strings([text, "ds_r1_k3_s2_c64"])
    assert list(arch.blocks[:-1]) == layers
    # Strings that are not written come back as they were read.
    assert to_timm_strings(from_timm_strings(to_timm_text(arch))) == to_timm_strings(arch)
    if text[:2] in ("ui", "er", "ds"):
        assert to_timm_strings(arch)[0] == text


@pytest.mark.parametrize(
    "strings",
    [
        [
            "cn_r1_k3_s2_c32",
            "er_r1_k3_s2_e4_c48",
            "uir_r1_a3_k5_s2_e4_c80",
            "uir_r2_a0_k3_s1_e2_c80",
        ],
        ["uir_r1_a5_k0_s2_e3_c40_p3", "cn_r2_k3_s1_c40_skip_nhs", "ir_r2_k5_s1_e3_c40_se0.25"],
        # The first blocks of MobileNetV4-Conv-Small.
        [
            *("cn_r1_k3_s2_e1_c32", "cn_r1_k1_s1_e1_c32"),
            *("uir_r1_a5_k5_s2_e3_c96", "uir_r4_a0_k3_s1_e2_c96"),
        ],
        ["er_r2_k3_s2_e4_c48", "uir_r2_a3_k5_s2_e4_c80", "uir_r2_a5_k0_s1_e3_c80"],
        ["dsa_r2_k3_s2_c48", "uir_r1_a3_k3_s2_e6_c64_se0.25", "uir_r1_a0_k0_s1_e2_c64_noskip"],
    ],
)
def test_the_outputs_are_those_of_timms_own_blocks(strings: list[str]) -> None:
    pytest.importorskip("timm")
    from timm.models._efficientnet_blocks import SqueezeExcite
    from timm.models._efficientnet_builder import EfficientNetBuilder, decode_arch_def

    builder = EfficientNetBuilder(
        act_layer=nn.ReLU6, norm_layer=nn.BatchNorm2d, se_layer=SqueezeExcite
    )
    theirs = nn.Sequential(*builder(32, decode_arch_def([[text] for text in strings]))).eval()
    for part in theirs.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.bias)
    ours = build_network(from_timm_strings([*strings, "ds_r1_k3_s1_c64"]), seed=0).eval()
    blocks = nn.Sequential(*list(ours.blocks)[:-1])
    values, wanted = blocks.state_dict(), list(theirs.state_dict().values())
    blocks.load_state_dict(dict(zip(values, wanted, strict=True)))
    image = torch.randn(2, 32, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(blocks(image), theirs(image), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("strings", "text"),
    [
        ([], "holds no block string"),
        (["mqa_r1_k3_h4_s1_d64_c24"], "must be of type ds, ir, cn, er, uir, dsa"),
        (["uri_r1_k3_s1_e4_c24"], "Did you mean 'uir'"),
        (["uir_r1_a3_k3_s1_e4_c32_p3"], "has a shortcut around"),
        (["uir_r1_a3_k3_s1_e4_c32_se0.25"], "has a shortcut around"),
        # Its first repeat has none, the others have.
        (["ds_r1_k3_s1_c32", "uir_r2_a3_k3_s2_e4_c64_p5"], "'uir_r2.*has a shortcut around"),
        (["er_r1_k3_s2_e4_c24_se0.25"], "squeeze-excite between its convolutions"),
        (["er_r1_k3_s2_e4_fc24_c24"], "not known here: 'fc24'"),
        (["uir_r1_a0_k0_s2_e4_c64"], "no depthwise convolution to take it"),
        (["uir_r1_a0_k3_s2_e65_c64"], "must expand by at most 64"),
        (["uir_r1_a4_k3_s2_e4_c64"], "odd kernels"),
        (["ir_r1_a3_k3_s2_e4_c64"], "pointwise convolutions around its kernel"),
        (["ir_r1_k3_s1_e4_c64_d1"], "turns space into depth"),
        (["cn_r1_k3_s1_c64_d2"], "timm does not read in cn blocks"),
        (["cn_r1_k3_s1_c32_skip_noskip"], "skip and noskip"),
        (["ir_r1_k3_s2_e6"], "lacks 'c'"),
        (["ir_r1_k3_s2_e6_c24_c32"], "gives 'c' twice"),
        (["ir_r1_k4_s2_e6_c24"], "odd kernel"),
        (["ir_r1_k3_s3_e6_c24"], "s from 1 to 2"),
        (["ds_r1_k3_s1_e2_c24"], "of type ds has no expansion"),
        (["ir_r1_k3_s1_e6_c24_gs1"], "not known here: 'gs1'"),
        (["ir_r999_k3_s1_e6_c24"], "r from 1 to 256"),
        (["ir_r1_k3_s1_e6_c99999999999999"], "c from 1 to"),
        ([["ir_r1_k3_s1_e6_c24", 7]], "must hold strings"),
        (["x" * 5000], "longer than 200"),
        ("# colour: red\nds_r1_k3_s1_c16", "no setting 'colour'"),
        ("# stem: -3\nds_r1_k3_s1_c16", "stem is out of range"),
        ("# act: gelu\nds_r1_k3_s1_c16", "act is out of range"),
    ],
)
def test_a_fault_names_the_string(strings, text):
    with pytest.raises(ArchitectureError, match=text):
        from_timm_strings(strings)


def test_a_tree_has_no_strings():
    with pytest.raises(ArchitectureError, match="for chains"):
        to_timm_strings(zoo_architecture("proxyless-cifar"))


def test_a_width_that_timm_would_round_is_refused():
    arch = zoo_architecture("proxyless-mobile")
    blocks = list(arch.blocks)
    blocks[1] = replace(blocks[1], expand=50 / 16)
    with pytest.raises(ArchitectureError, match="16 channels expanded to 50"):
        to_timm_strings(replace(arch, blocks=tuple(blocks)))
