"""A start for short trainings: nearly the identity.

Residual blocks begin as their shortcut (Goyal et al., 2017: the last BatchNorm's scale is 0), and
depthwise kernels larger than 3x3 as a 3x3 one in their middle. A search lets its supernet's
candidates begin in the same way (`proxyless_hw.search.start`), so a network that is trained on its
own for a few epochs starts from where the search saw it.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import nn

from proxyless_hw.network.ops import Bottleneck, Residual

NOISE: Final = 0.1
"""Scale of what lies around the middle of a large kernel, relative to an independent start."""

CENTRE: Final = 3
"""Side of the kernel that larger ones begin as."""


@torch.no_grad()
def identity_start(network: nn.Module, seed: int) -> None:
    """Changes freshly drawn weights in place; ops that are no bottlenecks stay as drawn.

    Args:
        network: a network whose weights were just drawn.
        seed: seeds the middles of the larger kernels.
    """
    generator = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, Residual) and isinstance(part.body, Bottleneck):
            begin_as_shortcut(part.body)
        elif isinstance(part, Bottleneck):
            for name in ("start", "depthwise"):
                if hasattr(part, name):
                    _begin_small(convolution(part.get_submodule(name)), generator)


def begin_as_shortcut(block: Bottleneck) -> None:
    """Sets the scale of a block's last BatchNorm to 0: with a shortcut it is then the identity."""
    norm = block.get_submodule("project.bn")
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)


def convolution(part: nn.Module | None) -> torch.Tensor:
    """The weight of a convolution with BatchNorm, to be changed in place."""
    found = part.get_submodule("conv") if part is not None else None
    assert isinstance(found, nn.Conv2d)
    weight: torch.Tensor = found.weight.data
    return weight


def _begin_small(kernel: torch.Tensor, generator: torch.Generator) -> None:
    margin = (kernel.shape[-1] - CENTRE) // 2
    if margin <= 0:
        return
    middle = slice(margin, margin + CENTRE)
    drawn = torch.randn((len(kernel), 1, CENTRE, CENTRE), generator=generator)
    kernel *= NOISE
    kernel[:, :, middle, middle] += (drawn * math.sqrt(2 / CENTRE**2)).to(kernel)
