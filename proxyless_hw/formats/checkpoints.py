"""A checkpoint of other code as a network: its architecture found by its tensors, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from proxyless_hw.formats.load import given_architecture
from proxyless_hw.formats.matching import matching_network, with_its_classes
from proxyless_hw.formats.published import published_network
from proxyless_hw.network.network import Network
from proxyless_hw.space.architecture import Architecture


def network_from_checkpoint(
    tensors: Mapping[str, Tensor], source: str, arch: Architecture | str | Path | None = None
) -> tuple[str, Network]:
    """Builds the network that a checkpoint belongs to and fills it; every tensor is accounted for.

    Args:
        tensors: the checkpoint, under the names of the published code, torchvision or timm.
        source: the file, for messages.
        arch: the network, or what names it; found among the zoo's when None.

    Returns:
        The network's name and the network, with the checkpoint's number of classes and the
        BatchNorm settings of its library.

    Raises:
        ArchitectureError: no network of the zoo fits, or a tensor does not.
    """
    wanted = matching_network(tensors, source) if arch is None else arch
    loaded = given_architecture(wanted)
    name = loaded.space if isinstance(wanted, Architecture) else str(wanted)
    return name, published_network(with_its_classes(loaded, tensors), tensors, source)
