"""Modules of ops with modifiers: pre-activation, grouped, dilated, pooling, identity.

Layer conventions are those of the published code: padding is half the kernel times the dilation,
strided pooling is not padded, averages leave the padding out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, OpVariant


class ChannelShuffle(nn.Module):
    """Interleaves the channels of `groups` groups (Zhang et al., ShuffleNet, CVPR 2018)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.channels = channels
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        grouped = x.reshape(-1, self.groups, self.channels // self.groups, height, width)
        return grouped.transpose(1, 2).reshape(-1, self.channels, height, width)


def build_variant(
    layer: LayerSpec,
    variant: OpVariant,
    batch_norm: BatchNormSpec,
    activations: Mapping[str, Callable[[], nn.Module]],
) -> nn.Module:
    """Builds a layer of a base op with modifiers, in the order its name says.

    Args:
        layer: the layer.
        variant: what its op name says.
        batch_norm: settings of its BatchNorm, where it has one.
        activations: builders of the activation modules.
    """
    weights = _weights(layer, variant)
    around: list[tuple[str, nn.Module]] = []
    if _has_norm(variant):
        channels = layer.in_c if variant.pre else layer.out_c
        norm = nn.BatchNorm2d(channels, eps=batch_norm.eps, momentum=batch_norm.momentum)
        around.append(("bn", norm))
    if layer.act != "none":
        # Without a BatchNorm before it an in-place activation would change its shared input.
        act = activations[layer.act]()
        if variant.pre and not around:
            _keep_input(act)
        around.append(("act", act))
    ordered = around + weights if variant.pre else weights + around
    sequence = nn.Sequential()
    for name, module in ordered:
        sequence.add_module(name, module)
    return sequence if ordered else nn.Identity()


def _keep_input(act: nn.Module) -> None:
    if isinstance(act, nn.ReLU | nn.ReLU6 | nn.Hardswish | nn.SiLU | nn.Hardtanh):
        act.inplace = False


def _has_norm(variant: OpVariant) -> bool:
    """Pooling and identity layers are normalised only where their name says ``pre``."""
    return not variant.no_norm and (variant.pre or variant.base in ("conv", "sepconv"))


def _weights(layer: LayerSpec, variant: OpVariant) -> list[tuple[str, nn.Module]]:
    in_c, out_c, kernel, stride = layer.in_c, layer.out_c, layer.kernel, layer.stride
    padding = kernel // 2 * variant.dilation
    pool_padding = kernel // 2 if stride == 1 else 0
    modules: list[tuple[str, nn.Module]] = []
    match variant.base:
        case "conv":
            convolution = nn.Conv2d(
                in_c,
                out_c,
                kernel,
                stride,
                padding,
                dilation=variant.dilation,
                groups=variant.groups,
                bias=variant.bias,
            )
            modules.append(("conv", convolution))
        case "sepconv":
            depthwise = nn.Conv2d(
                in_c,
                in_c,
                kernel,
                stride,
                padding,
                dilation=variant.dilation,
                groups=in_c,
                bias=False,
            )
            pointwise = nn.Conv2d(in_c, out_c, 1, groups=variant.groups, bias=variant.bias)
            modules += [("depth_conv", depthwise), ("point_conv", pointwise)]
        case "avgpool":
            pool = nn.AvgPool2d(kernel, stride, pool_padding, count_include_pad=False)
            modules.append(("pool", pool))
        case "maxpool":
            modules.append(("pool", nn.MaxPool2d(kernel, stride, pool_padding)))
    if variant.shuffle and variant.groups > 1:
        modules.append(("shuffle", ChannelShuffle(out_c, variant.groups)))
    return modules


def widened(narrow: Tensor, channels: int) -> Tensor:
    """Appends zero channels to (N, C, H, W) until it has `channels` of them."""
    # Plain ints: a tracing exporter would otherwise write the padding as a computation.
    missing = int(channels) - int(narrow.shape[1])
    if missing == 0:
        return narrow
    return torch.nn.functional.pad(narrow, (0, 0, 0, 0, 0, missing))
