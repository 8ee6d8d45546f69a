"""Profiling a search space: which ops it needs, measured by the protocol, as a table."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import InterruptedRunError, ProfilingError, TableError
from proxyless_hw.profilers.base import PreparingProfiler, Profiler, ProfilerSettings, Workload
from proxyless_hw.profilers.host.conditioning import with_caches_for, with_caches_of
from proxyless_hw.profilers.models.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.op_list import read_op_list
from proxyless_hw.profilers.options import given_options
from proxyless_hw.profilers.profiled_table import in_process, profiled_table
from proxyless_hw.profilers.protocol.drift import Round
from proxyless_hw.profilers.protocol.journal import Journal, journal_path
from proxyless_hw.profilers.protocol.sessions import (
    MOST_SESSIONS,
    SESSIONS,
    MeasurementJob,
    fine_timing,
    is_exact,
    measure_sessions,
)
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig
from proxyless_hw.profilers.registry import described, get_profiler, profiler_settings
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import BatchNormSpec, OpSpec
from proxyless_hw.storage.locks import exclusive_lock, lock_beside
from proxyless_hw.tables.anchors import anchors_of, choose_anchors
from proxyless_hw.tables.entry import OPTION_KEYS, SETTING_KEYS
from proxyless_hw.tables.table import LatencyTable

FINISH_SECONDS: Final = 3.0
"""Kept back from a budget for the final intervals, writing the table and ending the process."""


@dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """What to profile, how, and where the table goes.

    Attributes:
        output: path of the table.
        device: device kind, as registered (``cpu``, ``gpu``, ``mobile``, ``command``, ...).
        settings: runtime, threads, batch size, precision, metric and device options.
        space: the search space, or its name or path.
        resolutions: input resolutions in pixels; the space's own when empty.
        num_classes: classes of the classifier; the space's own when None.
        timing: the measurement protocol's settings.
        resume: go on from an interrupted measurement; a finished one is left as it is.
        missing_from: a table whose gaps are filled: its rows are kept, the rest is measured.
        only: a file of op keys, one a line (`table probes` writes one): these ops and no others
            are measured, whether the space has them or not.
        sessions: times the runners are built within a measurement: where their memory lies
            changes what they cost, and the intervals of several sessions say so. Each session
            gets its share of the budget. When None: 8 where runners live in this process, else 1.
        repeat: whole measurements; from 2 on an A/A score is given.
        started: `time.perf_counter` reading from which the budget counts; now when None.
    """

    output: Path
    device: str = "cpu"
    settings: ProfilerSettings = ProfilerSettings()
    space: str | Path | SearchSpace = "imagenet"
    resolutions: tuple[int, ...] = ()
    num_classes: int | None = None
    timing: TimingConfig = TimingConfig()
    resume: bool = False
    missing_from: str | None = None
    only: Path | None = None
    sessions: int | None = None
    repeat: int = 1
    started: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.repeat <= 100:
            raise ProfilingError(f"--repeat lies between 1 and 100: received {self.repeat}.")
        if self.sessions is not None and not 1 <= self.sessions <= 100:
            raise ProfilingError(f"--sessions lies between 1 and 100: received {self.sessions}.")

    def loaded_space(self) -> SearchSpace:
        """The search space itself.

        Raises:
            SpaceError: no such space, or its file breaks a rule.
        """
        return self.space if isinstance(self.space, SearchSpace) else SearchSpace.load(self.space)


def needed_ops(space: SearchSpace, config: ProfileConfig) -> dict[OpSpec, float]:
    """The ops a space needs at the resolutions asked for.

    Returns:
        Op to the expected number of its uses in a uniformly random network of the space; 1 for
        each op of `config.only` where that is given.

    Raises:
        ProfilingError: `config.only` cannot be read or names something that is no op.
    """
    if config.only is not None:
        return dict.fromkeys(read_op_list(config.only), 1.0)
    uses: dict[OpSpec, float] = {}
    for resolution in config.resolutions or (space.resolution,):
        for op in space.ops(resolution, config.num_classes):
            uses.setdefault(op, 0.0)
        for op in space.fixed_ops(resolution, config.num_classes):
            uses[op] += 1.0
        for candidates in space.slot_ops(resolution):
            for candidate in candidates:
                if candidate is not None:
                    uses[candidate] += 1 / len(candidates)
    return uses


def profile(
    config: ProfileConfig,
    progress: Callable[[Progress], None] | None = None,
    *,
    profiler: Profiler | None = None,
    clock: Callable[[], float] = time.perf_counter,
    say: Callable[[str], None] | None = None,
) -> LatencyTable:
    """Measures every op a space needs and writes the table.

    Args:
        config: what, how and where.
        progress: called after each round.
        profiler: the device; found by `config.device` when None.
        clock: seconds, monotonic.
        say: told of what takes longer than a few seconds before measuring starts.

    Returns:
        The table as written to `config.output`.

    Raises:
        ProfilingError: the output exists or cannot be written, a workload failed, or the budget
            was too short.
        BackendUnavailableError: the device or runtime is not there.
        SpaceError: the space is malformed.
        TableError: `missing_from` was made under another setting.
        InterruptedRunError: Ctrl-C or SIGTERM; finished rounds are in the journal.
    """
    started = clock() if config.started is None else config.started
    if config.output.is_dir():
        raise ProfilingError(f"--output must be a file: {config.output} is a folder.")
    lock = lock_beside(config.output)
    with exclusive_lock(lock, ProfilingError, f"table {config.output}") as check_held:
        return _profile(config, progress, profiler, clock, say or _silent, started, check_held)


def _silent(message: str) -> None:
    """Says nothing."""


def _profile(
    config: ProfileConfig,
    progress: Callable[[Progress], None] | None,
    profiler: Profiler | None,
    clock: Callable[[], float],
    say: Callable[[str], None],
    started: float,
    check_held: Callable[[], None],
) -> LatencyTable:
    space = config.loaded_space()
    base = None if config.missing_from is None else LatencyTable.load(config.missing_from)
    uses = needed_ops(space, config)
    if finished := _finished(config):
        return finished
    if profiler is None:
        settings = profiler_settings(config.device, _with_cache(config, space, base, say))
        config = replace(config, settings=settings)
        profiler = get_profiler(config.device, settings)
    description = described(config.device, profiler, config.settings)
    if base is not None:
        _check_setting(base, description)
        uses = {op: count for op, count in uses.items() if op not in base}
        if not uses:
            base.save(config.output)
            return replace(base, name=str(config.output))
    anchors: list[OpSpec] = []
    if base is not None and not is_exact(description):
        anchors = list(anchors_of(base) or choose_anchors(base.entries))
    workloads, reference = _workloads([*uses, *anchors], space.batch_norm, description)
    started += _prepare(profiler, workloads, clock, say)
    timing = fine_timing(_timing(config, started, clock), description)
    targets = [op.key for op in (*uses, *anchors)]
    job = MeasurementJob(
        profiler=profiler,
        workloads=workloads,
        targets=targets + [IDENTITY.name] * (IDENTITY in workloads),
        reference=reference,
        importance=[*uses.values(), *[1.0] * len(anchors), *[0.0] * (IDENTITY in workloads)],
        timing=timing,
        sessions=config.sessions or (SESSIONS if in_process(description) else 1),
        most_sessions=MOST_SESSIONS if config.sessions is None and in_process(description) else 0,
        repeat=config.repeat,
        progress=progress,
        say=say,
        clock=clock,
        started=started,
    )
    header = _journal_header(config, description, job)
    with Journal(_journal_place(config, targets), header, config.resume) as journal:

        def keep(record: Round) -> None:
            check_held()
            journal.append(record)

        try:
            rounds = measure_sessions(job, journal.rounds, keep)
        except KeyboardInterrupt as cause:
            raise InterruptedRunError(
                f"interrupted; finished rounds are kept in {journal.path}. Go on: the same command "
                "with --resume."
            ) from cause
        # Some devices tell more once they have measured (a phone: mean or median of a visit).
        description.update(described(config.device, profiler, config.settings))
        table = profiled_table(config, space, job, description, rounds, list(uses), base)
        check_held()
        table.save(config.output)
    return table


def _with_cache(
    config: ProfileConfig,
    space: SearchSpace,
    base: LatencyTable | None,
    say: Callable[[str], None],
) -> ProfilerSettings:
    """The settings with the caches' state of the table, or the one that fits the space."""
    settings = config.settings
    if config.device != "cpu" or settings.metric != "latency":
        return settings
    stated = "" if base is None else base.metadata.get("cache", "")
    if stated:
        return with_caches_of(stated, settings)
    side = max(config.resolutions or (space.resolution,))
    return with_caches_for(space, side, config.num_classes, settings, say)


def _prepare(
    profiler: Profiler,
    workloads: Sequence[Workload],
    clock: Callable[[], float],
    say: Callable[[str], None],
) -> float:
    """Seconds that converting took: they come on top of the budget."""
    if not isinstance(profiler, PreparingProfiler):
        return 0.0
    begin = clock()
    return clock() - begin if profiler.prepare(workloads, say) else 0.0


def _finished(config: ProfileConfig) -> LatencyTable | None:
    """The table when it is already there and may stay.

    Raises:
        ProfilingError: it is there and was not expected.
    """
    output = config.output
    if not output.exists():
        return None
    if config.missing_from is not None and _same_file(output, config.missing_from):
        return None
    if config.resume:
        return LatencyTable.load(output)
    raise ProfilingError(
        f"{output} is there already and is not overwritten. Choose another --output, delete it, "
        "or fill its gaps: --missing-from."
    )


def _same_file(output: Path, other: str) -> bool:
    return Path(other).exists() and output.samefile(other)


def _check_setting(base: LatencyTable, description: Mapping[str, str]) -> None:
    if base.metadata.get("statistic") == "transferred":
        raise TableError(
            f"measured rows cannot be mixed with predicted ones: '{base.name}' is "
            f"{base.metadata.get('source', 'transferred')}. Profile into a new table."
        )
    for key in (*SETTING_KEYS, *OPTION_KEYS):
        stated, now = base.metadata.get(key), description.get(key)
        # Older tables do not tell their device options.
        if stated != now and not (key in OPTION_KEYS and None in (stated, now)):
            raise TableError(
                f"gaps can only be filled under the table's own setting: '{base.name}' has "
                f"{key} {stated!r}, this run {now!r}."
            )


def _timing(config: ProfileConfig, started: float, clock: Callable[[], float]) -> TimingConfig:
    budget = config.timing.budget_s
    if budget is None:
        return config.timing
    left = budget - (clock() - started) - FINISH_SECONDS
    if left <= 0:
        raise ProfilingError(
            f"--budget {budget:g} is over before measuring starts (start-up took "
            f"{clock() - started:.1f} s). Give more."
        )
    return replace(config.timing, budget_s=budget - FINISH_SECONDS)


def _workloads(
    ops: Sequence[OpSpec], batch_norm: BatchNormSpec, description: Mapping[str, str]
) -> tuple[list[Workload], int | None]:
    """One workload per op, the reference, and identity where a call has its overhead.

    What does not vary needs no reference.
    """
    listed = list(dict.fromkeys(ops))
    if is_exact(description):
        return [Workload(name=op.key, op=op, batch_norm=batch_norm) for op in listed], None
    if REFERENCE_OP not in listed:
        listed.append(REFERENCE_OP)
    workloads = [Workload(name=op.key, op=op, batch_norm=batch_norm) for op in listed]
    if in_process(description) and description.get("metric") == "latency":
        workloads.append(IDENTITY)
    return workloads, listed.index(REFERENCE_OP)


def _journal_place(config: ProfileConfig, names: Sequence[str]) -> Path:
    """A journal beside the table; filling gaps has its own, so that a table's record stays."""
    if config.missing_from is None:
        return journal_path(config.output)
    gaps = zlib.crc32("\n".join(names).encode())
    return journal_path(config.output.with_name(f"{config.output.name}.fill-{gaps:08x}"))


def _journal_header(
    config: ProfileConfig, description: Mapping[str, str], job: MeasurementJob
) -> dict[str, object]:
    return {
        "setting": {**description, "options": given_options(config.settings.options)},
        "cpus": config.settings.cpus,
        "sessions": job.parts,
        "repeat": job.repeat,
        "workloads": [workload.name for workload in job.workloads],
    }
