"""timm's block strings: meaning, exact round trips, faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.timm_settings import TimmSettings
from proxyless_hw.formats.timm_strings import from_timm_strings, to_timm_strings, to_timm_text
from proxyless_hw.formats.zoo import zoo_architecture, zoo_names
from proxyless_hw.space.architecture import Architecture
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


def test_what_a_string_means():
    arch = from_timm_strings(["ir_r2_k5_s2_e3_c40_se0.25_nsw"])
    assert arch.blocks == (
        LayerSpec("mbconv", 32, 40, kernel=5, stride=2, expand=3, act="swish", se=8),
        LayerSpec("mbconv", 40, 40, kernel=5, expand=3, skip=True, act="swish", se=10),
    )
    assert arch.head[0] == LayerSpec("conv", 40, 1280, act="relu6")


@pytest.mark.parametrize(
    ("strings", "text"),
    [
        ([], "holds no block string"),
        (["er_r1_k3_s1_e4_c24"], "must be of type ds, ir, cn"),
        (["ir_r1_k3_s2_e6"], "lacks 'c'"),
        (["ir_r1_k3_s2_e6_c24_c32"], "gives 'c' twice"),
        (["ir_r1_k4_s2_e6_c24"], "odd kernel"),
        (["ir_r1_k3_s3_e6_c24"], "s from 1 to 2"),
        (["ir_r1_k3_s1_e1_c24"], "write it as ds"),
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
