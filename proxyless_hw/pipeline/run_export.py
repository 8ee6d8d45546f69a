"""A run or an architecture as model files: what ``proxyless-hw export`` calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.errors import ExportError
from proxyless_hw.export.export import ExportConfig, ExportedFile, Target, export_network
from proxyless_hw.export.images import ExportData
from proxyless_hw.export.quantise import FilePrecision, QuantisedForm
from proxyless_hw.export.verify import FileFormat
from proxyless_hw.pipeline.deploy import EXPORT_FOLDER, default_data, export_all, load_images
from proxyless_hw.pipeline.export import images_of, target_of
from proxyless_hw.pipeline.source import Source, load_source
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.terminal.notices import notice
from proxyless_hw.terminal.progress import phase


@dataclass(frozen=True, kw_only=True)
class RunExport:
    """The files of one export.

    Attributes:
        folder: where they are.
        files: those that were asked for; empty where the whole set was written.
        manifest: of the whole set, with latencies where they were measured; None without it.
    """

    folder: Path
    files: tuple[ExportedFile, ...]
    manifest: JsonObject | None


def export_run(
    source: str | Path,
    folder: str | Path | None = None,
    targets: Sequence[tuple[FileFormat, FilePrecision] | Target] | None = None,
    *,
    weights: str | Path | None = None,
    data: DataSplits | str | None = None,
    data_root: str | Path | None = None,
    max_broken: int | float | None = None,
    resolution: int | None = None,
    num_classes: int | None = None,
    training_shape: bool = False,
    batch_size: int | None = 1,
    opset: int = 20,
    quantised_as: QuantisedForm = "qdq",
    softmax: bool = False,
    normalise_in_graph: bool = False,
    check: bool = True,
    measure: bool = True,
    say: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> RunExport:
    """Writes a run or an architecture as model files, checked: ``proxyless-hw export``.

    Any other torch module: `export`.

    Args:
        source: folder of a search or a training, an architecture file, or a zoo name.
        folder: takes the files; when None ``exports`` in the run folder, for a bare architecture
            here.
        targets: pairs of format and precision, as for `export`; the whole set with its manifest
            when None.
        weights: a published checkpoint for a bare architecture; without it weights are random.
        data: images for calibration and checking, an object or a name; those of the run when None.
            A run that was given an object is given it again.
        data_root, max_broken: of named data; those of the run when None.
        resolution: the deployment's when None.
        num_classes: of a bare architecture; its own when None.
        training_shape: take the shape that the run was trained at.
        batch_size: images per call; None leaves it open (ONNX only).
        opset: operator set of ONNX files, 11 to 20.
        quantised_as: int8 ONNX files as ``qdq`` or ``qoperator``.
        softmax, normalise_in_graph, check: as for `export`.
        measure: time every file of the whole set.
        say: told what is going on, a line at a time; without it, warnings alone are shown.
        quiet: shows no progress.

    Raises:
        ExportError: options contradict each other, the data have another resolution, or a file
            cannot be made, written, or differs too much from the network.
        ProxylessHwError: the run, architecture, checkpoint or data cannot be loaded.
        BackendUnavailableError: an optional dependency of a format is missing.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.export_run("runs/x", targets=[("tflite", "int8")])  # doctest: +SKIP
        >>> found.files[0].agreement  # doctest: +SKIP
    """
    loaded = load_source(
        str(source),
        weights=None if weights is None else Path(weights),
        resolution=resolution,
        num_classes=num_classes,
        training_shape=training_shape,
        with_data=not isinstance(data, DataSplits),
    )
    for line in loaded.warning.splitlines():
        notice(line) if say is None else say(f"warning: {line}")
    tell = say or (lambda message: None)
    images = _images(loaded, data, data_root, max_broken, tell)
    arch = loaded.network.arch
    config = ExportConfig(
        resolution=arch.resolution,
        channels=arch.in_channels,
        batch_size=batch_size,
        include_softmax=softmax,
        normalise_in_graph=normalise_in_graph,
        verify=check,
        weights=loaded.weights,
        opset=opset,
        quantised_as=quantised_as,
    )
    if folder is not None:
        folder = Path(folder)
    elif loaded.folder is None and targets is not None:
        folder = Path()
    else:
        folder = (loaded.folder or Path()) / EXPORT_FOLDER
    if targets is None:
        with phase(f"exporting to {folder}", quiet):
            manifest = export_all(loaded, folder, config, images, measure=measure, report=tell)
        return RunExport(folder=folder, files=(), manifest=manifest)
    wanted = [_target(item, folder, loaded.name) for item in targets]
    names = ", ".join(target.path.name for target in wanted)
    with phase(f"writing and checking {names}", quiet):
        files = export_network(loaded.network, wanted, config, images)
    return RunExport(folder=folder, files=tuple(files), manifest=None)


def _target(asked: tuple[FileFormat, FilePrecision] | Target, folder: Path, name: str) -> Target:
    if isinstance(asked, Target):
        return asked
    if tuple(asked) == ("onnx", "int8-dynamic"):
        # The writer of ONNX files refuses it and says what to choose.
        return Target("onnx", "int8-dynamic", folder / f"{name}-int8-dynamic.onnx")
    return target_of(asked, folder, name)


def _images(
    source: Source,
    data: DataSplits | str | None,
    root: str | Path | None,
    max_broken: int | float | None,
    say: Callable[[str], None],
) -> ExportData:
    """The images that were given or named, or those of the run."""
    arch = source.network.arch
    if isinstance(data, DataSplits):
        if (data.channels, data.resolution) != (arch.in_channels, arch.resolution):
            raise ExportError(
                f"the data have {data.channels} channels at {data.resolution} px, the network is "
                f"exported with {arch.in_channels} at {arch.resolution} px. Give "
                f"resolution={data.resolution} or training_shape=True, or other data."
            )
        return images_of(data, arch.num_classes)
    if data is not None:
        folder = None if root is None else str(root)
        named = DataConfig(name=data, root=folder, max_broken=max_broken)
        return load_images(named, source.network)
    if source.data is not None and max_broken is not None:
        source = replace(source, data=replace(source.data, max_broken=max_broken))
    found = default_data(source)
    if source.data is None:
        ranges = ", which sets the ranges of int8 too"
        if not source.weights.startswith("random"):
            # Ranges from noise would spoil real weights: int8 then asks for images.
            found, ranges = replace(found, calibration=None), ""
        say(f"no data: files are checked on seeded noise{ranges}. Give --data NAME.")
    return found
