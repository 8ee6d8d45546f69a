"""Exporting from Python: any module with images, or an example input, to checked model files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from proxyless_hw.data.base import DataSplit, DataSplits
from proxyless_hw.errors import ExportError, did_you_mean
from proxyless_hw.export.export import (
    CALIBRATION_IMAGES,
    ExportConfig,
    ExportedFile,
    Target,
    export_network,
)
from proxyless_hw.export.images import ExportData, random_data
from proxyless_hw.export.preparation import as_given
from proxyless_hw.export.quantise import FilePrecision
from proxyless_hw.export.verify import FileFormat
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.terminal.progress import phase

Images = NDArray[np.float32]

PRECISIONS: Final[dict[str, tuple[str, ...]]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "tflite": ("fp32", "fp16", "int8", "int8-dynamic"),
    "pte": ("fp32",),
}
MAX_IMAGE_BYTES: Final = 256 * 2**20
"""Test images are taken up to this much memory; a sample of a larger set."""


def export(
    network: nn.Module,
    folder: str | Path,
    targets: Sequence[tuple[FileFormat, FilePrecision]] = (("onnx", "fp32"),),
    *,
    data: DataSplits | Tensor | Images | None = None,
    example: Tensor | Images | None = None,
    name: str = "network",
    batch_size: int | None = 1,
    softmax: bool = False,
    normalise_in_graph: bool = False,
    check: bool = True,
    quiet: bool = False,
) -> list[ExportedFile]:
    """Writes a network as model files and compares each with torch: ``proxyless-hw export``.

    Any module that maps images (N, C, H, W) to one output per image is taken, also one whose head
    was changed. Files are called ``NAME-PRECISION.FORMAT``; an existing file is replaced once its
    successor has passed.

    Args:
        network: the module; its mode and weights are left alone.
        folder: takes the files.
        targets: pairs of format (``onnx``, ``tflite``, ``pte``) and precision (``fp32``, ``fp16``,
            ``int8``; TFLite also ``int8-dynamic``; ``pte`` only ``fp32``).
        data: test images for the comparison and training images for the ranges of int8; or
            images (N, C, H, W), normalised as in training, for both. When None, normal noise for
            the comparison; int8 is then refused.
        example: an input (N, C, H, W) whose shape is exported; by default that of `data`, or the
            deployment shape of a network that this package built.
        name: stem of the files.
        batch_size: images per call; None leaves it open (ONNX only).
        softmax: the output is probabilities.
        normalise_in_graph: the input is RGB from 0 to 255, normalised inside.
        check: run every file and compare it with torch before it gets its name.
        quiet: shows no progress.

    Raises:
        ExportError: no torch module, the shape is not known or does not fit the data, or a file
            cannot be made,
            written, or differs too much from the network.
        BackendUnavailableError: an optional dependency of a format is missing.

    Example:
        >>> import tempfile, torch
        >>> import proxyless_hw as ph
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = ph.export(network, folder, example=torch.zeros(1, 1, 8, 8), quiet=True)[0]
        >>> file.path.name, file.precision
        ('network-fp32.onnx', 'fp32')
    """
    if not isinstance(network, nn.Module):
        raise ExportError(
            f"a network is a torch module: received {type(network).__name__}. A run or a name: "
            "ph.export_run(SOURCE); an architecture: ph.build_network(ARCH)."
        )
    _check_arrays(data=None if isinstance(data, DataSplits) else data, example=example)
    shape = _image_shape(network, data, example)
    channels, side, _ = shape
    config = ExportConfig(
        resolution=side,
        channels=channels,
        weights="given from Python",
        batch_size=batch_size,
        include_softmax=softmax,
        normalise_in_graph=normalise_in_graph,
        verify=check,
    )
    pairs = [targets] if isinstance(targets, str) else targets  # a word is refused as a whole
    files = [target_of(pair, Path(folder), name) for pair in pairs]
    with phase("exporting", quiet) as say:
        return export_network(network, files, config, _export_data(data, shape), say)


def target_of(pair: tuple[FileFormat, FilePrecision], folder: Path, name: str) -> Target:
    """The file that a pair of format and precision names.

    Raises:
        ExportError: there is no such pair.
    """
    known = [(f, p) for f, precisions in PRECISIONS.items() for p in precisions]
    if not isinstance(pair, tuple | list) or tuple(pair) not in known:
        given = " ".join(map(str, pair)) if isinstance(pair, tuple | list) else str(pair)
        near = did_you_mean(given, [" ".join(item) for item in known])
        raise ExportError(
            f"a target is a pair of format and precision: received {pair!r}.{near} Known: "
            f"{', '.join(map(str, known))}."
        )
    form, precision = pair
    return Target(form, precision, folder / f"{name}-{precision}.{form}")


def _check_arrays(**given: object) -> None:
    """Checks that images are tensors or arrays.

    Raises:
        ExportError: something else was given, such as a tuple of one tensor.
    """
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor | np.ndarray):
            raise ExportError(
                f"{name} is one tensor or array (N, C, H, W), as a network has one input: received "
                f"{type(value).__name__}. Give {name}=torch.zeros(1, 3, 224, 224)."
            )


def _image_shape(
    network: nn.Module, data: DataSplits | Tensor | Images | None, example: Tensor | Images | None
) -> tuple[int, int, int]:
    """(C, H, W) of the input, from what says it; refused where two of them disagree."""
    stated: dict[str, tuple[int, ...]] = {}
    if example is not None:
        stated["example"] = tuple(example.shape[1:])
    if isinstance(data, DataSplits):
        stated["data"] = (data.channels, data.resolution, data.resolution)
    elif data is not None:
        stated["data"] = tuple(data.shape[1:])
    arch = getattr(network, "arch", None)
    if isinstance(arch, Architecture) and "example" not in stated:
        stated["network"] = (arch.in_channels, arch.resolution, arch.resolution)
    if not stated:
        raise ExportError(
            f"a module that this package did not build ({type(network).__name__}) has no known "
            "input: give example=torch.zeros(1, 3, 224, 224), or data."
        )
    if len(set(stated.values())) > 1:
        listed = ", ".join(f"{what} {_text(shape)}" for what, shape in stated.items())
        raise ExportError(
            f"images are to have one shape (C, H, W): received {listed}. Give data at the exported "
            "shape; example=torch.zeros(1, C, H, W) overrules the network's deployment shape."
        )
    shape = next(iter(stated.values()))
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ExportError(
            f"an input is (N, C, H, W) with H equal to W: received {_text(shape)} after N."
        )
    return shape[0], shape[1], shape[2]


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _export_data(
    data: DataSplits | Tensor | Images | None, shape: tuple[int, int, int]
) -> ExportData:
    channels, side, _ = shape
    if data is None:
        # Ranges from noise would spoil the weights: int8 then asks for images.
        return replace(random_data(side, channels=channels), calibration=None)
    if isinstance(data, DataSplits):
        return images_of(data)
    images = data.detach().cpu().numpy() if isinstance(data, Tensor) else data
    images = np.ascontiguousarray(images, dtype=np.float32)
    return ExportData(
        images=images,
        calibration=images[:CALIBRATION_IMAGES],
        source="the images given",
        preparation=as_given(),
    )


def images_of(splits: DataSplits, num_classes: int | None = None) -> ExportData:
    """Test images with labels, and training images to calibrate, of a data set.

    Args:
        splits: the data.
        num_classes: classes of the network; labels are left out where the data have others.
    """
    room = max(2, MAX_IMAGE_BYTES // (splits.channels * splits.resolution**2 * 4))
    images, labels = _take(splits.test, room)
    calibration, _ = _take(splits.train, CALIBRATION_IMAGES)
    fits = num_classes in (None, splits.num_classes) and labels.dtype == np.int64
    part = "" if len(images) == len(splits.test) else f" (of {len(splits.test)})"
    return ExportData(
        images=images,
        labels=labels if fits else None,
        calibration=calibration,
        mean=splits.mean,
        std=splits.std,
        class_names=splits.class_names if fits else None,
        source=f"the test set of {splits.name} at {splits.resolution} px{part}",
        preparation=as_given() if splits.preparation is None else splits.preparation.to_dict(),
    )


def _take(split: DataSplit, count: int) -> tuple[Images, NDArray[np.int64]]:
    """The first images of a shuffled pass: a fair sample where the split is larger."""
    batches = split.batches(0, shuffle=True, augment=False, drop_last=False)
    pairs = list(islice(batches, -(-count // split.config.batch_size)))
    images = np.concatenate([images.contiguous().numpy() for images, _ in pairs])[:count]
    labels = np.concatenate([labels.numpy() for _, labels in pairs])[:count]
    return images, labels
