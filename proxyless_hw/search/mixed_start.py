"""A common start for candidates of different structure: ``mbconv``, ``uib``, ``fused_mbconv``.

Where a depthwise convolution stands differs between them, or a whole convolution takes its place.
They begin as the one map that all of them can hold: the expansion, the activation and the
projection of the narrowest, at each pixel. Spatial kernels begin as the identity, plus noise. A
depthwise convolution behind the expansion has a BatchNorm that would centre what the activation
gave, and an activation that would cut it again: this BatchNorm begins with the mean and the
deviation of an activated normal variable, so that it passes on what it receives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from proxyless_hw.network.ops import Bottleneck
from proxyless_hw.network.start import NOISE, convolution

_QUANTILES = 4096


@torch.no_grad()
def align_structures(blocks: Sequence[Bottleneck], generator: torch.Generator) -> None:
    """Gives candidates of one slot the same expansion and projection, and identities between them.

    Args:
        blocks: with the same input and output channels, each with a dense expansion.
        generator: draws what they share.
    """
    widths = [len(_weight(block, "expand")) for block in blocks]
    width, in_c = min(widths), _weight(blocks[0], "expand").shape[1]
    out_c = len(_weight(blocks[0], "project"))
    expand = _drawn((width, in_c), width, generator)
    project = _drawn((out_c, width), out_c, generator)
    for block in blocks:
        _begin_expansion(_weight(block, "expand"), expand, generator)
        for name in ("start", "depthwise"):
            if hasattr(block, name):
                kernel = _weight(block, name)
                kernel *= NOISE
                _centre(kernel).add_(1)
        if hasattr(block, "depthwise"):
            _pass_on(block.get_submodule("depthwise"))
        own = _weight(block, "project")
        own *= NOISE
        _centre(own)[:, :width] += project.to(own)


def _begin_expansion(own: Tensor, shared: Tensor, generator: torch.Generator) -> None:
    """The shared map in the first channels; the others are maps of their own, at each pixel too."""
    width = len(shared)
    if own.shape[-1] == 1:
        own[:width] *= NOISE
    else:
        own *= NOISE
        rest = (len(own) - width, own.shape[1])
        _centre(own)[width:] += _drawn(rest, width, generator).to(own)
    _centre(own)[:width] += shared.to(own)


def _pass_on(part: nn.Module) -> None:
    """Sets a BatchNorm so that what an activation gave passes, if that was normal before it."""
    norm = part.get_submodule("bn")
    assert isinstance(norm, nn.BatchNorm2d)
    if not hasattr(part, "act"):
        return
    levels = (torch.arange(_QUANTILES, dtype=torch.float64) + 0.5) / _QUANTILES
    activated = part.get_submodule("act")(torch.special.ndtri(levels))
    nn.init.constant_(norm.weight, float(activated.std()))
    nn.init.constant_(norm.bias, float(activated.mean()))


def _weight(block: Bottleneck, name: str) -> Tensor:
    return convolution(block.get_submodule(name))


def _centre(kernel: Tensor) -> Tensor:
    """The middle tap of every kernel, a view."""
    middle = kernel.shape[-1] // 2
    return kernel[:, :, middle, middle]


def _drawn(shape: tuple[int, int], fan_out: int, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * math.sqrt(2 / fan_out)
