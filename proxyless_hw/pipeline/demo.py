"""The whole loop on embedded data: profile this CPU, search, derive, export, measure, report."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from proxyless_hw.pipeline.lengths import SearchLength
from proxyless_hw.pipeline.stages import (
    Talk,
    export_stage,
    measure_stage,
    profile_stage,
    search_stage,
    verify_stage,
)
from proxyless_hw.predictors.judgement import judge_intervals
from proxyless_hw.predictors.verdict import Verification
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.profile import ProfileConfig
from proxyless_hw.profilers.protocol.measurement import Measurement
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.report.report import write_report
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.result import SearchResult
from proxyless_hw.search.run_folder import SearchFolder

PROFILE_SECONDS = 26.0
SEARCH_SECONDS = 32.0
VERIFY_SECONDS = 30.0
FILE_SECONDS = 6.0
LEAST_EPOCHS = (2, 4)
"""The expectation reaches its target in three epochs of search."""
BESIDE_SECONDS = 70.0
"""What is neither measuring nor training: writing and converting networks, building, starting."""
DIGITS_CLASSES = 10
FINALISTS = 4


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves behind.

    Attributes:
        folder: the run folder; ``report.html`` is in it.
        search: the search's result.
        onnx: the ONNX file, which the search was for: target, prediction, measurement, verdict.
        tflite: the TFLite file, for comparison; the search was not for its runtime.
        seconds: the whole demo.
    """

    folder: Path
    search: SearchResult
    onnx: Verification
    tflite: Measurement
    seconds: float


def run_demo(folder: Path, seed: int, talk: Talk) -> DemoResult:
    """Runs the loop; each stage that a killed demo has finished is not done again.

    Args:
        folder: the run folder.
        seed: of profile and search.
        talk: how it tells what it does.

    Raises:
        ProxylessHwError: whatever stops a stage.
    """
    started = time.perf_counter()
    whole = PROFILE_SECONDS + SEARCH_SECONDS + VERIFY_SECONDS + 2 * FILE_SECONDS + BESIDE_SECONDS
    talk.say(
        f"This profiles the CPU, searches a network for it on the embedded digits, exports and "
        f"measures it: about {whole / 60:.0f} minutes, more on a busy machine. Everything goes "
        f"into {folder}; stopped, the same command goes on."
    )
    path = folder / "table.csv"
    talk.say(
        "1/5  profiling this CPU: every op of the imagenet space at 224 px, 10 classes, "
        f"{PROFILE_SECONDS:.0f} s"
    )
    table = profile_stage(_profile_config(path, seed), talk)
    judgement = judge_intervals(table)
    if judgement.grade == "poor":
        talk.say(f"     {judgement.sentence} The demo goes on with what there is.")
    talk.say("2/5  searching for the middle of what this CPU can reach, then measuring finalists")
    config = SearchConfig(
        table=str(path),
        force=True,
        verify=True,
        verify_budget=VERIFY_SECONDS,
        finalists=FINALISTS,
        output=str(folder),
        resume=True,
        seed=seed,
    )
    search = search_stage(config, SearchLength(seconds=SEARCH_SECONDS, least=LEAST_EPOCHS), talk)
    talk.say(
        "3/5  exporting the found network as ONNX and TFLite, each compared with torch (about 30 s)"
    )
    onnx, tflite = export_stage(folder, "demo", talk)
    talk.say(f"4/5  measuring both files in a fresh process, up to {FILE_SECONDS:.0f} s each")
    verified = verify_stage(onnx, table, search, FILE_SECONDS, talk)
    measured = measure_stage([tflite], FILE_SECONDS, talk)[0]
    talk.say("5/5  writing the report")
    search = _record(search, verified)
    result = DemoResult(folder, search, verified, measured, time.perf_counter() - started)
    write_report([folder], None)
    return replace(result, seconds=time.perf_counter() - started)


def _profile_config(path: Path, seed: int) -> ProfileConfig:
    return ProfileConfig(
        output=path,
        device="cpu",
        settings=ProfilerSettings(runtime="onnxruntime"),
        space="imagenet",
        resolutions=(),
        num_classes=DIGITS_CLASSES,
        timing=TimingConfig(budget_s=PROFILE_SECONDS, seed=seed),
        resume=True,
    )


def _record(search: SearchResult, verified: Verification) -> SearchResult:
    """Adds the measured file to the run: the exported file, not only the network, was timed."""
    value, low, high = verified.decisive
    result = search.with_measured(value, (low, high), verified.to_json())
    run = SearchFolder(search.folder)
    result.architecture.save(run.architecture)
    run.write_json(run.result, result.to_json())
    return result
