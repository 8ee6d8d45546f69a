"""Counts from shapes alone, against the published counts and against real modules."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
import torch
from torch import nn

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import (
    count_macs,
    count_parameters,
    op_bytes,
    op_macs,
    op_parameters,
)
from proxyless_hw.space.footprint import memory_bytes
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec


def macs_by_forward(network: nn.Module, resolution: int) -> int:
    """Counts with hooks on a real forward pass: an independent way."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            taps = module.kernel_size[0] * module.kernel_size[1]
            per_output = taps * module.in_channels // module.groups
            total += per_output * output.numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, resolution, resolution))
    for hook in hooks:
        hook.remove()
    return total


# Counts of the published code (parameters; MACs rounded to 10,000), and torchvision's parameters.
@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("proxyless-cpu", 4_361_648, 439.24),
        ("proxyless-gpu", 7_119_848, 465.26),
        ("proxyless-mobile", 4_080_512, 320.43),
        ("proxyless-cifar", 5_731_530, 1213.16),
        ("mobilenet-v2", 3_504_872, None),
        ("mobilenet-v3-large", 5_483_032, None),
        ("mobilenet-v3-small", 2_542_856, None),
        ("mnasnet-b1", 4_383_312, None),
        ("mnasnet-a1", 3_887_038, None),
        # torchvision's; those of the files that timm publishes.
        ("efficientnet-b0", 5_288_548, None),
        ("efficientnet-lite0", 4_652_008, None),
        ("efficientnet-lite1", 5_416_680, None),
        ("efficientnet-lite2", 6_092_072, None),
        ("efficientnet-lite3", 8_197_096, None),
        ("efficientnet-lite4", 13_006_568, None),
        ("fbnet-c", 5_572_200, None),
        ("mobilenet-v4-conv-small", 3_774_024, 186.01),
        ("mobilenet-v4-conv-medium", 9_715_512, 1080.24),
        ("mobilenet-v4-conv-large", 32_590_864, 6376.22),
    ],
)
def test_counts_equal_the_published_ones(name, parameters, macs):
    arch = zoo_architecture(name)
    assert count_parameters(arch) == parameters
    if macs is not None:
        assert round(count_macs(arch) / 1e6, 2) == macs


# mit-han-lab's table of MCUNet: parameters and MACs in millions, activations of int8 in KiB.
@pytest.mark.parametrize(
    ("name", "parameters", "macs", "activations"),
    [("mcunet-256kb", 0.73, 67.3, 325), ("mcunet-320kb", 0.74, 81.8, 333)],
)
def test_counts_of_mcunet_are_the_published_ones(name, parameters, macs, activations):
    arch = zoo_architecture(name)
    assert round(count_parameters(arch) / 1e6, 2) == parameters
    assert round(count_macs(arch) / 1e6, 1) == macs
    assert round(memory_bytes(arch, "int8") / 1024) == activations


@pytest.mark.parametrize(
    ("space", "resolution"),
    [("imagenet", 96), ("mobilenet-v3-w1.2", 64), ("cifar-mbconv", 32), ("cifar-tree", 32)],
)
def test_counts_equal_those_of_the_built_network(space, resolution):
    found = SearchSpace.load(space)
    rng = random.Random(0)
    choices = [rng.randrange(len(slot.candidates)) for slot in found.slots]
    arch = Architecture.from_choices(found, choices)
    network = build_network(arch, seed=0)
    assert count_parameters(arch) == sum(p.numel() for p in network.parameters())
    assert count_macs(arch, resolution) == macs_by_forward(network, resolution)


def test_an_odd_resolution_is_counted_as_it_runs():
    arch = zoo_architecture("proxyless-mobile")
    network = build_network(arch, seed=0)
    assert count_macs(arch, 97) == macs_by_forward(network, 97)


def test_the_parts_of_a_network_add_up():
    arch = zoo_architecture("mnasnet-a1")
    assert sum(op_parameters(op) for op in arch.ops()) == count_parameters(arch)
    assert sum(op_macs(op) for op in arch.ops()) == count_macs(arch)


def test_bytes_of_a_pointwise_convolution_by_hand():
    op = OpSpec("conv_nobn", 4, 4, 8, 4, 4, 16)
    assert op_bytes(op) == 4 * (8 * 16 + 4 * 4 * 8 + 4 * 4 * 16)


def test_an_op_that_nobody_registered_cannot_be_counted():
    with pytest.raises(ArchitectureError, match="no op 'fused'"):
        op_macs(OpSpec("fused", 4, 4, 8, 4, 4, 16))


def test_counting_needs_no_torch():
    code = (
        "import sys; from proxyless_hw.formats.zoo import zoo_architecture as z; "
        "from proxyless_hw.space.counting import count_macs; "
        "count_macs(z('proxyless-mobile')); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
