"""Which network of the zoo a checkpoint belongs to, by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.published import published_names
from proxyless_hw.formats.zoo import zoo_architecture, zoo_names
from proxyless_hw.network.network import Network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import count_parameters

ALIKE: Final = 0.5
"""A network that has so much of a checkpoint is probably meant: what differs is listed."""

Named = tuple[str, tuple[int, ...]]
"""Name and shape of a tensor."""

_LISTED = 4
_COUNTER = "num_batches_tracked"
_NOT_PARAMETERS = (_COUNTER, "running_mean", "running_var")


def matching_network(tensors: Mapping[str, Tensor], source: str) -> str:
    """The zoo network whose tensors these are; the number of classes may be another.

    Args:
        tensors: a checkpoint, under the names of the published code, torchvision or timm.
        source: the file, for the message.

    Raises:
        ArchitectureError: no network fits; the nearest is named.
    """
    given = {(name, _flat(held.shape)) for name, held in tensors.items() if _counts(name)}
    nearest, most, theirs = "", -1.0, given
    for name in _by_size(tensors):
        wanted = _wanted(zoo_architecture(name), tensors)
        if wanted == given:
            return name
        share = len(wanted & given) / len(wanted | given)
        if share > most:
            nearest, most, theirs = name, share, wanted
    raise ArchitectureError(
        f"{source} is not the checkpoint of a network of the zoo; nearest is {nearest} with "
        f"{most:.0%} of the tensors.{_differences(given, theirs) if most > ALIKE else ''} "
        f"Give its net.config: proxyless-hw import-weights {source} "
        "--arch FILE --output RUN, and use RUN."
    )


def _differences(given: set[Named], wanted: set[Named]) -> str:
    """What keeps a checkpoint from being a network's, by name and shape."""
    parts = [
        f" {word} {len(found)}: {', '.join(found[:_LISTED])}{', ...' if found[_LISTED:] else ''}."
        for word, found in (
            ("Missing", sorted(f"{name} {shape}" for name, shape in wanted - given)),
            ("Left over", sorted(f"{name} {shape}" for name, shape in given - wanted)),
        )
        if found
    ]
    return "".join(parts)


def _by_size(tensors: Mapping[str, Tensor]) -> list[str]:
    """The zoo's names, those of about as many parameters first: each try builds a network."""
    held = sum(
        tensor.numel()
        for name, tensor in tensors.items()
        if not name.endswith(_NOT_PARAMETERS) and not name.startswith("classifier.")
    )

    def difference(name: str) -> int:
        return abs(count_parameters(zoo_architecture(name).with_shape(num_classes=1)) - held)

    return sorted(zoo_names(), key=difference)


def with_its_classes(arch: Architecture, tensors: Mapping[str, Tensor]) -> Architecture:
    """The architecture with the classes of a checkpoint's classifier; unchanged without one."""
    with torch.device("meta"):
        network = Network(arch)
    bias = published_names(network, tensors).get(f"head.{len(arch.head) - 1}.linear.bias")
    held = None if bias is None else tensors.get(bias)
    if held is None or held.ndim != 1:
        return arch
    return arch.with_shape(num_classes=len(held))


def _wanted(arch: Architecture, tensors: Mapping[str, Tensor]) -> set[Named]:
    """Names and shapes that a checkpoint of this network has; empty where none can be written."""
    try:
        arch = with_its_classes(arch, tensors)
        with torch.device("meta"):
            network = Network(arch)
        names = published_names(network, tensors)
    except ArchitectureError:
        return set()  # a network that this code has no names for
    state = network.state_dict()
    return {(theirs, _flat(state[ours].shape)) for ours, theirs in names.items() if _counts(theirs)}


def _counts(name: str) -> bool:
    return not name.endswith(_COUNTER)


def _flat(shape: torch.Size) -> tuple[int, ...]:
    """A shape without the 1x1 kernel that tells a convolution from a linear layer."""
    return tuple(shape[:2]) if tuple(shape[2:]) == (1, 1) else tuple(shape)
