"""What an export is given: a run folder, an architecture or a zoo name, with its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxyless_hw.errors import ExportError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.documents import parse_json, read_text

if TYPE_CHECKING:
    from proxyless_hw.data.base import DataConfig


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        network: with its weights, in eval mode, at the exported shape.
        name: for file names.
        weights: where the weights come from, in words.
        folder: the run folder; None for a bare architecture.
        data: the run's data settings; None without a run.
        warning: what the user should know; empty when nothing.
    """

    network: Network
    name: str
    weights: str
    folder: Path | None = None
    data: DataConfig | None = None
    warning: str = ""


def load_source(
    source: str,
    *,
    weights: Path | None = None,
    resolution: int | None = None,
    num_classes: int | None = None,
    training_shape: bool = False,
    with_data: bool = True,
) -> Source:
    """Loads what `export` is given.

    Args:
        source: a run folder (of a search or a training), an architecture file, or a zoo name.
        weights: a checkpoint of other code for a bare architecture, or ``timm:NAME``.
        resolution: exported resolution; the deployment resolution when None.
        num_classes: classes of a bare architecture; its own when None.
        training_shape: take the shape it was trained at instead of the deployment shape.
        with_data: read the run's data settings, which a run that was given an object lacks.

    Raises:
        ExportError: options that contradict each other.
        ProxylessHwError: the run, architecture or checkpoint cannot be loaded.
    """
    folder = Path(source)
    if folder.is_dir():
        if weights is not None or num_classes is not None:
            option = "--weights" if weights is not None else "--num-classes"
            raise ExportError(f"{option} is for bare architectures: {source} is a run with both.")
        found = _load_run(folder, with_data)
    else:
        found = _load_architecture(source, weights, num_classes, training_shape)
    size = resolution
    if training_shape and size is None:
        training = found.network.arch.training
        if training is None:
            raise ExportError(f"{source} knows no training shape. Give --resolution instead.")
        size = training.resolution
    if size is not None:
        found = replace(found, network=at_resolution(found.network, size))
    return replace(found, warning="\n".join(filter(None, (found.warning, _shape_warning(found)))))


def _shape_warning(source: Source) -> str:
    arch = source.network.arch
    training = arch.training
    if source.folder is None or training is None or training.resolution == arch.resolution:
        return ""
    return (
        f"exported at the deployment's {arch.resolution} px, trained at {training.resolution} px: "
        f"accuracies below are those at {arch.resolution} px. For the other: --training-shape"
    )


def at_resolution(network: Network, resolution: int) -> Network:
    """The same weights at another input resolution."""
    other = Network(network.arch.with_shape(resolution=resolution))
    other.load_state_dict(network.state_dict())
    return other.eval()


def _load_run(folder: Path, with_data: bool) -> Source:
    if (folder / "network.pt").is_file():
        return _load_search(folder, with_data)
    from proxyless_hw.train.load import load, load_data_config

    return Source(
        network=load(folder),
        name=folder.resolve().name,
        weights="trained",
        folder=folder,
        data=load_data_config(folder) if with_data else None,
    )


def _load_search(folder: Path, with_data: bool) -> Source:
    from proxyless_hw.runs.run_network import load_derived_network
    from proxyless_hw.search.config import config_from
    from proxyless_hw.search.context import data_config

    network = load_derived_network(folder)
    path = folder / "config.json"
    document = parse_json(read_text(path, ExportError, "config.json"), ExportError, str(path))
    settings = document.get("settings") if isinstance(document, dict) else None
    if not isinstance(settings, dict):
        raise ExportError(f"{path} must hold the run's settings.")
    deployed = Architecture.load(folder).num_classes
    warning = (
        "weights are the supernet's, with BatchNorm recalibrated: good for timing and checking, "
        f"not for use. Train the network: proxyless-hw train {folder}"
    )
    if deployed != network.arch.num_classes:
        warning += (
            f"\nthe files have the data's {network.arch.num_classes} classes, the target was for "
            f"{deployed}: their latency is that of a smaller classifier."
        )
    return Source(
        network=network,
        name=folder.resolve().name,
        weights="supernet, BatchNorm recalibrated",
        folder=folder,
        data=data_config(config_from(settings, source=str(path))) if with_data else None,
        warning=warning,
    )


def _load_architecture(
    source: str, weights: Path | None, num_classes: int | None, training_shape: bool
) -> Source:
    if weights is None and source.lower().endswith(".onnx"):
        raise ExportError(
            f"{source} is a model file already, and its weights are not read. To export its "
            "architecture with other weights: --weights FILE."
        )
    arch = load_architecture(source)
    if training_shape and arch.training is not None and num_classes is None:
        num_classes = arch.training.num_classes
    arch = arch if num_classes is None else arch.with_shape(num_classes=num_classes)
    name = Path(source).stem if Path(source).is_file() else source
    if weights is None:
        return Source(
            network=build_network(arch, seed=0).eval(),
            name=name,
            weights="random, seed 0",
            warning="weights are random (seed 0): good for timing only. Give --weights FILE.",
        )
    from proxyless_hw.formats.published import load_published_weights

    network = load_published_weights(arch, weights)
    return Source(network=network, name=name, weights=f"checkpoint {weights.name}")
