"""A common start for the candidates of a slot, so that a short search can train its supernet.

A departure from the paper, which draws every candidate independently and trains for 160 epochs of
ImageNet. Under uniform sampling the layers behind a slot see a different random map at every step,
and within a few hundred steps such a supernet learns nothing. Here all candidates of a slot begin
as nearly the same map: the smallest one, embedded in the middle of larger kernels and in the first
half of wider expansions, plus a little noise of their own (`mixed_start` where their structures
differ); and blocks with a shortcut begin as the identity, which is what Zero is. Their weights are
separate and part ways from the first step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from proxyless_hw.network.grouped import dense_views
from proxyless_hw.network.ops import Bottleneck, MBConv
from proxyless_hw.network.start import NOISE, begin_as_shortcut, convolution
from proxyless_hw.search.mixed_start import align_structures
from proxyless_hw.search.supernet import MixedOp, SuperNet


@torch.no_grad()
def align_candidates(supernet: SuperNet, seed: int) -> None:
    """Gives the bottlenecks of each slot a common start; other ops are left as drawn."""
    generator = torch.Generator().manual_seed(seed)
    for mixed in supernet.modules():
        if isinstance(mixed, MixedOp):
            blocks = [part for part in mixed.candidates if isinstance(part, Bottleneck)]
            expanded = [block for block in blocks if block.expand is not None]
            alike = [block for block in expanded if isinstance(block, MBConv)]
            if len(alike) < len(expanded):
                align_structures([block for block in expanded if _is_dense(block)], generator)
            elif len(expanded) > 1:
                _align(alike, generator)
            if mixed.has_shortcut and len(mixed.candidates) > 1:
                for block in blocks:
                    begin_as_shortcut(block)


def _is_dense(block: Bottleneck) -> bool:
    expand = block.get_submodule("expand.conv")
    assert isinstance(expand, nn.Conv2d)
    return expand.groups == 1


def _align(blocks: list[MBConv], generator: torch.Generator) -> None:
    width = min(convolution(block.depthwise).shape[0] for block in blocks)
    kernel = min(convolution(block.depthwise).shape[-1] for block in blocks)
    views = [dense_views(block) for block in blocks]
    # From and to the channels of the depthwise layers.
    inward = torch.stack([into.connected[:width] for into, _ in views]).all(0)
    outward = torch.stack([out.connected[:, :width] for _, out in views]).all(0)

    def draw(*shape: int, fan_out: int) -> Tensor:
        return torch.randn(shape, generator=generator) * math.sqrt(2 / fan_out)

    expand = _thinned(draw(*inward.shape, fan_out=width), inward)
    depthwise = draw(width, 1, kernel, kernel, fan_out=kernel * kernel)
    project = _thinned(draw(*outward.shape, fan_out=len(outward)), outward)
    for block, (into, out) in zip(blocks, views, strict=True):
        own = into.read()
        own[:width] = own[:width] * NOISE + expand.to(own)
        into.write(own)
        own = convolution(block.depthwise)
        rest = own.shape[0] - width
        margin = (own.shape[-1] - kernel) // 2
        middle = slice(margin, margin + kernel)
        own *= NOISE
        own[:width, :, middle, middle] += depthwise.to(own)
        own[width:, :, middle, middle] += draw(rest, 1, kernel, kernel, fan_out=kernel * kernel).to(
            own
        )
        own = out.read() * NOISE
        own[:, :width] += project.to(own)
        out.write(own)


def _thinned(drawn: Tensor, kept: Tensor) -> Tensor:
    """The kept entries of a drawn matrix, scaled to the variance that all of them had together."""
    return drawn * kept * math.sqrt(kept.numel() / max(int(kept.sum()), 1))
