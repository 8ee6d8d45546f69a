"""Builders: a `LayerSpec` becomes a torch module, (N, in_c, H, W) to (N, out_c, H', W')."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from proxyless_hw.network.drop_path import drop_path
from proxyless_hw.network.variants import ChannelShuffle, build_variant
from proxyless_hw.space.bottlenecks import inner_convolutions
from proxyless_hw.space.built_counts import build_own
from proxyless_hw.space.specs import (
    BatchNormSpec,
    LayerSpec,
    has_expansion,
    op_variant,
    squeeze_act,
    squeeze_width,
)

_ACTIVATION_MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu6": lambda: nn.ReLU6(inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "hswish": lambda: nn.Hardswish(inplace=True),
    "swish": lambda: nn.SiLU(inplace=True),
}


def conv_bn_act(
    in_c: int,
    out_c: int,
    kernel: int,
    stride: int,
    act: str,
    batch_norm: BatchNormSpec,
    groups: int = 1,
) -> nn.Sequential:
    """Convolution without bias, BatchNorm, activation; padding is half the kernel."""
    modules: list[tuple[str, nn.Module]] = [
        (
            "conv",
            nn.Conv2d(in_c, out_c, kernel, stride, kernel // 2, groups=groups, bias=False),
        ),
        ("bn", nn.BatchNorm2d(out_c, eps=batch_norm.eps, momentum=batch_norm.momentum)),
    ]
    if act != "none":
        modules.append(("act", _ACTIVATION_MODULES[act]()))
    sequence = nn.Sequential()
    for name, module in modules:
        sequence.add_module(name, module)
    return sequence


class SqueezeExcite(nn.Module):
    """Squeeze-and-excite: channel gates from the global average (Hu et al., CVPR 2018).

    Args:
        channels: input channels.
        squeezed: channels of the bottleneck.
        hard: hard sigmoid (MobileNetV3) instead of the logistic one.
        act: activation of the bottleneck.
    """

    def __init__(self, channels: int, squeezed: int, hard: bool, act: str = "relu") -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = _ACTIVATION_MODULES[act]()
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.gate: nn.Module = nn.Hardsigmoid() if hard else nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.expand(self.act(self.reduce(pooled))))  # type: ignore[no-any-return]


class MBConv(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise k x k, [squeeze-excite], project 1x1.

    Both 1x1 convolutions may be grouped; then the channels may be shuffled behind the first one
    (Wu et al., FBNet, CVPR 2019, figure 3).

    The residual addition is not part of this module; see `Residual`.
    """

    def __init__(self, layer: LayerSpec, batch_norm: BatchNormSpec) -> None:
        super().__init__()
        mid_c, variant = layer.mid_c, op_variant(layer.op)
        self.expand: nn.Module | None = None
        if has_expansion(layer):
            self.expand = conv_bn_act(
                layer.in_c, mid_c, 1, 1, layer.act, batch_norm, variant.groups
            )
        self.shuffle = ChannelShuffle(mid_c, variant.groups) if variant.shuffle else None
        self.depthwise = conv_bn_act(
            mid_c, mid_c, layer.kernel, layer.stride, layer.act, batch_norm, groups=mid_c
        )
        self.se: nn.Module | None = None
        if layer.se:
            act = squeeze_act(layer.act, layer.se)
            self.se = SqueezeExcite(mid_c, squeeze_width(mid_c, layer.se), layer.se == 1, act)
        self.project = conv_bn_act(mid_c, layer.out_c, 1, 1, "none", batch_norm, variant.groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.expand is not None:
            x = self.expand(x)
        if self.shuffle is not None:
            x = self.shuffle(x)
        x = self.depthwise(x)
        if self.se is not None:
            x = self.se(x)
        return self.project(x)  # type: ignore[no-any-return]


class ConvolutionBlock(nn.Sequential):
    """Convolutions in a row, each with BatchNorm: ``uib`` and ``fused_mbconv``.

    Its parts have the names of `space.bottlenecks.InnerConvolution`. The residual addition is not
    part of this module; see `Residual`.
    """

    def __init__(self, layer: LayerSpec, batch_norm: BatchNormSpec) -> None:
        super().__init__()
        for inner in inner_convolutions(layer):
            part = conv_bn_act(
                inner.in_c,
                inner.out_c,
                inner.kernel,
                inner.stride,
                layer.act if inner.activated else "none",
                batch_norm,
                inner.groups,
            )
            self.add_module(inner.name, part)


Bottleneck = MBConv | ConvolutionBlock
"""Blocks whose last convolution, ``project``, is linear."""


class Residual(nn.Module):
    """``body(x) + x``.

    Attributes:
        drop_rate: in training, the share of images whose body is left out (see `drop_path`).
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.drop_rate = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.drop_rate > 0:
            return drop_path(self.body(x), self.drop_rate) + x
        return self.body(x) + x  # type: ignore[no-any-return]


class Classifier(nn.Module):
    """Global average pooling and a linear layer: (N, C, H, W) to (N, classes)."""

    def __init__(self, in_c: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_c, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x.mean((2, 3))))  # type: ignore[no-any-return]


class GlobalPool(nn.Module):
    """Global average pooling that keeps the map: (N, C, H, W) to (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)


def build_body(layer: LayerSpec, batch_norm: BatchNormSpec) -> nn.Module:
    """Builds a layer without its residual addition.

    Raises:
        ArchitectureError: the op is unknown.
        BackendUnavailableError: a registered third-party builder cannot be loaded.
    """
    match layer.op:
        case "skip":
            return nn.Identity()
        case "conv":
            return conv_bn_act(
                layer.in_c, layer.out_c, layer.kernel, layer.stride, layer.act, batch_norm
            )
        case "uib" | "fused_mbconv":
            return ConvolutionBlock(layer, batch_norm)
        case "pool":
            return GlobalPool()
        case "classifier":
            return Classifier(layer.in_c, layer.out_c)
    variant = op_variant(layer.op)
    if variant.base == "mbconv":
        return MBConv(layer, batch_norm)
    if not variant.is_custom:
        return build_variant(layer, variant, batch_norm, _ACTIVATION_MODULES)
    return build_own(layer, batch_norm)


def build_layer(layer: LayerSpec, batch_norm: BatchNormSpec) -> nn.Module:
    """Builds a layer as it is priced: with its residual addition where it has one.

    Raises:
        ArchitectureError, BackendUnavailableError: as `build_body`.
    """
    body = build_body(layer, batch_norm)
    return Residual(body) if layer.skip and not layer.is_zero else body


def init_weights(module: nn.Module, seed: int | None = None) -> None:
    """Draws weights: He fan-out normal for convolutions, 1 and 0 for BatchNorm, N(0, 0.01) linear.

    Args:
        module: initialised in place.
        seed: seeds a private generator; the global one is used (and advanced) when None.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            fan_out = part.out_channels * part.kernel_size[0] * part.kernel_size[1] // part.groups
            nn.init.normal_(part.weight, 0.0, (2.0 / fan_out) ** 0.5, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.01, generator=generator)
            nn.init.zeros_(part.bias)
