"""What a run's export manifest says, as rows of the report."""

from __future__ import annotations

from typing import Any

from proxyless_hw.errors import ReportError
from proxyless_hw.report.run_data import MANIFEST, RunData


def export_rows(run: RunData) -> list[tuple[str, ...]]:
    """One row per exported file: name, size, differences, accuracies, latency.

    Raises:
        ReportError: the manifest is malformed.
    """
    rows: list[tuple[str, ...]] = []
    for file in _files(run):
        check = file.get("verification") or {}
        rows.append(
            (
                str(file["file"]),
                f"{file['bytes'] / 2**20:.2f} MiB",
                _text(check.get("max_difference"), "{:.2g}"),
                _text(check.get("top1_agreement"), "{:.1%}"),
                _text(check.get("accuracy_before"), "{:.1%}"),
                _text(check.get("accuracy_after"), "{:.1%}"),
                _text((file.get("latency") or {}).get("median_ms"), "{:.4g} ms"),
            )
        )
    return rows


def int8_ratio(run: RunData) -> float | None:
    """Measured latency of the int8 TFLite file over that of the fp32 one; None without both.

    Raises:
        ReportError: the manifest is malformed.
    """
    medians = {
        file.get("precision"): (file.get("latency") or {}).get("median_ms")
        for file in _files(run)
        if file.get("format") == "tflite"
    }
    fp32, int8 = medians.get("fp32"), medians.get("int8")
    return int8 / fp32 if fp32 and int8 else None


def _files(run: RunData) -> list[dict[str, Any]]:
    if run.manifest is None:
        return []
    files = run.manifest.get("files")
    if not isinstance(files, list):
        raise ReportError(f"{run.path / MANIFEST}: files must be a list.")
    for index, file in enumerate(files):
        where = f"{run.path / MANIFEST}: files[{index}]"
        if not isinstance(file, dict) or not isinstance(file.get("file"), str):
            raise ReportError(f"{where} must be an object that names its file.")
        if type(file.get("bytes")) is not int:
            raise ReportError(f"{where}.bytes must be a whole number.")
        for key in ("verification", "latency"):
            block = file.get(key) or {}
            if not isinstance(block, dict):
                raise ReportError(f"{where}.{key} must be an object.")
            for name, value in block.items():
                if name in _NUMBERS and value is not None and type(value) not in (int, float):
                    raise ReportError(f"{where}.{key}.{name} must be a number.")
    return files


_NUMBERS = frozenset(
    ("max_difference", "top1_agreement", "accuracy_before", "accuracy_after", "median_ms")
)


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
