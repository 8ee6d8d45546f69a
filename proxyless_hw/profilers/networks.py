"""Whole networks and model files, measured by the same protocol as ops.

`measure_workloads` is how any network or file is measured: by benchmark, validate, verify, export
and calibration alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import PreparingProfiler, Profiler, ProfilerSettings, Workload
from proxyless_hw.profilers.file_forms import CPU_RUNTIMES, ModelFormat, by_form, form_of_runtime
from proxyless_hw.profilers.host.conditioning import cache_options
from proxyless_hw.profilers.models.building import ops_here_only
from proxyless_hw.profilers.models.child_process import reply_of, run_python
from proxyless_hw.profilers.models.model_files import write_model_files
from proxyless_hw.profilers.options import given_options
from proxyless_hw.profilers.own_profilers import exists_here_only
from proxyless_hw.profilers.protocol.estimates import disturbed_share
from proxyless_hw.profilers.protocol.measurement import (
    ANCHOR_PREFIX,
    Anchors,
    Measurement,
    Measuring,
    TableSpeed,
)
from proxyless_hw.profilers.protocol.sessions import (
    MOST_SESSIONS,
    SESSIONS,
    MeasurementJob,
    fine_timing,
    measure_sessions,
)
from proxyless_hw.profilers.protocol.statistics import interval_of, median_with_error, middle_of
from proxyless_hw.profilers.protocol.stopping import visit_counts
from proxyless_hw.profilers.protocol.timing import Estimate, estimates
from proxyless_hw.profilers.registry import described, get_profiler
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.files import scratch_folder

NETWORKS_PER_SESSION: Final = 40
"""Networks held in memory at once."""

LEAST_ANCHORS: Final = 3
"""Anchors without which there is no value at a table's speed."""

SAID_S: Final = 3.0
"""Seconds that nothing has to be said of."""

USUALLY_DISTURBED: Final = 0.05
"""Share of visits that do not count on a machine that does nothing else."""

DISTURBANCE: Final = 0.1
"""95% half-width of what one process cannot see of its own value at a table's speed, per share of
its visits that were disturbed beyond that.

Beside other work a network and the anchors are not slowed down alike, and differently in each
process: values of ten processes scatter by 1.2% (sd), and by 0.5% where nothing else runs
(benchmarks/results/any_machine.json, ten_benchmarks).
"""

LEAST_GRACE_S: Final = 10.0
"""A budget is exceeded by so much, or by itself, before a target stays without any measurement."""


def measure_files(paths: Sequence[str | Path], how: Measuring | None = None) -> list[Measurement]:
    """Measures model files, interleaved.

    Args:
        paths: .onnx or .tflite files, all for one runtime.
        how: settings, device, budget.

    Raises:
        ProfilingError: a file is missing or cannot be run, or the files need two runtimes.
        BackendUnavailableError: the device or runtime is not there.
    """
    chosen = how or Measuring()
    files = [Path(path) for path in paths]
    for file in files:
        if not file.is_file():
            raise ProfilingError(f"no model file {file}.")
    settings = settings_for_files(files, chosen.settings, chosen.device)
    workloads = [Workload(name=str(file), file=file) for file in dict.fromkeys(files)]
    return measure_workloads(workloads, replace(chosen, settings=settings))


def measure_networks(
    archs: Sequence[Architecture],
    how: Measuring | None = None,
    *,
    names: Sequence[str] | None = None,
) -> list[Measurement]:
    """Measures networks at their deployment shape, interleaved.

    Args:
        archs: the networks.
        how: settings, device, budget.
        names: one distinct name per network; ``network 0``, ... by default.

    Raises:
        ProfilingError: a network cannot be built or run.
        BackendUnavailableError: the device or runtime is not there.
    """
    labels = [f"network {index}" for index in range(len(archs))] if names is None else list(names)
    workloads = [
        Workload(name=label, arch=arch, batch_norm=arch.batch_norm)
        for label, arch in zip(labels, archs, strict=True)
    ]
    return measure_workloads(workloads, how or Measuring())


def measure_workloads(
    workloads: Sequence[Workload],
    how: Measuring,
    *,
    profiler: Profiler | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Measurement]:
    """Measures networks or files, at most 40 built at a time.

    The reference joins each session, and so do the anchors where there are any.

    Raises:
        ProfilingError, BackendUnavailableError: as `measure_files`.
    """
    if len({workload.name for workload in workloads}) != len(workloads):
        raise ProfilingError("networks measured together need distinct names.")
    if how.anchors is not None and how.anchors.cache:
        options = {**given_options(how.settings.options), **cache_options(how.anchors.cache)}
        how = replace(how, settings=replace(how.settings, options=options))
    if profiler is None:
        profiler = get_profiler(how.device, how.settings)
    begin = clock()
    header = described(how.device, profiler, how.settings)
    if isinstance(profiler, PreparingProfiler):
        profiler.prepare([*workloads, *how.beside(header)], how.say or _silent)
    # What is converted first comes on top of the budget, as for a profile.
    started = clock()
    if how.say is not None and started - begin > SAID_S:
        how.say(f"made {len(workloads)} models in {started - begin:.0f} s")
    results: list[Measurement] = []
    for first in range(0, len(workloads), NETWORKS_PER_SESSION):
        chunk = list(workloads[first : first + NETWORKS_PER_SESSION])
        budget = how.timing.budget_s
        if budget is not None:
            budget *= (first + len(chunk)) / len(workloads)
        timing = replace(how.timing, budget_s=budget)
        chosen = replace(how, timing=timing)
        results += _measure_chunk(chunk, chosen, profiler, dict(header), clock, started)
    return results


def _silent(message: str) -> None:
    """Says nothing."""


def _measure_chunk(
    chunk: Sequence[Workload],
    how: Measuring,
    profiler: Profiler,
    header: dict[str, str],
    clock: Callable[[], float],
    started: float,
) -> list[Measurement]:
    beside = how.beside(header)
    anchors = beside[:-1]
    timing = replace(fine_timing(how.timing, header), segment=3 if anchors else 1)
    on_host = header.get("device_kind") == "cpu"
    job = MeasurementJob(
        profiler=profiler,
        workloads=[*chunk, *beside],
        targets=[workload.name for workload in (*chunk, *anchors)],
        needed=[workload.name for workload in (*chunk, *anchors[:LEAST_ANCHORS])],
        reference=len(chunk) + len(anchors) if beside else None,
        turns=dict.fromkeys((item.name for item in chunk), _turns(len(chunk), len(anchors))),
        timing=timing,
        sessions=how.sessions or (SESSIONS if on_host else 1),
        most_sessions=MOST_SESSIONS if on_host and how.sessions is None else 0,
        started=started,
        progress=how.progress,
        say=how.say,
        clock=clock,
        grace_s=max(LEAST_GRACE_S, timing.budget_s or 0.0),
        way_on="Give more with --budget, or measure fewer at once.",
    )
    rounds = measure_sessions(job)
    # Some devices tell more once they have measured.
    header.update(described(how.device, profiler, how.settings))
    counts = visit_counts(rounds, job.targets)
    found = estimates(rounds, [name for name in job.targets if counts[name]], timing)
    speed = None
    if how.anchors is not None and anchors:
        level, half_width = _speed(found[len(chunk) :], how.anchors)
        beyond = max(0.0, disturbed_share(rounds, timing) - USUALLY_DISTURBED)
        speed = level, float(np.hypot(half_width, DISTURBANCE * beyond))
    return [_measurement(item, header, speed) for item in found[: len(chunk)]]


def _turns(networks: int, anchors: int) -> int:
    """Visits to each network in a pass over networks and anchors.

    A value at a table's speed has the network's own error and that of the machine's speed, which
    all anchors tell together. Of one network and twelve anchors visited alike, the network's would
    be the larger by far.
    """
    return max(1, round(anchors / (2 * math.sqrt(networks))))


def _speed(measured: Sequence[Estimate], anchors: Anchors) -> tuple[float, float]:
    """Log of the anchors' cost now to then, with its 95% half-width.

    The table's values of its anchors are taken as they are: they say what its speed is. Where time
    did not suffice for all of them, what they differ by is part of the half-width.
    """
    then = np.log([anchors.values[item.name.removeprefix(ANCHOR_PREFIX)] for item in measured])
    change = np.log([item.interval.estimate for item in measured]) - then
    own = np.array([item.own for item in measured])
    complete = len(measured) == len(anchors.values)
    return median_with_error(change, own) if complete else middle_of(change, own)


def _measurement(
    item: Estimate, header: Mapping[str, str], speed: tuple[float, float] | None
) -> Measurement:
    """An estimate under the public field names."""
    at_table_speed = None
    if speed is not None:
        level, half_width = speed
        whole = float(np.hypot(item.own, half_width))
        interval = interval_of(float(np.log(item.interval.estimate)) - level, whole)
        at_table_speed = TableSpeed(
            median=interval.estimate,
            ci_low=interval.low,
            ci_high=interval.high,
            machine_speed=float(np.exp(-level)),
        )
    return Measurement(
        name=item.name,
        median=item.interval.estimate,
        ci_low=item.interval.low,
        ci_high=item.interval.high,
        p90=item.p90,
        min=item.min,
        unit=header.get("unit", "ms"),
        rounds=item.rounds,
        samples=item.samples,
        converged=item.converged,
        cache=header.get("cache", "").partition(" ")[0],
        table_speed=at_table_speed,
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
    forms = list(by_form(files))
    if len(forms) != 1:
        raise ProfilingError(
            "files measured together share one runtime: received "
            f"{' and '.join(f'.{form}' for form in forms)} files. Measure them in several runs."
        )
    return replace(settings, runtime=CPU_RUNTIMES[forms[0]][0])


def measure_in_fresh_process(
    *,
    paths: Sequence[str | Path] = (),
    archs: Sequence[Architecture] = (),
    how: Measuring | None = None,
    timeout_s: float | None = None,
) -> list[Measurement]:
    """Measures files, or networks, in a new Python process that holds nothing else.

    The process is given model files of networks whose ops were registered at run time, since it
    does not know these ops. A device that was registered at run time measures in this process,
    and so does a table with such an op among its anchors.

    Args:
        paths: model files; or
        archs: networks at their deployment shape.
        how: settings, device, budget; its progress is not called.
        timeout_s: seconds after which the process is ended; by default ten times the budget and
            two minutes.

    Raises:
        ProfilingError: the measurement failed (with its message), or took too long.
        BackendUnavailableError: the device or runtime is not there.
    """
    chosen = how or Measuring()
    if exists_here_only(chosen.device):
        return _measure_here(paths, archs, chosen)
    anchors = [] if chosen.anchors is None else chosen.anchors.workloads()
    if any(map(ops_here_only, anchors)):
        return _measure_here(paths, archs, chosen)
    if any(ops_here_only(Workload(name="", arch=arch)) for arch in archs):
        form = form_of_runtime(chosen.settings.runtime, chosen.device)
        if form is None or chosen.device != "cpu":
            return _measure_here(paths, archs, chosen)
        return _measure_as_files(paths, archs, chosen, form, timeout_s)
    limit = 120 + 10 * (chosen.timing.budget_s or 600) if timeout_s is None else timeout_s
    request = {
        "paths": [str(Path(path).absolute()) for path in paths],
        "archs": [arch.to_json() for arch in archs],
        "how": chosen.to_dict(),
    }
    done = run_python(
        ("-m", "proxyless_hw.profilers.fresh_process"),
        request,
        limit,
        f"measuring in a fresh process took more than {limit:g} s and was ended.",
    )
    reply = reply_of(
        done.stdout, done.stderr, done.returncode, "the measuring process", ProfilingError
    )
    return [Measurement.from_json(item) for item in reply["measured"]]


def _measure_here(
    paths: Sequence[str | Path], archs: Sequence[Architecture], how: Measuring
) -> list[Measurement]:
    files = measure_files(paths, how) if paths else []
    return files + (measure_networks(archs, how) if archs else [])


def _measure_as_files(
    paths: Sequence[str | Path],
    archs: Sequence[Architecture],
    how: Measuring,
    form: ModelFormat,
    timeout_s: float | None,
) -> list[Measurement]:
    workloads = [
        Workload(name=f"network {index}", arch=arch, batch_norm=arch.batch_norm)
        for index, arch in enumerate(archs)
    ]
    with scratch_folder(ProfilingError) as folder:
        files = write_model_files(workloads, how.settings, form, folder)
        measured = measure_in_fresh_process(paths=[*paths, *files], how=how, timeout_s=timeout_s)
    named = [
        replace(item, name=workload.name)
        for item, workload in zip(measured[len(paths) :], workloads, strict=True)
    ]
    return [*measured[: len(paths)], *named]
