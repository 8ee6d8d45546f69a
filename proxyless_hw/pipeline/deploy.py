"""From a run or an architecture to checked model files with latencies: what `export` calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from proxyless_hw.errors import ExportError
from proxyless_hw.export.export import (
    CALIBRATION_IMAGES,
    ExportConfig,
    ExportData,
    ExportedFile,
    export_network,
    random_data,
    whole_set,
)
from proxyless_hw.export.manifest import write_manifest
from proxyless_hw.export.preparation import as_given
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.tables.table import LatencyTable

if TYPE_CHECKING:
    from proxyless_hw.data.base import DataConfig, DataSplit
    from proxyless_hw.profilers.protocol.measurement import Measurement

EXPORT_FOLDER: Final = "exports"
MANIFEST: Final = "manifest.json"
MAX_IMAGE_BYTES: Final = 256 * 2**20
"""Test images are taken up to this much memory; a sample of a larger set."""


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
) -> Source:
    """Loads what `export` is given.

    Args:
        source: a run folder (of a search or a training), an architecture file, or a zoo name.
        weights: a published checkpoint for a bare architecture.
        resolution: exported resolution; the deployment resolution when None.
        num_classes: classes of a bare architecture; its own when None.
        training_shape: take the shape it was trained at instead of the deployment shape.

    Raises:
        ExportError: options that contradict each other.
        ProxylessHwError: the run, architecture or checkpoint cannot be loaded.
    """
    folder = Path(source)
    if folder.is_dir():
        if weights is not None or num_classes is not None:
            option = "--weights" if weights is not None else "--num-classes"
            raise ExportError(f"{option} is for bare architectures: {source} is a run with both.")
        found = _load_run(folder)
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


def load_images(config: DataConfig, network: Network) -> ExportData:
    """Real images at the network's resolution: test images, and training images to calibrate.

    Raises:
        DataError: the data cannot be read.
    """
    from proxyless_hw.data.load import load_data

    resolution = network.arch.resolution
    splits = load_data(replace(config, resolution=resolution, batch_size=32, workers=0))
    room = max(2, MAX_IMAGE_BYTES // (3 * resolution * resolution * 4))
    images, labels = _take(splits.test, room)
    calibration, _ = _take(splits.train, CALIBRATION_IMAGES)
    fits = splits.num_classes == network.arch.num_classes
    part = "" if len(images) == len(splits.test) else f" (of {len(splits.test)})"
    return ExportData(
        images=images,
        labels=labels if fits else None,
        calibration=calibration,
        mean=splits.mean,
        std=splits.std,
        class_names=splits.class_names if fits else None,
        source=f"the test set of {splits.name} at {resolution} px{part}",
        preparation=as_given() if splits.preparation is None else splits.preparation.to_dict(),
    )


def export_all(
    source: Source,
    folder: Path,
    config: ExportConfig,
    data: ExportData,
    *,
    measure: bool = True,
    report: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Writes the whole set with its manifest, and measures each file on this CPU.

    Args:
        source: what is exported.
        folder: takes the files and ``manifest.json``.
        config: shape and ends.
        data: images for calibration and comparison.
        measure: time every file by the measurement protocol, one thread.
        report: told what is going on, a line at a time.

    Returns:
        The manifest.

    Raises:
        ExportError, BackendUnavailableError: as `export_network`.
        ProfilingError: a file cannot be measured.
    """
    files = export_network(source.network, whole_set(folder, source.name), config, data, report)
    path = folder / MANIFEST
    write_manifest(path, files, source.network, config)
    if measure:
        report("measuring every file on this CPU, one thread")
        measured = measure_exports(
            {file.target.path: file.target.precision for file in files},
            _table_of(source, report),
        )
        latencies = {
            Path(name).name: {**item.to_dict(), "name": Path(name).name}
            for name, item in measured.items()
        }
        write_manifest(path, files, source.network, config, latencies)
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


EXPORT_SECONDS_A_FILE: Final = 10.0


def measure_exports(
    files: Mapping[Path, str], table: LatencyTable | None = None
) -> dict[str, Measurement]:
    """Latency of model files on this CPU, one thread, by path; each runtime's interleaved.

    Args:
        files: path to precision.
        table: what the run was searched with; where it was measured here, files of its runtime and
            precision get their value at its speed too.

    Raises:
        ProfilingError: a file cannot be run.
        BackendUnavailableError: a runtime is not installed.
    """
    from proxyless_hw.predictors.measured import measuring_for
    from proxyless_hw.profilers.networks import measure_files
    from proxyless_hw.profilers.protocol.measurement import Measuring
    from proxyless_hw.profilers.protocol.timing import TimingConfig

    runtimes = {".onnx": "onnxruntime", ".tflite": "litert"}
    measured: dict[str, Measurement] = {}
    for suffix, runtime in runtimes.items():
        group = [path for path in files if path.suffix == suffix]
        if not group:
            continue
        budget_s = EXPORT_SECONDS_A_FILE * len(group)
        how = Measuring(timing=TimingConfig(goal=0.01, budget_s=budget_s, spend=False))
        if table is not None and table.metadata.get("runtime") == runtime:
            how = measuring_for(table, budget_s=budget_s)
        for item in measure_files(group, how):
            own = table is not None and files[Path(item.name)] == table.metadata.get("precision")
            measured[item.name] = item if own else replace(item, table_speed=None)
    return measured


def _table_of(source: Source, report: Callable[[str], None]) -> LatencyTable | None:
    """The table that a run was searched with, where it was measured on this CPU, one thread.

    Raises:
        TableError: the table is malformed.
    """
    from proxyless_hw.profilers.host.environment import host_device

    if source.folder is None or not (source.folder / "network.pt").is_file():
        return None
    path = source.folder / "config.json"
    document = parse_json(read_text(path, ExportError, "config.json"), ExportError, str(path))
    name = document.get("table") if isinstance(document, dict) else None
    if not isinstance(name, str) or not Path(name).is_file():
        report(f"the table of the search ({str(name)[:200]}) is not there: values are raw only")
        return None
    table = LatencyTable.load(name)
    header = table.metadata
    here = header.get("device") == host_device() and header.get("device_kind") == "cpu"
    return table if here and header.get("threads") == header.get("batch_size") == "1" else None


def int8_ratio(manifest: dict[str, Any]) -> float | None:
    """Latency of the int8 TFLite file over the fp32 one's; None where either is unmeasured."""
    medians = {
        file["precision"]: file["latency"]["median_ms"]
        for file in manifest["files"]
        if file["format"] == "tflite" and file.get("latency")
    }
    if "fp32" not in medians or "int8" not in medians:
        return None
    return float(medians["int8"] / medians["fp32"])


def default_data(source: Source) -> ExportData:
    """The run's images; seeded noise for a bare architecture."""
    if source.data is not None:
        return load_images(source.data, source.network)
    return random_data(source.network.arch.resolution)


def _load_run(folder: Path) -> Source:
    if (folder / "network.pt").is_file():
        return _load_search(folder)
    from proxyless_hw.train.load import load, load_data_config

    return Source(
        network=load(folder),
        name=folder.resolve().name,
        weights="trained",
        folder=folder,
        data=load_data_config(folder),
    )


def _load_search(folder: Path) -> Source:
    from proxyless_hw.search.config import config_from
    from proxyless_hw.search.derived import load_derived_network
    from proxyless_hw.search.driver import data_config

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
        data=data_config(config_from(settings, source=str(path))),
        warning=warning,
    )


def _load_architecture(
    source: str, weights: Path | None, num_classes: int | None, training_shape: bool
) -> Source:
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
    return Source(network=network, name=name, weights=f"published checkpoint {weights.name}")


def _take(split: DataSplit, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The first images of a shuffled pass: a fair sample where the split is larger."""
    batches = split.batches(0, shuffle=True, augment=False, drop_last=False)
    pairs = list(islice(batches, -(-count // 32)))
    images = np.concatenate([images.contiguous().numpy() for images, _ in pairs])[:count]
    labels = np.concatenate([labels.numpy() for _, labels in pairs])[:count]
    return images, labels


__all__ = [
    "ExportedFile",
    "Source",
    "default_data",
    "export_all",
    "int8_ratio",
    "load_images",
    "load_source",
    "measure_exports",
]
