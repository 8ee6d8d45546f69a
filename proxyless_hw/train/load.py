"""Loads trained networks from their run folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from proxyless_hw.data.base import DataConfig
from proxyless_hw.errors import TrainingError
from proxyless_hw.formats.matching import with_its_classes
from proxyless_hw.formats.published import as_its_library, published_network
from proxyless_hw.formats.weights_source import open_weights
from proxyless_hw.network.network import Network
from proxyless_hw.runs.run_network import (
    DERIVED,
    fill_network,
    load_run_network,
    weights_file,
)
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import write_text_atomically
from proxyless_hw.terminal.notices import notice
from proxyless_hw.train.config import TrainConfig, config_from
from proxyless_hw.train.run_folder import TrainFolder
from proxyless_hw.train.state import save_weights

CLASSIFIER = "head."


def load(folder: str | Path) -> Network:
    """Loads the trained network of a run: ``net = ph.load("runs/x")``.

    Args:
        folder: of a training (its best weights), of a search that has finished (the supernet's
            weights with BatchNorm recalibrated), or of an import of published weights.

    Returns:
        The network in eval mode, with the classes of the data it was trained on.

    Raises:
        TrainingError: the folder holds no network, or two, or its files do not fit.
        ArchitectureError: its architecture file is malformed.

    Example:
        >>> import proxyless_hw as ph
        >>> network = ph.load("runs/x")  # doctest: +SKIP
    """
    return load_run_network(weights_file(Path(folder), TrainingError), TrainingError)


def load_data_config(folder: str | Path) -> DataConfig | None:
    """The data settings of a training; None for imported weights, which name no data.

    Raises:
        TrainingError: the folder is not that of a training.
    """
    run = TrainFolder(Path(folder))
    document = parse_json(
        read_text(run.config, TrainingError, "config.json"), TrainingError, str(run.config)
    )
    if isinstance(document, dict) and document.get("kind") == "import":
        return None
    return data_config(config_from(run.settings(), source=str(run.config)))


def initialise_from(network: Network, source: str | Path) -> None:
    """Fills a network from trained weights, to fine-tune it.

    A classifier of another number of classes keeps its fresh weights.

    Args:
        network: filled in place.
        source: a run folder, a weights file of one, a checkpoint of other code, or ``timm:NAME``.

    Raises:
        TrainingError, ArchitectureError: the weights do not fit, beyond the classifier.
    """
    is_run = Path(source).is_dir()
    tensors = load(source).state_dict() if is_run else _own_names(network, source)
    fill_from(network, tensors, source)


def fill_from(network: Network, tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Fills a network from tensors by our names; a classifier of other classes stays fresh.

    Args:
        network: filled in place.
        tensors: as `state_dict` gives them.
        source: where they come from, for messages.

    Raises:
        TrainingError: they do not fit, beyond the classifier.
    """
    wanted = network.state_dict()
    last = f"{CLASSIFIER}{len(network.head) - 1}."
    kept = {
        name: wanted[name]
        if name.startswith(last) and name in wanted and wanted[name].shape != tensor.shape
        else tensor
        for name, tensor in tensors.items()
    }
    fill_network(network, kept, Path(source), TrainingError)


def _own_names(network: Network, source: str | Path) -> dict[str, Tensor]:
    """The tensors that a source names, with our names."""
    given = open_weights(source, TrainingError)
    if given.is_ours:
        return given.tensors
    theirs, ours = as_its_library(network.arch, given.tensors).batch_norm, network.arch.batch_norm
    if theirs.eps != ours.eps:
        notice(
            f"{source}: these weights were trained with a BatchNorm eps of {theirs.eps:g}, this "
            f"network has {ours.eps:g}, so its outputs differ at first. To keep theirs: "
            f"proxyless-hw import-weights {source} --output RUN, then train RUN --weights RUN."
        )
    arch = with_its_classes(network.arch, given.tensors)
    return published_network(arch, given.tensors, given.source).state_dict()


def save_imported(network: Network, folder: str | Path, facts: dict[str, Any]) -> None:
    """Writes a network with its weights as a folder that `load` reads.

    Args:
        network: with weights.
        folder: made when absent.
        facts: plain values that are kept beside it, such as the file it came from.

    Raises:
        TrainingError: the folder already holds a run, or cannot be written.
        ArchitectureError: as `Architecture.save`.
    """
    run = TrainFolder(Path(folder))
    if run.is_started() or run.best.exists() or (run.path / DERIVED).exists():
        raise TrainingError(f"{run.path} already holds a run. Choose another --output.")
    with torch.no_grad():
        save_weights(run.best, network.state_dict(), {"epoch": None, "accuracy": None})
    network.arch.save(run.architecture)
    text = json.dumps({"kind": "import", **facts}, indent=1) + "\n"
    write_text_atomically(run.config, text, TrainingError)


def data_config(config: TrainConfig) -> DataConfig:
    """The data settings of a training."""
    return DataConfig(**config.data_settings(), augment=config.augment)
