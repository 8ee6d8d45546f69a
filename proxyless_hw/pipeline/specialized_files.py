"""The model files of `specialize`: which one is verified, and what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from proxyless_hw.pipeline.deploy import EXPORT_FOLDER
from proxyless_hw.pipeline.specialize_result import TRAIN_FOLDER, SpecializedFile
from proxyless_hw.pipeline.stages import Talk, measure_stage
from proxyless_hw.predictors.verdict import Verification
from proxyless_hw.profilers.file_forms import RUNTIME_FORM
from proxyless_hw.report.exports import read_exports
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.tables.table import LatencyTable


def written_files(folder: Path) -> tuple[SpecializedFile, ...]:
    """The files of a `specialize` folder as their manifest describes them.

    Raises:
        ReportError: the manifest is malformed.
    """
    place = Path(TRAIN_FOLDER) / EXPORT_FOLDER
    return tuple(
        SpecializedFile(
            file=str(place / row.file),
            format=row.format or "",
            precision=row.precision or "",
            bytes=row.bytes,
            accuracy=row.accuracy_after,
            top1_agreement=row.top1_agreement,
        )
        for row in read_exports(folder / TRAIN_FOLDER) or ()
    )


def verified_part(
    folder: Path, files: Sequence[SpecializedFile], table: LatencyTable, arch: Architecture
) -> Path | Architecture:
    """What is measured beside the table's anchors: the file that its runtime and precision name.

    The network itself, as the profiler builds it, where no file is of them.
    """
    header = table.metadata
    wanted = RUNTIME_FORM.get((header.get("runtime") or "").partition(" ")[0])
    if header.get("batch_size", "1") != "1":  # files run one image at a time
        return arch
    for file in files:
        if (file.format, file.precision) == (wanted, header.get("precision", "fp32")):
            return folder / file.file
    return arch


def measured_others(
    folder: Path,
    files: Sequence[SpecializedFile],
    verified: Verification,
    budget_s: float,
    talk: Talk,
) -> tuple[SpecializedFile, ...]:
    """The files with their latencies: the verified one's own, the others as the machine is now.

    Raises:
        ProfilingError, BackendUnavailableError: a file cannot be measured.
    """
    found = {Path(verified.name): verified.measured}
    for kind in dict.fromkeys(file.format for file in files):
        paths = [folder / file.file for file in files if file.format == kind]
        rest = [path for path in paths if path not in found and path.absolute() not in found]
        if rest:
            measured = measure_stage(rest, budget_s, talk)
            found |= dict(zip(rest, measured, strict=True))
    complete = []
    for file in files:
        path = folder / file.file
        item = found.get(path) or found[path.absolute()]
        complete.append(
            replace(file, median_ms=item.median, ci_low_ms=item.ci_low, ci_high_ms=item.ci_high)
        )
    return tuple(complete)
