"""Published ``net.config`` files as architectures, and back, exactly.

Three networks write them: ProxylessNASNets and PyramidTreeNet of the ProxylessNAS repository, and
MobileNetV3 of Once-for-All, in the form of 2020 and in that of today's package. What a file holds
beyond the network itself (a dropout rate, a width given twice) is kept in the provenance as
differences from the plain form, so that it comes back.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.net_config_fields import (
    MOBILENET,
    PROXYLESS,
    PYRAMID,
    WEIGHT_FIRST,
    batch_norm_from,
    batch_norm_to,
)
from proxyless_hw.formats.net_config_layers import (
    act_name,
    layer_from,
    layer_to,
    linear_from,
    linear_to,
    mbconv_from,
)
from proxyless_hw.formats.net_config_tree import tree_from, tree_to
from proxyless_hw.space.architecture import Architecture, require_architecture
from proxyless_hw.space.limits import MAX_POSITIONS, MAX_RESOLUTION
from proxyless_hw.space.specs import LayerSpec, op_variant
from proxyless_hw.storage.fields import Fields

CHAIN_RESOLUTION: Final = 224
PROVENANCE: Final = "net_config"
_CHAIN_KEYS: Final = ("name", "bn", "first_conv", "blocks", "feature_mix_layer", "classifier")
_KEYS: Final = {PROXYLESS: _CHAIN_KEYS, MOBILENET: (*_CHAIN_KEYS, "final_expand_layer")}


def from_net_config(document: Mapping[str, Any], source: str = "net.config") -> Architecture:
    """Reads a published configuration.

    Its deployment shape is 224 pixels (32 for trees), or what MCUNet's field ``resolution`` says.

    Args:
        document: the parsed JSON.
        source: names it in messages.

    Raises:
        ArchitectureError: an unknown layer, a missing key, channels that do not match, ...
    """
    root = Fields(document, source, ArchitectureError)
    name = root.choice("name", (PROXYLESS, MOBILENET, PYRAMID))
    arch = tree_from(root) if name == PYRAMID else _chain_from(root, name)
    stated: dict[str, object] = {}
    if "resolution" in root and name != PYRAMID:
        arch = arch.with_shape(resolution=root.whole("resolution", 1, MAX_RESOLUTION))
        stated = {"stated_resolution": "its field resolution"}
    plain = replace(arch, provenance={PROVENANCE: {"name": name}})
    found = differences(to_net_config(plain), document)
    extra = {"differences": found} if found else {}
    return replace(arch, provenance={PROVENANCE: {"name": name, **extra}, **stated})


def to_net_config(arch: Architecture) -> dict[str, Any]:
    """The published configuration of a network: the inverse of `from_net_config`.

    Raises:
        ArchitectureError: the published form cannot hold it; the message names the layer.

    Example:
        >>> import proxyless_hw as ph
        >>> document = ph.to_net_config(ph.load_architecture("proxyless-mobile"))
        >>> document["name"], len(document["blocks"])
        ('ProxylessNASNets', 22)
    """
    require_architecture(arch)
    kept = arch.provenance.get(PROVENANCE)
    kept = kept if isinstance(kept, dict) else {}
    if arch.wiring:
        document = tree_to(arch)
    else:
        document = _chain_to(arch)
    if kept.get("name", document["name"]) == document["name"]:
        apply_differences(document, kept.get("differences", []))
    return document


def _chain_from(root: Fields, name: str) -> Architecture:
    root.exactly((*_KEYS[name], *(key for key in ("resolution",) if key in root)))
    before, classifier = linear_from(*root.at("classifier"))
    head: list[LayerSpec] = []
    if name == MOBILENET:
        head.append(layer_from(*root.at("final_expand_layer")))
        head.append(LayerSpec("pool", head[-1].out_c, head[-1].out_c))
        head.append(layer_from(*root.at("feature_mix_layer")))
    elif root.values["feature_mix_layer"] is not None:
        head.append(layer_from(*root.at("feature_mix_layer")))
    return Architecture(
        space=name,
        resolution=CHAIN_RESOLUTION,
        num_classes=classifier.out_c,
        stem=(layer_from(*root.at("first_conv")),),
        blocks=tuple(_block_from(block) for block in root.rows("blocks", MAX_POSITIONS, least=1)),
        head=(*head, *before, classifier),
        batch_norm=batch_norm_from(root),
    )


def _block_from(block: Fields) -> LayerSpec:
    # The 2020 names of Once-for-All and ProxylessNAS, and those of Once-for-All since 2021.
    name = block.choice("name", ("MobileInvertedResidualBlock", "ResidualBlock"))
    today = name == "ResidualBlock"
    inner = "conv" if today else "mobile_inverted_conv"
    block.exactly(("name", inner, "shortcut"))
    return mbconv_from(block, inner, "MBConvLayer" if today else "MBInvertedConvLayer")


def _chain_to(arch: Architecture) -> dict[str, Any]:
    head = list(arch.head)
    classifier = [head.pop()]
    if head and op_variant(head[-1].op).base == "identity":
        classifier.insert(0, head.pop())
        if head and head[-1].op == "pool":
            head.pop()
    if len(arch.stem) != 1:
        raise ArchitectureError(f"a net.config has one first layer: this has {len(arch.stem)}.")
    mobilenet = [layer.op for layer in head[1:2]] == ["pool"] and len(head) == 3
    if not mobilenet and len(head) > 1:
        raise ArchitectureError(
            "the published chain networks end with one feature-mixing layer, or with MobileNetV3's "
            f"two around the pooling: this one ends with {', '.join(layer.op for layer in head)}."
        )
    document: dict[str, Any] = {
        "name": MOBILENET if mobilenet else PROXYLESS,
        "bn": batch_norm_to(arch.batch_norm),
        "first_conv": layer_to(arch.stem[0], WEIGHT_FIRST),
    }
    if mobilenet:
        document["final_expand_layer"] = layer_to(head[0], WEIGHT_FIRST)
    document["feature_mix_layer"] = layer_to(head[-1], WEIGHT_FIRST) if head else None
    document["classifier"] = linear_to(classifier, WEIGHT_FIRST)
    document["blocks"] = [_block_to(block, mobilenet) for block in arch.blocks]
    return document


def _block_to(block: LayerSpec, once_for_all: bool) -> dict[str, Any]:
    if not block.is_zero and block.op != "mbconv":
        raise ArchitectureError(f"the published chain networks hold no '{block.op}' block.")
    if block.se > 1:
        raise ArchitectureError(
            f"the published squeeze-excite takes a quarter of the width: received {block.se}."
        )
    shortcut = None
    if block.skip:
        shortcut = layer_to(LayerSpec("identity", block.in_c, block.out_c), WEIGHT_FIRST)
        if once_for_all:
            shortcut |= {"in_channels": [block.in_c], "out_channels": [block.out_c]}
    if block.is_zero:
        convolution: dict[str, Any] = {"name": "ZeroLayer", "stride": 1}
    else:
        convolution = {
            "name": "MBInvertedConvLayer",
            "in_channels": block.in_c,
            "out_channels": block.out_c,
            "kernel_size": block.kernel,
            "stride": block.stride,
            "expand_ratio": block.expand,
        }
        if once_for_all or block.act != "relu6" or block.se:
            convolution |= {
                "mid_channels": None if block.expand == 1 else block.mid_c,
                "act_func": act_name(block),
                "use_se": bool(block.se),
            }
    return {
        "name": "MobileInvertedResidualBlock",
        "mobile_inverted_conv": convolution,
        "shortcut": shortcut,
    }


def differences(plain: Any, given: Any, path: tuple[str | int, ...] = ()) -> list[dict[str, Any]]:
    """Where `given` departs from `plain`: a list of path and value; no value means removed."""
    if isinstance(plain, dict) and isinstance(given, dict):
        found = [{"path": [*path, key]} for key in plain if key not in given]
        for key, value in given.items():
            if key in plain:
                found += differences(plain[key], value, (*path, key))
            else:
                found.append({"path": [*path, key], "value": copy.deepcopy(value)})
        return found
    if isinstance(plain, list) and isinstance(given, list) and len(plain) == len(given):
        return [
            item
            for index, (one, other) in enumerate(zip(plain, given, strict=True))
            for item in differences(one, other, (*path, index))
        ]
    same = plain == given and type(plain) is type(given)
    return [] if same else [{"path": list(path), "value": copy.deepcopy(given)}]


def apply_differences(document: dict[str, Any], found: object) -> None:
    """Makes `differences` undone: changes the plain document into the one that was given.

    Raises:
        ArchitectureError: the differences do not belong to this network.
    """
    try:
        for item in found:  # type: ignore[attr-defined]
            *way, last = item["path"]
            place: Any = document
            for step in way:
                place = place[step]
            if "value" in item:
                place[last] = copy.deepcopy(item["value"])
            else:
                del place[last]
    except (KeyError, IndexError, TypeError, ValueError) as cause:
        raise ArchitectureError(
            "the differences kept from the net.config do not belong to this network any more "
            f"({type(cause).__name__}: {str(cause)[:80]}). Remove provenance.net_config."
        ) from cause
