"""Checkpoints of other code into our networks: every tensor of the file, and all of the network.

Names of the published code: ``first_conv``, ``blocks.N.mobile_inverted_conv.{inverted_bottleneck,
depth_conv, point_linear}``, ``final_expand_layer``, ``feature_mix_layer``,
``classifier.{bn,linear}``; in the tree network ``blocks.N.layers.i``,
``blocks.N.{in_bottle,out_bottle,final_bn,cell}`` and inside a cell ``edges.i``, ``child_nodes.i``,
``branch_bns.i``. Names of torchvision and timm: `libraries`; which file is opened, and how:
`weights_source`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.libraries import recognised
from proxyless_hw.formats.weights_source import open_weights
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import op_variant
from proxyless_hw.space.wiring import Node, TreeBlock
from proxyless_hw.storage.tensor_files import is_plain
from proxyless_hw.terminal.notices import notice

_MBCONV: Final = {
    "expand": "inverted_bottleneck",
    "depthwise": "depth_conv",
    "se.reduce": "depth_conv.se.fc.reduce",
    "se.expand": "depth_conv.se.fc.expand",
    "project": "point_linear",
}
_COUNTER: Final = "num_batches_tracked"
_LISTED: Final = 8


def load_published_weights(arch: Architecture, path: str | Path) -> Network:
    """Builds a network and fills it from a checkpoint of the published code, torchvision or timm.

    The file is a dict of tensors, or holds some (`choose_state_dict`: averaged weights first), or
    is a safetensors file. It is read with ``weights_only=True``: nothing in it is executed.

    Args:
        arch: the architecture the checkpoint belongs to. BatchNorm's eps and momentum become those
            of torchvision or timm where the file is one of theirs.
        path: the file, or ``timm:NAME`` for pretrained weights of timm, where it is installed.

    Returns:
        The network in eval mode.

    Raises:
        ArchitectureError: the file cannot be read safely, or a tensor is missing, left over, of
            another shape or not finite; the message lists the difference.

    Example:
        >>> import proxyless_hw as ph
        >>> arch = ph.load_architecture("proxyless-mobile")
        >>> network = ph.load_published_weights(arch, "proxyless_mobile.pth")  # doctest: +SKIP
    """
    return published_network(arch, open_weights(path).tensors, str(path)).eval()


def published_network(arch: Architecture, tensors: Mapping[str, Tensor], source: str) -> Network:
    """Builds a network and fills it with tensors under the names of other code.

    Args:
        arch: the architecture that the tensors belong to, classes included.
        tensors: all of the checkpoint.
        source: where they come from, for messages.

    Raises:
        ArchitectureError: as `fill_from_published`.
    """
    library = recognised(tensors)
    if library is not None and arch.space in library.exceptions:
        eps = library.settings(arch).batch_norm.eps
        notice(
            f"{source}: a file does not hold BatchNorm's eps. {eps:g} is taken, that of "
            f"{library.name}'s published weights of {arch.space}. Where they were trained with "
            "another, change batch_norm in architecture.json."
        )
    network = build_network(as_its_library(arch, tensors))
    fill_from_published(network, tensors, source)
    return network


def as_its_library(arch: Architecture, tensors: Collection[str]) -> Architecture:
    """The architecture with the BatchNorm settings of the library whose names tensors have."""
    library = recognised(tensors)
    return arch if library is None else library.settings(arch)


def fill_from_published(network: Network, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copies tensors under the names of other code into a network; all, and into all of it.

    Raises:
        ArchitectureError: a tensor is missing, left over, of another shape or not finite. The
            network is left as it was.
    """
    library = recognised(tensors)
    names = published_names(network, tensors)
    targets = network.state_dict()
    # A linear layer on a 1x1 map is a 1x1 convolution here.
    linear = _as_convolutions(names, targets, tensors)
    tensors = {
        name: held[..., None, None] if name in linear else held for name, held in tensors.items()
    }
    given = set(names.values()) & set(tensors)
    # Checkpoints of old PyTorch versions have no batch counters; nothing depends on them.
    missing = [name for name in names.values() if name not in given and not name.endswith(_COUNTER)]
    extra = [name for name in tensors if name not in given]
    shapes = [
        f"{theirs}: {tuple(tensors[theirs].shape)} instead of {tuple(targets[ours].shape)}"
        for ours, theirs in names.items()
        if theirs in given and tensors[theirs].shape != targets[ours].shape
    ]
    broken = [
        name for name in given if not name.endswith(_COUNTER) and not _is_finite(tensors[name])
    ]
    faults = [
        f"{what} {len(items)}: {', '.join(items[:_LISTED])}{', ...' if items[_LISTED:] else ''}"
        for what, items in (
            ("missing", missing),
            ("left over", extra),
            ("of another shape", shapes),
            ("not finite numbers", sorted(broken)),
        )
        if items
    ]
    if faults:
        whose = "" if library is None else f", read as one of {library.name},"
        raise ArchitectureError(
            f"{source}{whose} does not fit {network.arch.space} ({len(names)} tensors):\n  "
            + "\n  ".join(faults)
            + "\nIs it the checkpoint of this network? Choose the network with --arch."
        )
    with torch.no_grad():
        for ours, theirs in names.items():
            if theirs in given:
                targets[ours].copy_(tensors[theirs])


def _as_convolutions(
    names: Mapping[str, str], targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> set[str]:
    """Names of the file's linear weights that are convolutions in the network."""
    return {
        theirs
        for ours, theirs in names.items()
        if theirs in tensors and tensors[theirs].ndim == 2 and targets[ours].ndim == 4
    }


def _is_finite(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and is_plain(tensor)


def published_state_dict(network: Network) -> dict[str, Tensor]:
    """A network's tensors under the published names: the inverse of `fill_from_published`.

    Raises:
        ArchitectureError: the published networks hold no such layer.
    """
    names = published_names(network)
    return {names[ours]: tensor.detach().clone() for ours, tensor in network.state_dict().items()}


def published_names(network: Network, given: Collection[str] = ()) -> dict[str, str]:
    """The name that other code has for every tensor of a network.

    Args:
        network: the network.
        given: names of a file. Where they are torchvision's or timm's, so are those returned; else
            they are those of the published code.

    Raises:
        ArchitectureError: that code has no such layer.
    """
    arch = network.arch
    library = recognised(given)
    if library is not None:
        prefixes = list(library.prefixes(arch, given))
    else:
        prefixes = list(_tree_prefixes(arch) if arch.wiring else _chain_prefixes(arch))
    by_length = sorted(prefixes, key=lambda pair: -len(pair[0]))
    names = {}
    for ours in network.state_dict():
        for prefix, theirs in by_length:
            if ours.startswith(f"{prefix}."):
                rest = ours.removeprefix(f"{prefix}.")
                names[ours] = f"{theirs}.{rest}" if theirs else rest
                break
        else:
            whose = "the published code" if library is None else library.name
            raise ArchitectureError(f"{whose} has no layer such as '{ours}' there.")
    return names


def _chain_prefixes(arch: Architecture) -> Iterator[tuple[str, str]]:
    for index in range(len(arch.stem)):
        yield f"stem.{index}", "first_conv"
    for index, layer in enumerate(arch.blocks):
        if layer.op == "mbconv":
            body = f"blocks.{index}.body" if layer.skip else f"blocks.{index}"
            for ours, theirs in _MBCONV.items():
                yield f"{body}.{ours}", f"blocks.{index}.mobile_inverted_conv.{theirs}"
    convolutions = [
        index for index, layer in enumerate(arch.head) if op_variant(layer.op).base == "conv"
    ]
    published = ["feature_mix_layer"]
    if len(convolutions) == 2:
        published.insert(0, "final_expand_layer")
    for index, name in zip(convolutions, published, strict=False):
        yield f"head.{index}", name
    own_norm = len(arch.head) > 1 and op_variant(arch.head[-2].op).base == "identity"
    yield from _classifier_prefixes(arch, own_norm)


def _classifier_prefixes(arch: Architecture, own_norm: bool) -> Iterator[tuple[str, str]]:
    last = len(arch.head) - 1
    yield f"head.{last}", "classifier"
    if own_norm:
        yield f"head.{last - 1}", "classifier"


def _tree_prefixes(arch: Architecture) -> Iterator[tuple[str, str]]:
    number = 0
    if arch.stem:
        yield from _transition_prefixes("stem", range(len(arch.stem)), number)
        number += 1
    for alone, parts in groupby(arch.wiring, key=lambda part: isinstance(part, int)):
        if alone:
            yield from _transition_prefixes("blocks", parts, number)
            number += 1
            continue
        for part in parts:
            assert isinstance(part, TreeBlock)
            yield from _block_prefixes(part, f"blocks.{number}")
            number += 1
    tail = len(arch.head) - 1
    if tail > 1 and arch.head[tail - 2].op == "pool":
        tail -= 2  # the pooling and BatchNorm that stand for a classifier's own BatchNorm
    yield from _transition_prefixes("head", range(tail), number)
    yield from _classifier_prefixes(arch, own_norm=tail < len(arch.head) - 1)


def _transition_prefixes(part: str, layers: Any, number: int) -> Iterator[tuple[str, str]]:
    for index, layer in enumerate(layers):
        yield f"{part}.{layer}", f"blocks.{number}.layers.{index}"


def _block_prefixes(block: TreeBlock, name: str) -> Iterator[tuple[str, str]]:
    yield f"blocks.{block.shortcut}", f"{name}.shortcut"
    if block.in_bottle is not None:
        yield f"blocks.{block.in_bottle}", f"{name}.in_bottle"
    yield from _node_prefixes(block.cell, f"{name}.cell")
    if block.out_bottle is not None:
        yield f"blocks.{block.out_bottle}", f"{name}.out_bottle"
    if block.norm is not None:
        yield f"blocks.{block.norm}.bn", f"{name}.final_bn"


def _node_prefixes(node: Node, name: str) -> Iterator[tuple[str, str]]:
    for index, branch in enumerate(node.branches):
        yield f"blocks.{branch.edge}", f"{name}.edges.{index}"
        if branch.child is not None:
            yield from _node_prefixes(branch.child, f"{name}.child_nodes.{index}")
        if branch.norm is not None:
            yield f"blocks.{branch.norm}.bn", f"{name}.branch_bns.{index}"
