"""The whole loop on embedded data: profile this CPU, search, derive, export, measure, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxyless_hw.architecture import Architecture
from proxyless_hw.deploy import load_images, load_source
from proxyless_hw.errors import ProfilingError
from proxyless_hw.export.export import ExportConfig, Target, export_network, write_manifest
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.networks import Measured, measure_in_fresh_process
from proxyless_hw.profilers.profile import ProfileConfig, profile
from proxyless_hw.profilers.timing import Progress, TimingConfig
from proxyless_hw.report.report import write_report
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import SearchResult, read_result, run_search
from proxyless_hw.search.observer import SearchObserver, TerminalObserver
from proxyless_hw.search.run_folder import RunFolder
from proxyless_hw.search.verify import agrees
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import in_unit

PROFILE_SECONDS = 60.0
DIGITS_CLASSES = 10
SCHEDULE: dict[str, Any] = {"warmup_epochs": 8, "epochs": 16, "finalists": 6}

ShowProgress = Callable[[str], AbstractContextManager[Callable[[Progress], None] | None]]


@dataclass(frozen=True)
class DemoRow:
    """One exported file: target, prediction, measurement.

    Attributes:
        file: the exported file.
        runtime: what ran it.
        target_ms: the search's target; None for a runtime the search was not for.
        predicted_ms: by the profiled table; None likewise.
        measured: in a fresh process.
    """

    file: Path
    runtime: str
    target_ms: float | None
    predicted_ms: float | None
    measured: Measured


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves behind.

    Attributes:
        folder: the run folder; ``report.html`` is in it.
        search: the search's result.
        rows: one per exported file.
        agrees: whether the ONNX file's measured interval comes within 3% of the target.
        seconds: the whole demo.
    """

    folder: Path
    search: SearchResult
    rows: tuple[DemoRow, ...]
    agrees: bool
    seconds: float


def run_demo(
    folder: Path, seed: int, quiet: bool, show_progress: ShowProgress, say: Callable[[str], None]
) -> DemoResult:
    """Runs the loop; each stage that a killed demo has finished is not done again.

    Args:
        folder: the run folder.
        seed: of profile and search.
        quiet: no progress.
        show_progress: makes a progress bar for the profile.
        say: told of each stage.

    Raises:
        ProxylessHwError: whatever stops a stage.
    """
    started = time.perf_counter()
    table_path = folder / "table.csv"
    say("1/5  profiling this CPU: every op of the imagenet space at 224 px, 10 classes")
    _profile(table_path, seed, show_progress)
    say("2/5  searching for the middle of what this CPU can reach, then measuring the finalists")
    search = _search(folder, table_path, seed, quiet)
    say("3/5  exporting the found network as ONNX and TFLite, each compared with torch")
    onnx, tflite = _export(folder)
    say("4/5  measuring both files in a fresh process")
    rows = _measure(onnx, tflite, search)
    first = rows[0].measured
    target = float(search.document["target_ms"])
    result = DemoResult(
        folder,
        search,
        rows,
        agrees(target, first.ci_low_ms, first.ci_high_ms),
        time.perf_counter() - started,
    )
    say("5/5  writing the report")
    _record(folder, result)
    write_report([folder], None)
    return replace(result, seconds=time.perf_counter() - started)


def _profile(path: Path, seed: int, show_progress: ShowProgress) -> LatencyTable:
    config = ProfileConfig(
        output=path,
        device="cpu",
        settings=ProfilerSettings(runtime="onnxruntime"),
        space="imagenet",
        resolutions=(),
        num_classes=DIGITS_CLASSES,
        timing=TimingConfig(budget_s=PROFILE_SECONDS, seed=seed),
        resume=True,
    )
    with show_progress("profiling imagenet") as progress:
        return profile(config, progress)


def _search(folder: Path, table: Path, seed: int, quiet: bool) -> SearchResult:
    run = RunFolder(folder)
    if run.result.exists():
        return read_result(folder)
    config = SearchConfig(
        table=str(table), output=str(folder), resume=True, verify=True, seed=seed, **SCHEDULE
    )
    return run_search(config, _silent if quiet else TerminalObserver)


def _silent(constraints: object) -> SearchObserver:
    return SearchObserver()


def _export(folder: Path) -> tuple[Path, Path]:
    source = load_source(str(folder))
    if source.data is None:
        raise ProfilingError(f"{folder} names no data set: it is no run of the demo.")
    data = load_images(source.data, source.network)
    config = ExportConfig(resolution=source.network.arch.resolution, weights=source.weights)
    targets = [
        Target("onnx", "fp32", folder / "exports" / "demo-fp32.onnx"),
        Target("tflite", "fp32", folder / "exports" / "demo-fp32.tflite"),
    ]
    files = export_network(source.network, targets, config, data)
    write_manifest(folder / "exports" / "manifest.json", files, source.network, config)
    return targets[0].path, targets[1].path


def _measure(onnx: Path, tflite: Path, search: SearchResult) -> tuple[DemoRow, ...]:
    timing = TimingConfig(goal=0.005)
    (onnx_ms,) = measure_in_fresh_process(paths=[onnx], timing=timing, sessions=3)
    (tflite_ms,) = measure_in_fresh_process(paths=[tflite], timing=timing, sessions=3)
    predicted = float(search.document["predicted_ms"])
    target = float(search.document["target_ms"])
    return (
        DemoRow(onnx, "ONNX Runtime", target, predicted, onnx_ms),
        DemoRow(tflite, "LiteRT", None, None, tflite_ms),
    )


def _record(folder: Path, result: DemoResult) -> None:
    """Adds the measured file to the run: the exported file, not only the network, was timed."""
    measured = result.rows[0].measured
    interval = [measured.ci_low_ms, measured.ci_high_ms]
    facts = in_unit({"measured": measured.median_ms, "measured_interval": interval}, "ms")
    run = RunFolder(folder)
    arch = Architecture.load(run.architecture)
    replace(arch, provenance={**arch.provenance, **facts}).save(run.architecture)
    run.write_json(run.result, {**run.read_json(run.result), **facts})
