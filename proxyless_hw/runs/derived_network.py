"""The network that a finished search leaves behind, with its weights."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.storage.tensor_files import load_tensors, plain_tensors


def load_derived_network(run: str | Path) -> Network:
    """The found network of a finished search with the supernet's weights, in eval mode.

    It has the data's classes and the deployment resolution.

    Raises:
        SearchError: the run is not finished, or its weights do not fit its architecture.
        ArchitectureError: its architecture file is malformed.
    """
    folder = Path(run)
    arch = Architecture.load(folder)
    training: TrainingShape | None = arch.training
    classes = arch.num_classes if training is None else training.num_classes
    network = Network(arch.with_shape(num_classes=classes))
    path = folder / "network.pt"
    document = load_tensors(path, SearchError, "weights file of a derived network")
    try:
        network.load_state_dict(plain_tensors(document["state_dict"]))
    except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as cause:
        raise SearchError(
            f"{path} does not fit {folder / 'architecture.json'}: {str(cause).splitlines()[0]}"
        ) from cause
    return network.eval()
