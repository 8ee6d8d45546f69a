"""What the manifest of a run's exported files says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ReportError
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.storage.documents import parse_json, read_text

MANIFEST: Final = Path("exports") / "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRow:
    """One exported file. What was not compared or measured is None.

    Attributes:
        file: its name.
        format, precision: as ``tflite`` and ``int8``; None where the manifest does not say.
        bytes: its size.
        max_difference: from torch, in standard deviations of the network's outputs.
        top1_agreement: share of the images on which both take the same class.
        accuracy_before, accuracy_after: of torch and of the file, in [0, 1].
        median_ms: measured latency.
    """

    file: str
    format: str | None
    precision: str | None
    bytes: int
    max_difference: float | None
    top1_agreement: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    median_ms: float | None

    def cells(self) -> tuple[str, ...]:
        """Name, size, differences, accuracies and latency for a table."""
        return (
            self.file,
            f"{self.bytes / 2**20:.2f} MiB",
            _text(self.max_difference, "{:.2g}"),
            _text(self.top1_agreement, "{:.1%}"),
            _text(self.accuracy_before, "{:.1%}"),
            _text(self.accuracy_after, "{:.1%}"),
            _text(self.median_ms, "{:.4g} ms"),
        )


def read_exports(run: Path) -> tuple[ExportedRow, ...] | None:
    """The exported files of a run; None where nothing was exported.

    Raises:
        ReportError: the manifest is malformed.
    """
    path = run / MANIFEST
    if not path.is_file():
        return None
    document = parse_json(read_text(path, ReportError, path.name), ReportError, str(path))
    return exported_rows(document, str(path))


def exported_rows(manifest: object, source: str) -> tuple[ExportedRow, ...]:
    """The files of a parsed manifest; `source` names it in messages.

    Raises:
        ReportError: it is malformed.
    """
    if not isinstance(manifest, dict):
        raise ReportError(f"{source} must hold a JSON object: received {type(manifest).__name__}.")
    files = manifest.get("files")
    if not isinstance(files, list):
        raise ReportError(f"{source}: files must be a list.")
    return tuple(_row(file, f"{source}: files[{index}]") for index, file in enumerate(files))


def _row(file: object, where: str) -> ExportedRow:
    if not isinstance(file, dict) or not isinstance(file.get("file"), str):
        raise ReportError(f"{where} must be an object that names its file.")
    read = ResultFields(file, where, ReportError, inside=True)
    size = read.count("bytes")
    if size is None:
        raise ReportError(f"{where}.bytes must be a whole number.")
    check, latency = read.object("verification"), read.object("latency")
    return ExportedRow(
        file=read.text("file"),
        format=read.words("format"),
        precision=read.words("precision"),
        bytes=size,
        max_difference=None if check is None else check.optional("max_difference"),
        top1_agreement=None if check is None else check.optional("top1_agreement"),
        accuracy_before=None if check is None else check.optional("accuracy_before"),
        accuracy_after=None if check is None else check.optional("accuracy_after"),
        median_ms=None if latency is None else latency.optional("median_ms"),
    )


def int8_ratio(files: Sequence[ExportedRow]) -> float | None:
    """Measured latency of the int8 TFLite file over that of the fp32 one; None without both."""
    medians = {file.precision: file.median_ms for file in files if file.format == "tflite"}
    fp32, int8 = medians.get("fp32"), medians.get("int8")
    return int8 / fp32 if fp32 and int8 else None


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
