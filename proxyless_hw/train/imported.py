"""A checkpoint of other code as a network of this package: what ``import-weights`` calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.checkpoints import network_from_checkpoint
from proxyless_hw.formats.weights_source import is_timm, open_weights
from proxyless_hw.network.network import Network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.train.load import save_imported


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """A network with the weights of a checkpoint.

    Attributes:
        network: in eval mode, with the checkpoint's classes.
        name: of the architecture that the checkpoint is of.
        source: what the weights come from.
        folder: the run folder that was written; None where none was.
    """

    network: Network
    name: str
    source: str
    folder: Path | None


def import_weights(
    file: str | Path,
    arch: Architecture | str | Path | None = None,
    *,
    output: str | Path | None = None,
) -> ImportedWeights:
    """Loads a checkpoint of other code: ``proxyless-hw import-weights``.

    Every tensor is accounted for. Nothing in the file is executed.

    Args:
        file: weights under the names of the ProxylessNAS or Once-for-All code, of torchvision
            (MobileNetV2, MobileNetV3, MNASNet, EfficientNet-B0) or of timm, as a torch or a
            safetensors file; or ``timm:NAME`` for pretrained weights of timm, where that is
            installed.
        arch: the network, or what names it; found by its tensors when None.
        output: takes a run folder that `load` and `run_training` read; nothing is written when
            None.

    Raises:
        ArchitectureError: no network of that name, or a tensor is missing, left over, or of
            another shape.
        TrainingError: the folder already holds a run, or cannot be written.
        BackendUnavailableError: timm is not installed.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.import_weights("proxyless_mobile.pth")  # doctest: +SKIP
        >>> found.name, found.network  # doctest: +SKIP
    """
    given = open_weights(file)
    if given.is_ours:
        raise ArchitectureError(
            f"weights of other code are imported: the names in {file} are of this package. "
            f"Next: give it, or the folder of its run, as --weights."
        )
    source = given.source if is_timm(file) else Path(file).name
    name, network = network_from_checkpoint(given.tensors, source, arch)
    folder = None if output is None else Path(output)
    if folder is not None:
        save_imported(network, folder, {"source": source, "arch": name})
    return ImportedWeights(network=network.eval(), name=name, source=source, folder=folder)
