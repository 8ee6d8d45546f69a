"""From a network to checked files: convert once per format, quantise, verify, write."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from proxyless_hw.errors import ExportError
from proxyless_hw.export.images import FLOAT_IMAGES, ExportData
from proxyless_hw.export.metadata import add_as_archive, add_to_onnx, describe_model
from proxyless_hw.export.onnx_file import OPSET, onnx_bytes
from proxyless_hw.export.prepare import DeployedNetwork
from proxyless_hw.export.pte_file import pte_bytes
from proxyless_hw.export.quantise import (
    NEEDS_CALIBRATION,
    FilePrecision,
    QuantisedForm,
    quantise_onnx,
    quantise_tflite,
)
from proxyless_hw.export.runtimes import Images
from proxyless_hw.export.tflite_file import tflite_bytes
from proxyless_hw.export.verify import (
    FileFormat,
    Verification,
    require_passed,
    torch_outputs,
    verify_bytes,
)
from proxyless_hw.network.network import architecture_of
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.files import atomic_path

WHOLE_SET: Final[tuple[tuple[FileFormat, FilePrecision], ...]] = (
    ("onnx", "fp32"),
    ("tflite", "fp32"),
    ("tflite", "fp16"),
    ("tflite", "int8"),
    ("tflite", "int8-dynamic"),
)
"""What `export --all` writes."""

CALIBRATION_IMAGES: Final = 256


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """The shape and ends of the exported files.

    Attributes:
        resolution: input height and width in pixels.
        channels: channels of the input.
        batch_size: images per call; None leaves it open (ONNX only).
        include_softmax: the output is probabilities.
        normalise_in_graph: the input is RGB from 0 to 255, normalised inside.
        verify: run every file and compare it with torch before it gets its name.
        weights: where the weights come from, in words; kept in the file.
        opset: of ONNX files, from 11 to 20.
        quantised_as: how int8 ONNX files say it: ``qdq`` (QuantizeLinear and DequantizeLinear
            around float ops) or ``qoperator`` (quantised ops).
    """

    resolution: int
    channels: int = 3
    batch_size: int | None = 1
    include_softmax: bool = False
    normalise_in_graph: bool = False
    verify: bool = True
    weights: str = "unknown"
    opset: int = OPSET
    quantised_as: QuantisedForm = "qdq"


@dataclass(frozen=True)
class Target:
    """One file to write."""

    file_format: FileFormat
    precision: FilePrecision
    path: Path


@dataclass(frozen=True)
class ExportedFile:
    """One file that was written.

    Attributes:
        target: what was asked for.
        size: bytes.
        sha256: hash of its content, in hexadecimal.
        verification: the comparison with torch; None when it was not asked for.
        document: what the file says about itself (`describe_model`).
        seconds: time from the float model to the written file.

    Example:
        >>> import proxyless_hw as ph
        >>> files = ph.export(ph.load("runs/x"), "files")  # doctest: +SKIP
        >>> files[0].path, files[0].agreement  # doctest: +SKIP
        (PosixPath('files/network-fp32.onnx'), 1.0)
    """

    target: Target
    size: int
    sha256: str
    verification: Verification | None
    document: JsonObject
    seconds: float

    @property
    def agreement(self) -> float | None:
        """Fraction of images with torch's first class; None where it was not checked."""
        return None if self.verification is None else self.verification.top1_agreement

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.target.path

    @property
    def format(self) -> FileFormat:
        """``onnx``, ``tflite`` or ``pte``."""
        return self.target.file_format

    @property
    def precision(self) -> FilePrecision:
        """Number format of the file."""
        return self.target.precision

    def to_dict(self) -> JsonObject:
        """A plain dict for JSON; `file` is the name without its folder."""
        return {
            "file": self.target.path.name,
            "format": self.target.file_format,
            "precision": self.target.precision,
            "bytes": self.size,
            "sha256": self.sha256,
            "input": self.document["input"],
            "output": self.document["output"],
            "verification": None if self.verification is None else self.verification.to_dict(),
        }


def export_network(
    network: nn.Module,
    targets: Sequence[Target],
    config: ExportConfig,
    data: ExportData,
    report: Callable[[str], None] = lambda message: None,
) -> list[ExportedFile]:
    """Writes a network as model files, each checked against it.

    An existing file is replaced, in one step and only once its successor has passed.

    Args:
        network: what is written: images (N, C, H, W) to (N, ...). Its own mode and weights are
            left alone.
        targets: the files, several of one format share the conversion.
        config: shape and ends.
        data: images for calibration and comparison.
        report: receives messages about the progress, one line at a time.

    Raises:
        ExportError: a file cannot be made, written, or differs too much (`Verification.limit`);
            int8 is asked for without images, before anything is written.
        BackendUnavailableError: an optional dependency of a format is missing.
    """
    for target in targets:
        if target.file_format == "pte" and target.precision != "fp32":
            raise ExportError(
                "ExecuTorch programs are written in fp32 alone: received --precision "
                f"{target.precision}. Next: leave it out, or choose --format tflite."
            )
    if data.calibration is None and any(target.precision == "int8" for target in targets):
        raise ExportError(NEEDS_CALIBRATION)
    exporter = _Exporter(network, config, data)
    written = []
    for target in targets:
        report(f"{target.path.name}: {target.file_format} {target.precision}")
        written.append(exporter.write(target))
    return written


def whole_set(folder: Path, stem: str) -> list[Target]:
    """The targets of `export --all`: ``STEM-fp32.onnx``, ``STEM-int8.tflite``, ..."""
    return [
        Target(file_format, precision, folder / f"{stem}-{precision}.{file_format}")
        for file_format, precision in WHOLE_SET
    ]


class _Exporter:
    """One network on its way into several files; conversions and torch's outputs are kept."""

    def __init__(self, network: nn.Module, config: ExportConfig, data: ExportData) -> None:
        self.arch = architecture_of(network)
        self.config = config
        self.data = data
        ends = {}
        if config.normalise_in_graph:
            if data.mean is None or data.std is None:
                raise ExportError(
                    "--normalise-in-graph needs the data's mean and standard deviation: received "
                    "a network without data. Export a run, or give --data."
                )
            ends = {"mean": data.mean, "std": data.std}
        self.module = DeployedNetwork(network, softmax=config.include_softmax, **ends).eval()
        self.images = self._as_file_input(data.images)
        self._float_models: dict[FileFormat, bytes] = {}
        self._expected: NDArray[np.float32] | None = None

    def write(self, target: Target) -> ExportedFile:
        model = self._float_model(target.file_format)
        started = time.perf_counter()
        document = self._document(target)
        calibration = self._calibration(target) if target.precision == "int8" else None
        if target.file_format == "onnx":
            form = self.config.quantised_as
            model = quantise_onnx(model, target.precision, calibration, form)
            model = add_to_onnx(model, document)
        else:
            if target.file_format == "tflite":
                model = quantise_tflite(model, target.precision, calibration)
            model = add_as_archive(model, document)
        verification = self._verify(model, target) if self.config.verify else None
        with atomic_path(target.path, ExportError) as temporary:
            temporary.write_bytes(model)
        return ExportedFile(
            target=target,
            size=len(model),
            sha256=hashlib.sha256(model).hexdigest(),
            verification=verification,
            document=document,
            seconds=time.perf_counter() - started,
        )

    def _float_model(self, file_format: FileFormat) -> bytes:
        if file_format not in self._float_models:
            shape = (self.config.batch_size or 1, *self._image_shape())
            if file_format == "onnx":
                dynamic = self.config.batch_size is None
                model = onnx_bytes(
                    self.module, shape, dynamic_batch=dynamic, opset=self.config.opset
                )
            elif self.config.batch_size is None:
                raise ExportError(
                    f"a .{file_format} file has a fixed batch size: received dynamic. "
                    "Give --batch-size N, or --format onnx."
                )
            elif file_format == "pte":
                model = pte_bytes(self.module, shape)
            else:
                model = tflite_bytes(self.module, shape, channels_last_output=False)
            self._float_models[file_format] = model
        return self._float_models[file_format]

    def _document(self, target: Target) -> JsonObject:
        data = self.data
        channels, height, width = self._image_shape()
        last = target.file_format == "tflite"
        shape = (height, width, channels) if last else (channels, height, width)
        return describe_model(
            file_format=target.file_format,
            precision=target.precision,
            input_shape=(self.config.batch_size, *shape),
            output_shape=self._torch_outputs(1).shape[1:],
            softmax=self.config.include_softmax,
            mean=data.mean,
            std=data.std,
            preparation=data.preparation,
            normalise_in_graph=self.config.normalise_in_graph,
            labels=data.class_names,
            weights=self.config.weights,
            architecture=None if self.arch is None else json.loads(self.arch.to_json()),
        )

    def _image_shape(self) -> tuple[int, int, int]:
        return self.config.channels, self.config.resolution, self.config.resolution

    def _verify(self, model: bytes, target: Target) -> Verification:
        labels = self.data.labels
        count = len(self.images)
        if labels is None and target.precision in ("fp32", "fp16"):
            count = min(count, FLOAT_IMAGES)
        count -= count % (self.config.batch_size or 1)
        if not count:
            raise ExportError(
                f"the file runs {self.config.batch_size} images at once, and there are "
                f"{len(self.images)} to check it with: choose a smaller --batch-size, give --data "
                "with more images, or --no-verify."
            )
        result = verify_bytes(
            model,
            target.file_format,
            target.precision,
            self._torch_outputs(count),
            self.images[:count],
            labels=None if labels is None else labels[:count],
            source=self.data.source,
        )
        require_passed(result, target.path.name)
        return result

    def _torch_outputs(self, count: int) -> NDArray[np.float32]:
        """torch's outputs for the first `count` images, each computed once for all files."""
        known = len(self._expected) if self._expected is not None else 0
        if known < count:
            rest = torch_outputs(self.module, self.images[known:count])
            self._expected = (
                rest if self._expected is None else np.concatenate([self._expected, rest])
            )
        assert self._expected is not None
        return self._expected[:count]

    def _calibration(self, target: Target) -> Images | None:
        images = self.data.calibration
        if images is None:
            return None
        images = self._as_file_input(images[:CALIBRATION_IMAGES])
        batch = self.config.batch_size or 1
        images = images[: len(images) - len(images) % batch]
        if target.file_format == "tflite":
            images = images.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images).reshape(-1, batch, *images.shape[1:])

    def _as_file_input(self, images: Images) -> Images:
        if not self.config.normalise_in_graph:
            return images
        mean = np.asarray(self.data.mean, np.float32)[:, None, None]
        std = np.asarray(self.data.std, np.float32)[:, None, None]
        pixels: Images = np.clip(np.round((images * std + mean) * 255), 0, 255).astype(np.float32)
        return pixels
