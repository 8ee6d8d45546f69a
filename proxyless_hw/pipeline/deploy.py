"""From a run or an architecture to checked model files with latencies: what `export` calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxyless_hw.errors import ExportError
from proxyless_hw.export.export import ExportConfig, export_network, whole_set
from proxyless_hw.export.images import ExportData, random_data
from proxyless_hw.export.manifest import write_manifest
from proxyless_hw.network.network import Network
from proxyless_hw.pipeline.export import images_of
from proxyless_hw.pipeline.source import Source
from proxyless_hw.report.exports import exported_rows, int8_ratio
from proxyless_hw.storage.documents import JsonObject, parse_json, read_text
from proxyless_hw.tables.table import LatencyTable

if TYPE_CHECKING:
    from proxyless_hw.data.base import DataConfig
    from proxyless_hw.profilers.protocol.measurement import Measurement

EXPORT_FOLDER: Final = "exports"
MANIFEST: Final = "manifest.json"


def load_images(config: DataConfig, network: Network) -> ExportData:
    """Real images at the network's resolution: test images, and training images to calibrate.

    Raises:
        DataError: the data cannot be read.
    """
    from proxyless_hw.data.load import load_data

    resolution = network.arch.resolution
    splits = load_data(replace(config, resolution=resolution, batch_size=32, workers=0))
    return images_of(splits, network.arch.num_classes)


def export_all(
    source: Source,
    folder: Path,
    config: ExportConfig,
    data: ExportData,
    *,
    measure: bool = True,
    report: Callable[[str], None] = lambda message: None,
) -> JsonObject:
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
            Path(name).name: {**item.to_json(), "name": Path(name).name}
            for name, item in measured.items()
        }
        write_manifest(path, files, source.network, config, latencies)
    manifest: JsonObject = json.loads(path.read_text(encoding="utf-8"))
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
    from proxyless_hw.profilers.file_forms import CPU_RUNTIMES, by_form
    from proxyless_hw.profilers.networks import measure_files
    from proxyless_hw.profilers.protocol.measurement import Measuring
    from proxyless_hw.profilers.protocol.timing import TimingConfig

    measured: dict[str, Measurement] = {}
    for form, group in by_form(files).items():
        budget_s = EXPORT_SECONDS_A_FILE * len(group)
        how = Measuring(timing=TimingConfig(goal=0.01, budget_s=budget_s, spend=False))
        if table is not None and table.metadata.get("runtime") == CPU_RUNTIMES[form][0]:
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


def int8_over_fp32(manifest: JsonObject) -> float | None:
    """Latency of the int8 TFLite file over the fp32 one's; None where either is unmeasured."""
    return int8_ratio(exported_rows(manifest, MANIFEST))


def default_data(source: Source) -> ExportData:
    """The run's images; seeded noise for a bare architecture."""
    if source.data is not None:
        return load_images(source.data, source.network)
    arch = source.network.arch
    return random_data(arch.resolution, channels=arch.in_channels)
