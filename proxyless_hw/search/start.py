"""A common start for the candidates of a slot, so that a short search can train its supernet.

A departure from the paper, which draws every candidate independently and trains for 160 epochs of
ImageNet. Under uniform sampling the layers behind a slot see a different random map at every step,
and within a few hundred steps such a supernet learns nothing. Here all candidates of a slot begin
as nearly the same map: the smallest one, embedded in the middle of larger kernels and in the first
half of wider expansions, plus a little noise of their own; and blocks with a shortcut begin as
the identity, which is what Zero is. Their weights are separate and part ways from the first step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from proxyless_hw.network.ops import MBConv
from proxyless_hw.network.start import NOISE, begin_as_shortcut, convolution
from proxyless_hw.search.supernet import MixedOp, SuperNet


@torch.no_grad()
def align_candidates(supernet: SuperNet, seed: int) -> None:
    """Gives the inverted bottlenecks of each slot a common start; other ops are left as drawn."""
    generator = torch.Generator().manual_seed(seed)
    for mixed in supernet.modules():
        if isinstance(mixed, MixedOp):
            blocks = [part for part in mixed.candidates if isinstance(part, MBConv)]
            expanded = [block for block in blocks if block.expand is not None]
            if len(expanded) > 1:
                _align(expanded, generator)
            if mixed.has_shortcut and len(mixed.candidates) > 1:
                for block in blocks:
                    begin_as_shortcut(block)


def _align(blocks: list[MBConv], generator: torch.Generator) -> None:
    width = min(convolution(block.depthwise).shape[0] for block in blocks)
    kernel = min(convolution(block.depthwise).shape[-1] for block in blocks)
    out_c = convolution(blocks[0].project).shape[0]
    in_c = convolution(blocks[0].expand).shape[1]

    def draw(*shape: int, fan_out: int) -> Tensor:
        return torch.randn(shape, generator=generator) * math.sqrt(2 / fan_out)

    expand = draw(width, in_c, 1, 1, fan_out=width)
    depthwise = draw(width, 1, kernel, kernel, fan_out=kernel * kernel)
    project = draw(out_c, width, 1, 1, fan_out=out_c)
    for block in blocks:
        own = convolution(block.expand)
        own[:width] = own[:width] * NOISE + expand.to(own)
        own = convolution(block.depthwise)
        rest = own.shape[0] - width
        margin = (own.shape[-1] - kernel) // 2
        middle = slice(margin, margin + kernel)
        own *= NOISE
        own[:width, :, middle, middle] += depthwise.to(own)
        own[width:, :, middle, middle] += draw(rest, 1, kernel, kernel, fan_out=kernel * kernel).to(
            own
        )
        own = convolution(block.project)
        own *= NOISE
        own[:, :width] += project.to(own)
