"""Published configurations: exact round trips, and hostile or broken files."""

from __future__ import annotations

import copy
import json

import pytest
from published_forms import conv, mobilenet, pool, proxyless, pyramid

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.net_config import from_net_config, to_net_config
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec
from proxyless_hw.space.wiring import TreeBlock

FORMS = {"proxyless": proxyless, "mobilenet": mobilenet, "pyramid": pyramid}


@pytest.mark.parametrize("form", FORMS)
def test_a_published_form_comes_back_exactly_also_by_way_of_our_file(form):
    document = FORMS[form]()
    arch = from_net_config(copy.deepcopy(document))
    again = Architecture.from_json(arch.to_json())
    for found in (arch, again):
        back = to_net_config(found)
        assert json.dumps(back, sort_keys=True) == json.dumps(document, sort_keys=True)


@pytest.mark.parametrize("name", ["proxyless-mobile", "proxyless-cifar"])
def test_zoo_networks_survive_the_published_form(name):
    arch = zoo_architecture(name)
    back = from_net_config(to_net_config(arch))
    assert (back.stem, back.blocks, back.head) == (arch.stem, arch.blocks, arch.head)
    assert (back.wiring, back.batch_norm) == (arch.wiring, arch.batch_norm)
    assert back.resolution == arch.resolution


def test_a_network_of_the_mobilenet_v3_space_survives_the_published_form():
    space = SearchSpace.load("mobilenet-v3")
    choices = [index % len(slot.candidates) for index, slot in enumerate(space.slots)]
    arch = Architecture.from_choices(space, choices)
    document = to_net_config(arch)
    assert document["name"] == "MobileNetV3"
    assert from_net_config(document).choices_in(space) == tuple(choices)


def test_a_file_is_recognised_by_its_content(tmp_path):
    path = tmp_path / "net.config"
    path.write_text(json.dumps(proxyless()))
    assert load_architecture(path).blocks[3].is_zero


def test_what_the_layers_mean():
    arch = from_net_config(mobilenet())
    assert arch.blocks[1] == LayerSpec(
        "mbconv", 16, 24, kernel=5, stride=2, expand=3, act="hswish", se=1
    )
    assert arch.blocks[3].mid_c == 88
    assert [layer.op for layer in arch.head] == ["conv", "pool", "conv_nobn", "classifier"]
    tree = from_net_config(pyramid())
    assert [layer.op for layer in tree.stem] == ["conv_nobn", "identity_pre"]
    assert sum(isinstance(part, TreeBlock) for part in tree.wiring) == 2
    assert {layer.op for layer in tree.blocks} == {
        *("identity", "identity_pre", "conv_pre", "conv_pre_g2_shuffle", "avgpool", "maxpool"),
        *("sepconv_pre", "sepconv_pre_d2"),
    }


def changed(document, path, value):
    document = copy.deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


MBCONV = ("blocks", 1, "mobile_inverted_conv")
CELL = ("blocks", 1, "cell")


@pytest.mark.parametrize(
    ("form", "path", "value", "text"),
    [
        ("proxyless", ("name",), "ProxylessNASNet", "Did you mean 'ProxylessNASNets'"),
        ("proxyless", ("bn",), None, "lacks the field 'bn'"),
        ("proxyless", ("blocks",), [], "list of 1 to 4096"),
        (
            "proxyless",
            (*MBCONV, "name"),
            "MBConvLayer",
            r"blocks\[1\].*one of MBInvertedConv",
        ),
        ("proxyless", (*MBCONV, "in_channels"), 12, "takes 12 channels but receives 8"),
        ("proxyless", (*MBCONV, "kernel_size"), 4, "must be odd: received 4"),
        ("proxyless", (*MBCONV, "stride"), 3, "whole number from 1 to 2"),
        (
            "proxyless",
            (*MBCONV, "expand_ratio"),
            1e9,
            "expand_ratio must be a finite number",
        ),
        ("proxyless", (*MBCONV, "in_channels"), None, "in_channels must be given"),
        ("proxyless", (*MBCONV, "dilation"), 2, "has an unknown field 'dilation'"),
        ("proxyless", ("blocks", 2, "shortcut", "in_channels"), 8, "shortcut|out_channels"),
        ("proxyless", ("classifier", "in_features"), 32, "takes 32 channels but receives 24"),
        ("proxyless", ("first_conv", "act_func"), "gelu", "act_func must be"),
        ("proxyless", ("bn", "eps"), -1.0, r"bn.eps must be a finite number above 0 to 1"),
        ("mobilenet", ("final_expand_layer",), None, "lacks the field 'final_expand_layer'"),
        ("mobilenet", (*MBCONV, "mid_channels"), 16, "does not agree with expand_ratio"),
        ("pyramid", (*CELL, "child_nodes", 0, "path_drop_rate"), 0.2, "path_drop_rate must be 0"),
        ("pyramid", (*CELL, "child_nodes", 0, "edges"), [], "edges must be a list of 1 to 16"),
        ("pyramid", (*CELL, "child_nodes", 0, "in_channels"), 14, "splits 14 channels"),
        ("pyramid", (*CELL, "edges", 0, "groups"), 3, "groups must divide"),
        ("pyramid", (*CELL, "merge_type"), "mul", "merge_type must be"),
        (
            "pyramid",
            ("blocks", 1, "name"),
            "TreeBlock",
            "one of ResidualTreeBlock, Transition",
        ),
        ("pyramid", ("classifier", "in_features"), 25, "takes 25 channels but receives 24"),
        ("pyramid", ("blocks", 3, "layers", 0), pool("avg", 24, 8, 8), "1x1 map"),
    ],
)
def test_a_fault_names_its_place(form, path, value, text):
    document = changed(FORMS[form](), path, value)
    with pytest.raises(ArchitectureError, match=text):
        from_net_config(document)


def test_a_depth_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.config"
    path.write_text('{"name": "PyramidTreeNet", "blocks": ' + "[" * 200_000)
    with pytest.raises(ArchitectureError, match="nests brackets more than 64 deep"):
        load_architecture(path)


def test_a_tree_that_is_too_deep_is_refused():
    document = pyramid()
    cell = document["blocks"][1]["cell"]
    for _ in range(40):
        cell = dict(cell, child_nodes=[cell])
    document["blocks"][1]["cell"] = cell
    with pytest.raises(ArchitectureError, match="at most 12 nodes deep"):
        from_net_config(document)


def test_100_megabytes_are_refused_without_being_parsed(tmp_path):
    path = tmp_path / "huge.config"
    with path.open("w") as stream:
        stream.write('{"name": "ProxylessNASNets", "blocks": [')
        stream.truncate(100 * 2**20)
    with pytest.raises(ArchitectureError, match="16 MiB"):
        load_architecture(path)


def test_what_the_published_form_cannot_hold_is_said():
    arch = from_net_config(changed(proxyless(), ("feature_mix_layer",), conv(16, 24)))
    swish = Architecture.from_json(arch.to_json().replace('"relu6"', '"swish"'))
    with pytest.raises(ArchitectureError, match="no activation 'swish'"):
        to_net_config(swish)


def test_differences_that_belong_to_another_network_are_refused():
    arch = from_net_config(mobilenet())
    text = arch.to_json().replace('"dropout_rate"', '"drop", "out"')
    with pytest.raises(ArchitectureError, match="do not belong to this network"):
        to_net_config(Architecture.from_json(text))
