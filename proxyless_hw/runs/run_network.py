"""The network that a run leaves behind, with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import nn

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.formats.checkpoints import network_from_checkpoint
from proxyless_hw.formats.weights_source import open_weights
from proxyless_hw.network.network import Network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.tensor_files import load_tensors, plain_tensors

DERIVED: Final = "network.pt"
"""File of a search: the found network's weights from the supernet, BatchNorm recalibrated."""

TRAINED: Final = "best.pt"
"""File of a training, or of an import of published weights."""


def weights_file(folder: Path, error: type[ProxylessHwError]) -> Path:
    """Finds the weights that a search, a training or an import left in its folder.

    Raises:
        ProxylessHwError: as `error`: the folder holds no weights, or those of two runs.
    """
    if not folder.is_dir():
        raise error(f"no run folder {folder}.")
    found = [folder / name for name in (DERIVED, TRAINED) if (folder / name).is_file()]
    if not found:
        raise error(
            f"{folder} holds no trained network ({TRAINED}). Train one: proxyless-hw train ARCH "
            f"--output {folder}"
        )
    if len(found) > 1:
        raise error(
            f"a run folder holds one network: {folder} has {DERIVED} (of a search) and {TRAINED} "
            "(of a training). Move one of them to a folder of its own, with its architecture.json."
        )
    return found[0]


def load_derived_network(run: str | Path) -> Network:
    """Loads the found network of a finished search with the supernet's weights, in eval mode.

    It has the data's classes and the deployment resolution.

    Raises:
        SearchError: the run is not finished, or its weights do not fit its architecture.
        ArchitectureError: its architecture file is malformed.
    """
    return load_run_network(Path(run) / DERIVED, SearchError)


def load_run_network(weights: Path, error: type[ProxylessHwError]) -> Network:
    """Loads the network of a weights file in a run folder, in eval mode.

    It has the data's classes and the deployment resolution.

    Args:
        weights: in a run folder, beside its ``architecture.json``.
        error: what is raised.

    Raises:
        ProxylessHwError: as `error`: the weights cannot be read, or do not fit the architecture.
        ArchitectureError: the architecture file is malformed.
    """
    document = load_tensors(weights, error, "weights file")
    return _filled(weights, document.get("state_dict"), error)


def _filled(weights: Path, tensors: object, error: type[ProxylessHwError]) -> Network:
    """The network of the architecture beside a weights file, filled from its tensors."""
    arch = Architecture.load(weights.parent)
    classes = arch.num_classes if arch.training is None else arch.training.num_classes
    network = Network(arch.with_shape(num_classes=classes))
    fill_network(network, tensors, weights, error)
    return network.eval()


def load_network(source: str | Path, error: type[ProxylessHwError]) -> Network:
    """Loads a network with its weights from any file or folder that has both, in eval mode.

    Args:
        source: a run folder (of a search, a training or an import); a weights file in one; a
            checkpoint of the published code, torchvision or timm, whose architecture is found by
            its tensors; or ``timm:NAME``.
        error: what is raised.

    Raises:
        ProxylessHwError: as `error`: the weights cannot be read, or do not fit the architecture.
        ArchitectureError: the architecture is not known, or its file is malformed.
    """
    path = Path(source)
    if path.is_dir():
        return load_run_network(weights_file(path, error), error)
    given = open_weights(source, error)
    if not given.is_ours:
        return network_from_checkpoint(given.tensors, given.source)[1].eval()
    if not (path.parent / "architecture.json").is_file():
        raise error(
            f"a file of weights needs its network beside it: {path.parent} has no "
            "architecture.json. Give the folder of the run that the weights are from."
        )
    return _filled(path, given.tensors, error)


def fill_network(
    network: nn.Module, tensors: object, path: Path, error: type[ProxylessHwError]
) -> None:
    """Fills a network from tensors with our names.

    Args:
        network: filled in place.
        tensors: what a file holds, a dict of tensors by name.
        path: that file, for messages.
        error: what is raised.

    Raises:
        ProxylessHwError: as `error`: the tensors do not fit.
    """
    try:
        network.load_state_dict(plain_tensors(tensors))
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as cause:
        shown = " ".join(str(cause).split())[:300]
        raise error(f"{path} does not fit the network: {shown}") from cause
