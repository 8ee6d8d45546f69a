"""What an app needs to use an exported file, written inside it as one JSON text."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from proxyless_hw._version import __version__
from proxyless_hw.errors import ExportError
from proxyless_hw.export.preparation import AS_GIVEN
from proxyless_hw.storage.documents import MAX_BYTES, parse_json

METADATA_KEY: Final = "proxyless-hw"
METADATA_SCHEMA: Final = "proxyless-hw-model/1"
TFLITE_ENTRY: Final = "proxyless-hw.json"
LABELS_ENTRY: Final = "labels.txt"
SIGNATURE: Final = "serving_default"
"""Signature of the TFLite files, with the ends ``args_0`` and ``output_0``."""

_END_NAMES: Final = {
    "onnx": ("input", "output"),
    "tflite": ("args_0", "output_0"),
    "pte": (None, None),  # its runtime counts them
}
_MARKS: Final = {"tflite": ("TFLite file", b"TFL3"), "pte": ("ExecuTorch program", b"ET12")}
"""What a file of a format is called, and its flatbuffer's identifier."""


def describe_model(
    *,
    file_format: str,
    precision: str,
    input_shape: Sequence[int | None],
    output_shape: Sequence[int],
    softmax: bool,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    preparation: dict[str, Any],
    normalise_in_graph: bool,
    labels: Sequence[str] | None,
    weights: str,
    architecture: dict[str, Any] | None,
) -> dict[str, Any]:
    """Makes the document that is kept inside a file.

    Args:
        file_format: ``onnx``, ``tflite`` or ``pte``.
        precision: number format of the file.
        input_shape: shape of its input; None where the batch is open.
        output_shape: shape of its output without the batch.
        softmax: whether the output is probabilities.
        mean, std: normalisation per channel of RGB values from 0 to 1; None when unknown.
        preparation: how a picture gets the input's shape (`Preparation.to_dict`).
        normalise_in_graph: whether the file normalises by itself, from RGB 0 to 255.
        labels: class names in output order; None when unknown.
        weights: where the weights come from, in words.
        architecture: the architecture document; None of a module that has none.
    """
    whole = file_format == "tflite" and precision == "int8"
    colours = {1: "grey", 3: "RGB"}
    channels_last = file_format == "tflite"
    names = _END_NAMES[file_format]
    channels = input_shape[3 if channels_last else 1] or 0
    return {
        "schema": METADATA_SCHEMA,
        "generator": f"proxyless-hw {__version__}",
        "precision": precision,
        "signature": SIGNATURE if file_format == "tflite" else None,
        "input": {
            "name": names[0],
            "shape": list(input_shape),
            "dtype": "int8" if whole else "float32",
            "layout": "NHWC" if channels_last else "NCHW",
            "colours": colours.get(channels),
            **preparation,
            "values": _values(mean, preparation, normalise_in_graph),
            "mean": None if mean is None else list(mean),
            "std": None if std is None else list(std),
        },
        "output": {
            "name": names[1],
            "shape": [input_shape[0], *output_shape],
            "dtype": "int8" if whole else "float32",
            "values": "probabilities" if softmax else "logits",
            "labels": None if labels is None else list(labels),
        },
        "weights": weights,
        "architecture": architecture,
    }


def _values(mean: Sequence[float] | None, preparation: dict[str, Any], in_graph: bool) -> str:
    """What the numbers of the input are."""
    if in_graph:
        return "0 to 255"
    if mean is None and AS_GIVEN in preparation.values():
        return AS_GIVEN
    return "(value / 255 - mean) / std"


def add_to_onnx(model: bytes, document: dict[str, Any]) -> bytes:
    """Keeps the document in the model's ``metadata_props``, under ``proxyless-hw``."""
    proto = onnx.load_from_string(model)
    proto.metadata_props.add(key=METADATA_KEY, value=json.dumps(document, allow_nan=False))
    proto.producer_name, proto.producer_version = "proxyless-hw", __version__
    return bytes(proto.SerializeToString())


def add_as_archive(model: bytes, document: dict[str, Any]) -> bytes:
    """Appends the document, and ``labels.txt`` where there are labels, as a zip archive.

    This is where TFLite's own tools keep a model's associated files: interpreters read the model
    from the front and ignore the rest, archive tools read from the back. ``unzip -p M.tflite
    proxyless-hw.json`` shows the document. ExecuTorch reads its programs from the front as well.
    """
    stream = io.BytesIO()
    stream.write(model)
    with zipfile.ZipFile(stream, "a") as archive:
        _add_entry(archive, TFLITE_ENTRY, json.dumps(document, allow_nan=False, indent=1))
        if document["output"]["labels"] is not None:
            _add_entry(archive, LABELS_ENTRY, "\n".join(document["output"]["labels"]) + "\n")
    return stream.getvalue()


def _add_entry(archive: zipfile.ZipFile, name: str, text: str) -> None:
    # A fixed date, so that equal models give equal files.
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """The document inside a file that was exported here; None in any other model file.

    Raises:
        ExportError: the file cannot be read as the format its name ends with.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ExportError(f"cannot read {path}: {cause.strerror or cause}.") from cause
    text = _onnx_text(content, path) if path.suffix == ".onnx" else _archived_text(content, path)
    if text is None:
        return None
    document = parse_json(text, ExportError, f"the metadata of {path}")
    if not isinstance(document, dict) or document.get("schema") != METADATA_SCHEMA:
        raise ExportError(f"the metadata of {path} must have the schema '{METADATA_SCHEMA}'.")
    return document


def _onnx_text(content: bytes, path: Path) -> str | None:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_from_string(content)
    except DecodeError as cause:
        raise ExportError(f"{path} is not an ONNX file: {cause}.") from cause
    return next((item.value for item in model.metadata_props if item.key == METADATA_KEY), None)


def _archived_text(content: bytes, path: Path) -> str | None:
    kind, mark = _MARKS["pte" if path.suffix == ".pte" else "tflite"]
    if content[4:8] != mark:
        raise ExportError(f"{path} is not a {kind}: it lacks the mark '{mark.decode()}'.")
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if TFLITE_ENTRY not in archive.namelist():
                return None
            if archive.getinfo(TFLITE_ENTRY).file_size > MAX_BYTES:
                raise ExportError(f"the metadata of {path} is larger than {MAX_BYTES >> 20} MiB.")
            return archive.read(TFLITE_ENTRY).decode()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as cause:
        # RuntimeError: an entry that is encrypted, or compressed in a way that is not known here.
        raise ExportError(f"the metadata of {path} is damaged: {cause}.") from cause
