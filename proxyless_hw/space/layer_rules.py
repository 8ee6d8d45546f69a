"""The rules that the layers of every network keep."""

from __future__ import annotations

from collections.abc import Sequence

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.space.bottlenecks import broken_rule, built_in_options
from proxyless_hw.space.limits import MAX_IMAGE_CHANNELS
from proxyless_hw.space.op_names import CONVOLUTION_BLOCKS
from proxyless_hw.space.specs import LayerSpec, describe, op_variant


def check_layers(layers: Sequence[LayerSpec], num_classes: int, *, chained: bool) -> None:
    """Checks every layer by itself and, in a chain, that it takes what the one before it gives.

    Args:
        layers: all layers in order, removed blocks included.
        num_classes: what the classifier has to give.
        chained: whether each layer's input is the output of the one before it.

    Raises:
        ArchitectureError: a rule is broken; the message names the layer.
    """
    if not layers or layers[-1].op != "classifier":
        last = describe(layers[-1]) if layers else "no layer at all"
        raise ArchitectureError(f"a network ends with a classifier: received {last} at the end.")
    channels = layers[0].in_c
    if channels > MAX_IMAGE_CHANNELS:
        raise ArchitectureError(
            f"the first layer takes images of 1 to {MAX_IMAGE_CHANNELS} channels: received "
            f"{describe(layers[0])} with {channels}."
        )
    for index, layer in enumerate(layers):
        name = f"layer {index} ({describe(layer)})"
        _check_layer(layer, name)
        if layer.op == "classifier" and layer is not layers[-1]:
            raise ArchitectureError(f"layer {index}: only the last layer may be the classifier.")
    for index, layer in enumerate(layers if chained else ()):
        if layer.in_c != channels:
            raise ArchitectureError(
                f"layer {index} ({describe(layer)}) takes {layer.in_c} channels but receives "
                f"{channels}."
            )
        channels = layer.out_c
    if layers[-1].out_c != num_classes:
        raise ArchitectureError(
            f"the classifier gives {layers[-1].out_c} classes, the network names {num_classes}."
        )


def _check_layer(layer: LayerSpec, name: str) -> None:
    variant = op_variant(layer.op)
    pooling = variant.base in ("avgpool", "maxpool")
    if layer.kernel % 2 == 0 and not (pooling and layer.stride > 1):
        raise ArchitectureError(f"{name}: kernel sizes are odd: received {layer.kernel}.")
    if layer.stride > 2 and not pooling:
        raise ArchitectureError(f"{name}: strides are 1 or 2: received {layer.stride}.")
    if layer.mid_c < 1:
        raise ArchitectureError(
            f"{name}: an expansion by {layer.expand:g} of {layer.in_c} channels leaves none."
        )
    if variant.base in CONVOLUTION_BLOCKS:
        _check_convolution_block(layer, name)
    same_channels = layer.in_c == layer.out_c
    if (layer.skip or layer.is_zero) and not (layer.stride == 1 and same_channels):
        raise ArchitectureError(
            f"{name}: a shortcut needs stride 1 and equal channels: received stride "
            f"{layer.stride}, {layer.in_c} to {layer.out_c} channels."
        )
    if (pooling or variant.base in ("identity", "pool")) and not same_channels:
        raise ArchitectureError(
            f"{name} keeps its channels: received {layer.in_c} to {layer.out_c}."
        )
    channels = [layer.in_c, layer.mid_c, layer.out_c]
    if variant.groups > 1 and any(width % variant.groups for width in channels):
        raise ArchitectureError(
            f"{name}: {variant.groups} groups must divide its channels: received "
            f"{' to '.join(map(str, channels if variant.base == 'mbconv' else channels[::2]))}."
        )
    if variant.pw and layer.expand != 1:
        raise ArchitectureError(
            f"{name}: 'mbconv_pw' is the block that does not expand and has a 1x1 convolution "
            f"before the depthwise one: received expansion {layer.expand:g}. Write mbconv."
        )


def _check_convolution_block(layer: LayerSpec, name: str) -> None:
    try:
        options = built_in_options(layer.op, layer.options)
    except ValueError as cause:
        raise ArchitectureError(f"{name}: {cause}.") from cause
    if options != layer.options:
        raise ArchitectureError(
            f"{name}: an option that says nothing is left out, so that one block has one key: "
            f"received {layer.options.to_text(', ')}. Leave it out."
        )
    rule = broken_rule(layer)
    if rule is not None:
        raise ArchitectureError(f"{name}: {rule}.")
