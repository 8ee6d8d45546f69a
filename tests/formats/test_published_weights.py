"""Published checkpoints: outputs against an independent evaluation, and hostile files."""

from __future__ import annotations

import pickle

import pytest
import torch
from published_forms import mobilenet, proxyless, pyramid
from torch.nn import functional as f

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.net_config import from_net_config
from proxyless_hw.formats.published import (
    fill_from_published,
    load_published_weights,
    published_state_dict,
)
from proxyless_hw.network.network import build_network

EPS = {"ProxylessNASNets": 1e-3, "MobileNetV3": 1e-5, "PyramidTreeNet": 1e-5}


class Published:
    """Evaluates a configuration straight from tensors under the published names."""

    def __init__(self, document, tensors):
        self.document, self.t = document, tensors
        self.eps = EPS[document["name"]]

    def norm(self, x, name):
        keys = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self.t[f"{name}.{key}"].view(1, -1, 1, 1) for key in keys)
        return (x - mean) / torch.sqrt(var + self.eps) * weight + bias

    def act(self, x, kind):
        return {
            None: lambda: x,
            "relu": lambda: x.clamp(min=0),
            "relu6": lambda: x.clamp(0, 6),
            "h_swish": lambda: x * (x + 3).clamp(0, 6) / 6,
        }[kind]()

    def weigh(self, x, c, name):
        if c["name"] == "IdentityLayer":
            return x
        if c["name"] == "PoolingLayer":
            pad = c["kernel_size"] // 2 if c["stride"] == 1 else 0
            if c["pool_type"] == "max":
                return f.max_pool2d(x, c["kernel_size"], c["stride"], pad)
            return f.avg_pool2d(x, c["kernel_size"], c["stride"], pad, count_include_pad=False)
        pad = c["kernel_size"] // 2 * c["dilation"]
        if c["name"] == "DepthConvLayer":
            w = self.t[f"{name}.depth_conv.weight"]
            x = f.conv2d(x, w, None, c["stride"], pad, c["dilation"], len(w))
            return f.conv2d(x, self.t[f"{name}.point_conv.weight"])
        w = self.t[f"{name}.conv.weight"]
        x = f.conv2d(x, w, None, c["stride"], pad, c["dilation"], c["groups"])
        if c["has_shuffle"] and c["groups"] > 1:
            order = torch.arange(x.shape[1]).view(c["groups"], -1).t().reshape(-1)
            x = x[:, order]
        return x

    def layer(self, x, c, name):
        steps = c["ops_order"].split("_")
        for step in steps:
            if step == "weight":
                x = self.weigh(x, c, name)
            elif step == "bn" and c["use_bn"]:
                x = self.norm(x, f"{name}.bn")
            elif step == "act":
                x = self.act(x, c["act_func"])
        return x

    def unit(self, x, name, act, stride=1, groups=1):
        w = self.t[f"{name}.conv.weight"]
        x = f.conv2d(x, w, None, stride, w.shape[-1] // 2, 1, groups)
        return self.act(self.norm(x, f"{name}.bn"), act)

    def bottleneck(self, x, c, name):
        act = c.get("act_func", "relu6")
        if c["expand_ratio"] != 1:
            x = self.unit(x, f"{name}.inverted_bottleneck", act)
        x = self.unit(x, f"{name}.depth_conv", act, c["stride"], x.shape[1])
        if c.get("use_se"):
            se = f"{name}.depth_conv.se.fc"
            y = x.mean((2, 3), keepdim=True)
            y = f.conv2d(y, self.t[f"{se}.reduce.weight"], self.t[f"{se}.reduce.bias"]).clamp(min=0)
            y = f.conv2d(y, self.t[f"{se}.expand.weight"], self.t[f"{se}.expand.bias"])
            x = x * (y + 3).clamp(0, 6) / 6
        return self.unit(x, f"{name}.point_linear", None)

    def node(self, x, c, name):
        count = len(c["edges"])
        parts = x.chunk(count, 1) if c["split_type"] == "split" else [x] * count
        total = 0
        for index, part in enumerate(parts):
            edge = self.layer(part, c["edges"][index], f"{name}.edges.{index}")
            child = c["child_nodes"][index]
            y = edge if child is None else self.node(edge, child, f"{name}.child_nodes.{index}")
            if c["has_branch_bn"]:
                y = self.norm(y, f"{name}.branch_bns.{index}") + edge
            total = total + y
        return total

    def tree_block(self, x, c, name):
        shortcut = self.layer(x, c["shortcut"], f"{name}.shortcut")
        x = self.layer(x, c["in_bottle"], f"{name}.in_bottle")
        x = self.node(x, c["cell"], f"{name}.cell")
        x = self.norm(self.layer(x, c["out_bottle"], f"{name}.out_bottle"), f"{name}.final_bn")
        x[:, : shortcut.shape[1]] += shortcut
        return x

    def __call__(self, x):
        d = self.document
        for index, block in enumerate(d["blocks"]) if d["name"] == "PyramidTreeNet" else []:
            name = f"blocks.{index}"
            if "cell" in block:
                x = self.tree_block(x, block, name)
            for number, layer in enumerate(block.get("layers", [])):
                x = self.layer(x, layer, f"{name}.layers.{number}")
        if d["name"] != "PyramidTreeNet":
            x = self.layer(x, d["first_conv"], "first_conv")
            for index, block in enumerate(d["blocks"]):
                c = block["mobile_inverted_conv"]
                if c["name"] != "ZeroLayer":
                    y = self.bottleneck(x, c, f"blocks.{index}.mobile_inverted_conv")
                    x = y if block["shortcut"] is None else y + x
            if "final_expand_layer" in d:
                x = self.layer(x, d["final_expand_layer"], "final_expand_layer")
                x = x.mean((2, 3), keepdim=True)
            x = self.layer(x, d["feature_mix_layer"], "feature_mix_layer")
            x = x.mean((2, 3), keepdim=True)
        weight, bias = self.t["classifier.linear.weight"], self.t["classifier.linear.bias"]
        return x.flatten(1) @ weight.t() + bias


def randomised(document, seed=0):
    """A checkpoint of random tensors under the published names."""
    generator = torch.Generator().manual_seed(seed)
    tensors = published_state_dict(build_network(from_net_config(document), seed=seed))
    for name, tensor in tensors.items():
        if name.endswith(("running_var", "bn.weight", "bns.0.weight", "bns.1.weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.ndim == 1 and tensor.is_floating_point():
            tensor.normal_(0, 0.3, generator=generator)
    return tensors


@pytest.mark.parametrize("form", [proxyless, mobilenet, pyramid])
def test_outputs_equal_an_independent_evaluation(form, tmp_path):
    document = form()
    tensors = randomised(document)
    torch.save({"state_dict": tensors, "epoch": 7}, tmp_path / "weights.pth")
    network = load_published_weights(from_net_config(document), tmp_path / "weights.pth")
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want, got = Published(document, tensors)(images), network(images)
    assert want.std() > 1e-3
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))
    assert not network.training


def test_published_names_are_those_of_the_published_files():
    names = set(randomised(proxyless()))
    assert {
        "first_conv.conv.weight",
        "first_conv.bn.running_mean",
        "blocks.1.mobile_inverted_conv.inverted_bottleneck.conv.weight",
        "blocks.2.mobile_inverted_conv.depth_conv.bn.weight",
        "blocks.2.mobile_inverted_conv.point_linear.bn.bias",
        "feature_mix_layer.conv.weight",
        "classifier.linear.bias",
    } <= names
    assert not any(name.startswith("blocks.3.") for name in names)
    trees = set(randomised(pyramid()))
    assert {
        "blocks.0.layers.0.conv.weight",
        "blocks.0.layers.1.bn.weight",
        "blocks.1.in_bottle.bn.weight",
        "blocks.1.cell.edges.0.conv.weight",
        "blocks.1.cell.child_nodes.0.branch_bns.1.weight",
        "blocks.2.cell.child_nodes.0.child_nodes.0.child_nodes.0.edges.0.point_conv.weight",
        "blocks.2.final_bn.running_var",
        "blocks.3.layers.0.bn.weight",
    } <= trees


def test_the_bare_dict_and_the_prefix_of_several_gpus_are_taken(tmp_path):
    tensors = randomised(proxyless())
    arch = from_net_config(proxyless())
    without = {k: v for k, v in tensors.items() if not k.endswith("num_batches_tracked")}
    torch.save(without, tmp_path / "bare.pth")
    torch.save({f"module.{k}": v for k, v in tensors.items()}, tmp_path / "parallel.pth")
    first = load_published_weights(arch, tmp_path / "bare.pth")
    second = load_published_weights(arch, tmp_path / "parallel.pth")
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(first(images), second(images))


def broken(change):
    tensors = randomised(proxyless())
    change(tensors)
    return tensors


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("first_conv.conv.weight"), "missing 1: first_conv.conv.weight"),
        (lambda t: t.update({"extra.weight": torch.zeros(2)}), "left over 1: extra.weight"),
        (
            lambda t: t.update({"classifier.linear.bias": torch.zeros(3)}),
            r"classifier.linear.bias: \(3,\) instead of \(10,\)",
        ),
        (
            lambda t: t["first_conv.bn.weight"].fill_(float("nan")),
            "not finite numbers 1: first_conv.bn.weight",
        ),
    ],
)
def test_every_difference_is_listed_and_nothing_is_changed(change, text):
    network = build_network(from_net_config(proxyless()), seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ArchitectureError, match=text):
        fill_from_published(network, broken(change), "weights.pth")
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_a_pickle_payload_is_refused_and_never_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Payload()}, path)
    with pytest.raises(ArchitectureError, match="loaded safely"):
        load_published_weights(from_net_config(proxyless()), path)
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ArchitectureError, match="loaded safely"):
        load_published_weights(from_net_config(proxyless()), path)
    assert not (tmp_path / "executed").exists()


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({"state_dict": {"a": 1}}, tmp_path / "odd.pth")
    with pytest.raises(ArchitectureError, match="must hold tensors only: 'a' is a int"):
        load_published_weights(from_net_config(proxyless()), tmp_path / "odd.pth")
