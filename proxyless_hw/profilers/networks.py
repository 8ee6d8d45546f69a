"""Whole networks and model files, measured by the same protocol as ops."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from proxyless_hw.architecture import Architecture
from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import Profiler, ProfilerSettings, Workload
from proxyless_hw.profilers.building import REFERENCE_OP
from proxyless_hw.profilers.drift import Round
from proxyless_hw.profilers.timing import Estimate, Progress, TimingConfig, estimates, measure

NETWORKS_PER_SESSION = 40
"""Networks held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measured network or file.

    Attributes:
        name: the network's name or the file's path.
        median_ms: median of per-round medians.
        ci_low_ms, ci_high_ms: its 95% interval.
        p90_ms: 90th percentile of single samples, drift-corrected as the median is.
        min_ms: smallest sample, likewise.
        rounds: rounds measured.
        samples: timed calls.
        converged: whether the goal was met.
    """

    name: str
    median_ms: float
    ci_low_ms: float
    ci_high_ms: float
    p90_ms: float
    min_ms: float
    rounds: int
    samples: int
    converged: bool


def measure_files(
    paths: Sequence[str | Path],
    settings: ProfilerSettings | None = None,
    *,
    device: str = "cpu",
    timing: TimingConfig | None = None,
    sessions: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> list[Measured]:
    """Measures model files, interleaved.

    Args:
        paths: .onnx or .tflite files, all for one runtime.
        settings: how they are run; the runtime follows from the suffix when it names none.
        device: device kind.
        timing: the protocol's settings; 1% and at most 100 rounds by default.
        sessions: times the runners are built; intervals of several contain what that changes.
        progress: called after each round.

    Raises:
        ProfilingError: a file is missing or cannot be run, or the files need two runtimes.
        BackendUnavailableError: the device or runtime is not there.
    """
    files = [Path(path) for path in paths]
    for file in files:
        if not file.is_file():
            raise ProfilingError(f"no model file {file}.")
    chosen = settings_for_files(files, settings or ProfilerSettings(), device)
    workloads = [Workload(name=str(file), file=file) for file in dict.fromkeys(files)]
    return measure_workloads(
        workloads, chosen, device=device, timing=timing, sessions=sessions, progress=progress
    )


def measure_networks(
    archs: Sequence[Architecture],
    settings: ProfilerSettings | None = None,
    *,
    device: str = "cpu",
    names: Sequence[str] | None = None,
    timing: TimingConfig | None = None,
    sessions: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> list[Measured]:
    """Measures networks at their deployment shape, interleaved.

    Args:
        archs: the networks.
        settings: how they are run.
        device: device kind.
        names: one distinct name per network; ``network 0``, ... by default.
        timing: the protocol's settings; 1% and at most 100 rounds by default.
        sessions: times the runners are built; intervals of several contain what that changes.
        progress: called after each round.

    Raises:
        ProfilingError: a network cannot be built or run.
        BackendUnavailableError: the device or runtime is not there.
    """
    labels = [f"network {index}" for index in range(len(archs))] if names is None else list(names)
    workloads = [
        Workload(name=label, arch=arch, batch_norm=arch.batch_norm)
        for label, arch in zip(labels, archs, strict=True)
    ]
    chosen = settings or ProfilerSettings()
    return measure_workloads(
        workloads, chosen, device=device, timing=timing, sessions=sessions, progress=progress
    )


def measure_workloads(
    workloads: Sequence[Workload],
    settings: ProfilerSettings,
    *,
    device: str = "cpu",
    timing: TimingConfig | None = None,
    sessions: int = 1,
    progress: Callable[[Progress], None] | None = None,
    profiler: Profiler | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Measured]:
    """Measures networks or files, at most 40 built at a time; the reference joins each session.

    Raises:
        ProfilingError, BackendUnavailableError: as `measure_files`.
    """
    if len({workload.name for workload in workloads}) != len(workloads):
        raise ProfilingError("networks measured together need distinct names.")
    if profiler is None:
        from proxyless_hw.profilers.registry import get_profiler

        profiler = get_profiler(device, settings)
    config = timing or TimingConfig(goal=0.01)
    started = clock()
    results: list[Measured] = []
    for first in range(0, len(workloads), NETWORKS_PER_SESSION):
        chunk = list(workloads[first : first + NETWORKS_PER_SESSION])
        results += _measure_chunk(
            chunk,
            profiler,
            config,
            sessions,
            first,
            len(workloads),
            progress,
            clock,
            sleep,
            started,
        )
    return results


def _measure_chunk(
    chunk: Sequence[Workload],
    profiler: Profiler,
    config: TimingConfig,
    sessions: int,
    before: int,
    total: int,
    progress: Callable[[Progress], None] | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    started: float,
) -> list[Measured]:
    """Measures workloads `before` to `before + len(chunk)` of `total`, on their budget share."""
    reference = _reference(profiler)
    listed = [*chunk, *reference]
    names = [workload.name for workload in chunk]
    rounds: list[Round] = []
    for part in range(sessions):
        budget = config.budget_s
        if budget is not None:
            budget *= (before + len(chunk) * (part + 1) / sessions) / total
        with profiler.open(listed) as session:
            measured = measure(
                session,
                listed,
                len(chunk) if reference else None,
                replace(config, budget_s=budget),
                clock=clock,
                sleep=sleep,
                progress=progress,
                started=started,
                part=part,
                targets=names,
            )
        rounds += measured.rounds
    return [measured_from(estimate) for estimate in estimates(rounds, names, config)]


def _reference(profiler: Profiler) -> list[Workload]:
    """The reference op; none where a profiler can only run files as they are."""
    if not getattr(profiler, "builds_ops", True):
        return []
    return [Workload(name=f"reference {REFERENCE_OP.key}", op=REFERENCE_OP)]


def measured_from(estimate: Estimate) -> Measured:
    """An estimate under the public field names."""
    return Measured(
        name=estimate.name,
        median_ms=estimate.interval.estimate,
        ci_low_ms=estimate.interval.low,
        ci_high_ms=estimate.interval.high,
        p90_ms=estimate.p90,
        min_ms=estimate.min,
        rounds=estimate.rounds,
        samples=estimate.samples,
        converged=estimate.converged,
    )


def settings_for_files(
    files: Sequence[Path], settings: ProfilerSettings, device: str
) -> ProfilerSettings:
    """Settings with the runtime that runs the files, where none is named.

    Raises:
        ProfilingError: a suffix is unknown, or the files need two runtimes.
    """
    if settings.runtime is not None or device != "cpu":
        return settings
    runtimes = {".onnx": "onnxruntime", ".tflite": "litert"}
    for file in files:
        if file.suffix.lower() not in runtimes:
            raise ProfilingError(f"model files end in .onnx or .tflite: received {file}.")
    wanted = {runtimes[file.suffix.lower()] for file in files}
    if len(wanted) != 1:
        raise ProfilingError(
            "files measured together share one runtime: received .onnx and .tflite files. "
            "Measure them in two runs."
        )
    return replace(settings, runtime=wanted.pop())


def measure_in_fresh_process(
    *,
    paths: Sequence[str | Path] = (),
    archs: Sequence[Architecture] = (),
    settings: ProfilerSettings | None = None,
    device: str = "cpu",
    timing: TimingConfig | None = None,
    sessions: int = 1,
    timeout_s: float = 3600.0,
) -> list[Measured]:
    """Measures files, or networks, in a new Python process that holds nothing else.

    Args:
        paths: model files; or
        archs: networks at their deployment shape.
        settings, device, timing, sessions: as `measure_files`.
        timeout_s: seconds after which the process is ended.

    Raises:
        ProfilingError: the measurement failed (with its message), or took too long.
        BackendUnavailableError: the device or runtime is not there.
    """
    chosen = settings or ProfilerSettings()
    request = {
        "paths": [str(Path(path).absolute()) for path in paths],
        "archs": [arch.to_json() for arch in archs],
        "settings": {**asdict(replace(chosen, options={})), "options": dict(chosen.options)},
        "device": device,
        "sessions": sessions,
        "timing": asdict(timing or TimingConfig(goal=0.01)),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "proxyless_hw.profilers.fresh_process"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise ProfilingError(
            f"measuring in a fresh process took more than {timeout_s:g} s and was ended."
        ) from cause
    reply = _reply(done.stdout)
    if reply is None:
        tail = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise ProfilingError(
            f"the measuring process ended with code {done.returncode}: {tail[0][:300]}"
        )
    if "error" in reply:
        unavailable = reply.get("kind") == "BackendUnavailableError"
        raise (BackendUnavailableError if unavailable else ProfilingError)(reply["error"])
    return [Measured(**item) for item in reply["measured"]]


def _reply(stdout: str) -> dict[str, Any] | None:
    """The last line of the process's output, when it is the JSON object it promises."""
    lines = stdout.strip().splitlines()
    try:
        reply = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return reply if isinstance(reply, dict) else None
