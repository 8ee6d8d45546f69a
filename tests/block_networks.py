"""Networks of a few blocks, with drawn BatchNorm statistics, and a space of two slots."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxyless_hw.network.network import Network, build_network
from proxyless_hw.search.supernet import SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec


def network_of(layers: list[LayerSpec]) -> Network:
    """A network of blocks, its BatchNorm statistics drawn, in eval mode."""
    stem = LayerSpec("conv", 3, layers[0].in_c, kernel=3, stride=2, act=layers[0].act)
    last = layers[-1].out_c
    arch = Architecture(
        "blocks", 24, 5, (stem,), tuple(layers), (LayerSpec("classifier", last, 5),),
        BatchNormSpec(),
    )  # fmt: skip
    return draw_statistics(build_network(arch, seed=0))


def draw_statistics(module: nn.Module) -> nn.Module:
    """Gives every BatchNorm other statistics and scales; eval mode."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_var, part.weight.data):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (part.running_mean, part.bias.data):
                tensor.normal_(0, 0.3, generator=generator)
    return module.eval()


def two_slots(candidates: Sequence[str]) -> str:
    """A space as YAML: a slot with a shortcut, of 8 channels, and one without."""
    rows = "".join(f"  - {candidate}\n" for candidate in candidates)
    return f"""
schema: proxyless-hw-space/1
id: two-slots
resolution: 16
num_classes: 4
stem: {{op: conv, kernel: 3, stride: 2, width: 8, act: relu}}
candidates:
{rows}zero: true
stages:
  - {{width: 8, depth: 1, stride: 1}}
  - {{width: 16, depth: 1, stride: 2}}
head: [{{op: classifier}}]
"""


def likeness(supernet: SuperNet, x: Tensor) -> Tensor:
    """Correlations of what the second slot's candidates give, (candidates, candidates)."""
    with torch.no_grad():
        maps = [path(x.clone()).flatten() for path in supernet.positions[1].candidates]
    return torch.corrcoef(torch.stack(maps))
