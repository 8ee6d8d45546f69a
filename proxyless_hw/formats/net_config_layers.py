"""Single layers of a published ``net.config`` as `LayerSpec`, and back."""

from __future__ import annotations

from typing import Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.net_config_fields import (
    ACTS,
    MAX_POOL_STRIDE,
    NORM_FIRST,
    WEIGHT_FIRST,
    LayerFields,
)
from proxyless_hw.space.limits import MAX_CHANNELS
from proxyless_hw.space.specs import ZERO, LayerSpec, OpVariant, op_variant
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.fields import Fields

_ACT_NAMES: Final = {name: key for key, name in ACTS.items()}
_BASES: Final = {"ConvLayer": "conv", "DepthConvLayer": "sepconv", "IdentityLayer": "identity"}


def layer_from(value: object, where: str) -> LayerSpec:
    """A ConvLayer, DepthConvLayer, PoolingLayer or IdentityLayer.

    Raises:
        ArchitectureError: a rule is broken; the message names the place.
    """
    layer = LayerFields(
        value, where, "ConvLayer", "DepthConvLayer", "PoolingLayer", "IdentityLayer"
    )
    in_c, out_c = layer.channels("in_channels"), layer.channels("out_channels")
    use_bn, act, norm_first = layer.flag("use_bn"), layer.act(), layer.norm_first()
    if layer.name == "PoolingLayer":
        return _pooling(layer, in_c, out_c, use_bn, act, norm_first)
    if layer.name == "IdentityLayer":
        _same_channels(layer, in_c, out_c)
        # Nothing lies between the two orders here: BatchNorm, then activation.
        return LayerSpec("identity_pre" if use_bn else "identity", in_c, out_c, act=act)
    if layer.flag("use_se", default=False):
        layer.fail("use_se", "must be false outside a block")
    groups = layer.whole("groups", 1, MAX_CHANNELS)
    if in_c % groups or out_c % groups:
        layer.fail("groups", f"must divide {in_c} and {out_c} channels", groups)
    variant = OpVariant(
        base=_BASES[layer.name],
        pre=norm_first and (use_bn or act != "none"),
        no_norm=not use_bn,
        bias=layer.flag("bias"),
        groups=groups,
        shuffle=layer.flag("has_shuffle") and groups > 1,
        dilation=layer.whole("dilation", 1, 16),
    )
    return LayerSpec(
        variant.name,
        in_c,
        out_c,
        kernel=layer.kernel(),
        stride=layer.whole("stride", 1, 2),
        act=act,
    )


def _pooling(
    layer: LayerFields, in_c: int, out_c: int, use_bn: bool, act: str, norm_first: bool
) -> LayerSpec:
    _same_channels(layer, in_c, out_c)
    kind = layer.choice("pool_type", ("avg", "max"))
    if use_bn != norm_first and (use_bn or act != "none"):
        layer.fail("ops_order", "of a pooling layer puts BatchNorm first", "another")
    stride = layer.whole("stride", 1, MAX_POOL_STRIDE)
    kernel = layer.kernel(even=stride > 1)
    op = f"{kind}pool_pre" if use_bn else f"{kind}pool"
    return LayerSpec(op, in_c, out_c, kernel=kernel, stride=stride, act=act)


def _same_channels(layer: LayerFields, in_c: int, out_c: int) -> None:
    if in_c != out_c:
        layer.fail("out_channels", f"of {layer.name} must be its in_channels, {in_c}", out_c)


def layer_to(layer: LayerSpec, order: str) -> JsonObject:
    """The published form of a layer; `order` is written where it makes no difference.

    Raises:
        ArchitectureError: the published form has no such layer.
    """
    variant = op_variant(layer.op)
    common = {
        "in_channels": layer.in_c,
        "out_channels": layer.out_c,
        "use_bn": not variant.no_norm,
        "act_func": act_name(layer),
        "dropout_rate": 0,
        "ops_order": order,
    }
    if variant.base == "identity":
        return {"name": "IdentityLayer", **common, "use_bn": variant.pre}
    if variant.base in ("avgpool", "maxpool"):
        pooling = {
            "name": "PoolingLayer",
            "pool_type": variant.base[:3],
            "kernel_size": layer.kernel,
            "stride": layer.stride,
        }
        if layer.act != "none" or variant.pre:
            common["ops_order"] = NORM_FIRST if variant.pre else WEIGHT_FIRST
        return {**pooling, **common, "use_bn": variant.pre}
    if variant.base not in ("conv", "sepconv"):
        raise ArchitectureError(f"a net.config has no layer for op '{layer.op}'.")
    if layer.act != "none" or not variant.no_norm:
        common["ops_order"] = NORM_FIRST if variant.pre else WEIGHT_FIRST
    return {
        "name": "ConvLayer" if variant.base == "conv" else "DepthConvLayer",
        "kernel_size": layer.kernel,
        "stride": layer.stride,
        "dilation": variant.dilation,
        "groups": variant.groups,
        "bias": variant.bias,
        "has_shuffle": variant.shuffle,
        **common,
    }


def act_name(layer: LayerSpec) -> str | None:
    """The published name of a layer's activation.

    Raises:
        ArchitectureError: it has none there.
    """
    if layer.act not in _ACT_NAMES:
        raise ArchitectureError(f"a net.config has no activation '{layer.act}'.")
    return _ACT_NAMES[layer.act]


def linear_from(value: object, where: str) -> tuple[list[LayerSpec], LayerSpec]:
    """The classifier, and the BatchNorm and activation that come before it, if any.

    Raises:
        ArchitectureError: a rule is broken.
    """
    layer = LayerFields(value, where, "LinearLayer")
    in_c, classes = layer.channels("in_features"), layer.channels("out_features")
    if not layer.flag("bias"):
        layer.fail("bias", "must be true", False)
    use_bn, act, norm_first = layer.flag("use_bn"), layer.act(), layer.norm_first()
    before: list[LayerSpec] = []
    if use_bn or act != "none":
        if not norm_first:
            layer.fail("ops_order", f"must be {NORM_FIRST} around a classifier", WEIGHT_FIRST)
        # Over the 1x1 map that global pooling leaves.
        before.append(LayerSpec("pool", in_c, in_c))
        before.append(LayerSpec("identity_pre" if use_bn else "identity", in_c, in_c, act=act))
    return before, LayerSpec("classifier", in_c, classes)


def linear_to(layers: list[LayerSpec], order: str) -> JsonObject:
    """The published form of the classifier with what comes before it.

    Args:
        layers: the classifier, or a BatchNorm or activation and the classifier.
        order: written where it makes no difference.
    """
    *before, classifier = layers
    norm = before[0] if before else None
    return {
        "name": "LinearLayer",
        "in_features": classifier.in_c,
        "out_features": classifier.out_c,
        "bias": True,
        "use_bn": norm is not None and op_variant(norm.op).pre,
        "act_func": None if norm is None else act_name(norm),
        "dropout_rate": 0,
        "ops_order": order if norm is None else NORM_FIRST,
    }


def mbconv_from(block: Fields, key: str, kind: str) -> LayerSpec:
    """A mobile inverted bottleneck with or without its shortcut, or a removed block.

    Args:
        block: the block.
        key: its field that holds the convolution.
        kind: the convolution's name where the block is not removed.

    Raises:
        ArchitectureError: a rule is broken.
    """
    has_shortcut = block.get("shortcut") is not None
    layer = LayerFields(*block.at(key), kind, "ZeroLayer")
    if has_shortcut:
        link = layer_from(*block.at("shortcut"))
        if not (link.op == "identity" and link.act == "none"):
            block.fail("shortcut", "must be a plain IdentityLayer or null")
    if layer.name == "ZeroLayer":
        if layer.whole("stride", 1, 2) != 1 or not has_shortcut:
            block.fail(key, "of a removed block needs stride 1 and a shortcut")
        return LayerSpec(ZERO, link.in_c, link.out_c, skip=True)
    if layer.values.get("groups") is not None:
        layer.fail("groups", "must be null: depthwise")
    in_c, out_c = layer.channels("in_channels"), layer.channels("out_channels")
    stride = layer.whole("stride", 1, 2)
    if has_shortcut and (stride != 1 or in_c != out_c or link.in_c != in_c):
        around = f"stride {stride}, {in_c} to {out_c} channels around a shortcut of {link.in_c}"
        block.fail("shortcut", "needs stride 1 and equal channels", around)
    return LayerSpec(
        "mbconv",
        in_c,
        out_c,
        kernel=layer.kernel(),
        stride=stride,
        expand=_expand(layer, in_c),
        skip=has_shortcut,
        act=layer.act(),
        se=int(layer.flag("use_se")),
    )


def _expand(layer: LayerFields, in_c: int) -> float:
    ratio = layer.number("expand_ratio", 1, 64)
    middle = round(in_c * ratio)
    if layer.values["mid_channels"] is not None:
        middle = layer.channels("mid_channels")
    if (middle == in_c) != (ratio == 1):
        layer.fail("mid_channels", f"does not agree with expand_ratio {ratio:g}", middle)
    exact = ratio if middle == round(in_c * ratio) else middle / in_c
    return int(exact) if float(exact).is_integer() else float(exact)
