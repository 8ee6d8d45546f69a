"""Profiling a search space: which ops it needs, measured by the protocol, as a table."""

from __future__ import annotations

import datetime
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxyless_hw._version import __version__
from proxyless_hw.errors import InterruptedRunError, ProfilingError, TableError
from proxyless_hw.locks import exclusive_lock, lock_beside
from proxyless_hw.profilers.base import Profiler, ProfilerSettings, Workload
from proxyless_hw.profilers.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.drift import Round
from proxyless_hw.profilers.environment import affinity, load, package_version
from proxyless_hw.profilers.journal import Journal, journal_path
from proxyless_hw.profilers.op_list import read_op_list
from proxyless_hw.profilers.quality import Agreement, quality_block, repeat_agreement
from proxyless_hw.profilers.sessions import MeasurementJob, measure_sessions
from proxyless_hw.profilers.stopping import visit_counts
from proxyless_hw.profilers.timing import Estimate, Progress, TimingConfig, estimates
from proxyless_hw.space import BatchNormSpec, SearchSpace
from proxyless_hw.specs import OpSpec
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

FINISH_SECONDS: Final = 2.5
"""Kept back from a budget for the final intervals, writing the table and ending the process."""

IN_PROCESS_SESSIONS: Final = 8
"""Sessions of a measurement when none are asked for; building anew takes seconds where the models
themselves are kept."""

LEAST_ROUNDS: Final = 3
"""Visits of an op below which its interval says nothing."""


@dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """What to profile, how, and where the table goes.

    Attributes:
        output: path of the table.
        device: device kind, as registered (``cpu``, ``gpu``, ``mobile``, ``command``, ...).
        settings: runtime, threads, batch size, precision, metric and device options.
        space: name or path of the search space.
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
    space: str | Path = "imagenet"
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
    sleep: Callable[[float], None] = time.sleep,
) -> LatencyTable:
    """Measures every op a space needs and writes the table.

    Args:
        config: what, how and where.
        progress: called after each round.
        profiler: the device; found by `config.device` when None.
        clock: seconds, monotonic.
        sleep: pauses for seconds.

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
        return _profile(config, progress, profiler, clock, sleep, started, check_held)


def _profile(
    config: ProfileConfig,
    progress: Callable[[Progress], None] | None,
    profiler: Profiler | None,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    started: float,
    check_held: Callable[[], None],
) -> LatencyTable:
    space = SearchSpace.load(config.space)
    base = None if config.missing_from is None else LatencyTable.load(config.missing_from)
    uses = needed_ops(space, config)
    if finished := _finished(config):
        return finished
    if profiler is None:
        from proxyless_hw.profilers.registry import get_profiler

        profiler = get_profiler(config.device, config.settings)
    description = dict(profiler.describe())
    if base is not None:
        _check_setting(base, description)
        uses = {op: count for op, count in uses.items() if op not in base}
        if not uses:
            base.save(config.output)
            return replace(base, name=str(config.output))
    timing = _timing(config, started, clock)
    workloads, reference = _workloads(list(uses), space.batch_norm, description)
    names = [op.key for op in uses]
    importance = list(uses.values()) + [0.0] * (len(workloads) - len(uses))
    sessions = config.sessions or (IN_PROCESS_SESSIONS if _in_process(description) else 1)
    header = _journal_header(config, description, workloads, sessions)
    with Journal(_journal_place(config, names), header, config.resume) as journal:
        job = MeasurementJob(
            profiler, workloads, reference, importance, timing, sessions, config.repeat, progress,
            clock, sleep, started,
        )  # fmt: skip
        try:
            rounds = measure_sessions(job, journal, check_held)
        except KeyboardInterrupt as cause:
            raise InterruptedRunError(
                f"interrupted; finished rounds are kept in {journal.path}. Go on: the same command "
                "with --resume."
            ) from cause
        _check_rounds(rounds, names, timing)
        # Some devices tell more once they have measured (a phone: mean or median of a visit).
        description.update(profiler.describe())
        agreement = repeat_agreement(rounds, names, timing, sessions)
        table = _table(
            config, space, timing, description, rounds, names, workloads, base, agreement
        )
        check_held()
        table.save(config.output)
    return table


def _check_rounds(rounds: Sequence[Round], names: Sequence[str], timing: TimingConfig) -> None:
    """Refuses a table of values without intervals: building may have taken most of the budget.

    Raises:
        ProfilingError: some ops were visited too seldom.
    """
    least = min(LEAST_ROUNDS, timing.min_rounds)
    seldom = sum(count < least for count in visit_counts(rounds, names).values())
    if seldom:
        raise ProfilingError(
            f"the budget ended before every op was measured {least} times, without which there is "
            f"no interval: {seldom} of {len(names)} have fewer rounds. Go on with --resume "
            "(rounds are kept, and so are models that had to be converted), or give more with "
            "--budget."
        )


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
    for key in SETTING_KEYS:
        if base.metadata.get(key) != description.get(key):
            raise TableError(
                f"gaps can only be filled under the table's own setting: '{base.name}' has "
                f"{key} {base.metadata.get(key)!r}, this run {description.get(key)!r}."
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
) -> tuple[list[Workload], int]:
    """One workload per op, the reference, and identity where a call has its overhead."""
    listed = list(ops)
    if REFERENCE_OP not in listed:
        listed.append(REFERENCE_OP)
    workloads = [Workload(name=op.key, op=op, batch_norm=batch_norm) for op in listed]
    if _in_process(description) and description.get("metric") == "latency":
        workloads.append(IDENTITY)
    return workloads, listed.index(REFERENCE_OP)


def _in_process(description: Mapping[str, str]) -> bool:
    """Whether runners are built in this process (and not on a phone or by a command)."""
    return description.get("device_kind") in ("cpu", "gpu")


def _journal_place(config: ProfileConfig, names: Sequence[str]) -> Path:
    """A journal beside the table; filling gaps has its own, so that a table's record stays."""
    if config.missing_from is None:
        return journal_path(config.output)
    gaps = zlib.crc32("\n".join(names).encode())
    return journal_path(config.output.with_name(f"{config.output.name}.fill-{gaps:08x}"))


def _journal_header(
    config: ProfileConfig,
    description: Mapping[str, str],
    workloads: Sequence[Workload],
    sessions: int,
) -> dict[str, object]:
    return {
        "setting": {**description, "options": dict(config.settings.options)},
        "cpus": config.settings.cpus,
        "sessions": sessions,
        "repeat": config.repeat,
        "workloads": [workload.name for workload in workloads],
    }


def _table(
    config: ProfileConfig,
    space: SearchSpace,
    timing: TimingConfig,
    description: Mapping[str, str],
    rounds: Sequence[Round],
    names: Sequence[str],
    workloads: Sequence[Workload],
    base: LatencyTable | None,
    repeats: Agreement | None,
) -> LatencyTable:
    measured = estimates(rounds, names, timing)
    overhead = estimates(rounds, [IDENTITY.name], timing)[0] if IDENTITY in workloads else None
    reference = estimates(rounds, [REFERENCE_OP.key], timing)[0]
    entries = {} if base is None else dict(base.entries)
    entries.update({OpSpec.from_key(item.name): entry_of(item) for item in measured})
    quality = quality_block(measured, rounds, overhead, repeats, timing)
    resolutions = config.resolutions or (space.resolution,)
    metadata = {} if base is None else dict(base.metadata)
    metadata.update(description)
    metadata.update(
        {
            "space": space.id,
            "resolutions": " ".join(map(str, resolutions)),
            "num_classes": str(config.num_classes or space.num_classes),
            "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "protocol": protocol_line(timing),
            "reference_op": REFERENCE_OP.key,
            "reference_value": repr(reference.interval.estimate),
            # A phone or a tool's board is elsewhere: this machine's state says nothing of it.
            **({"affinity": affinity(), "load": load()} if _in_process(description) else {}),
            "versions": f"torch {package_version('torch')}, onnx {package_version('onnx')}, "
            f"numpy {package_version('numpy')}",
            "source": f"measured by proxyless-hw {__version__}",
            **quality,
        }
    )
    if base is not None:
        metadata["filled"] = f"{len(measured)} ops added; the quality block is theirs"
    return LatencyTable(entries, metadata, str(config.output))


def protocol_line(timing: TimingConfig) -> str:
    """The protocol in one header line."""
    correction = "drift corrected" if timing.correct_drift else "drift not corrected"
    return (
        f"interleaved rounds in random order, reference every {timing.segment} ops, {correction}, "
        f"median of per-round medians, 95% interval from rounds and sessions, "
        f"goal {timing.goal:g}, seed {timing.seed}"
    )


def entry_of(estimate: Estimate) -> Entry:
    """The table row of an estimate."""
    interval = estimate.interval
    return Entry(
        value=interval.estimate,
        ci_low=interval.low,
        ci_high=interval.high,
        p90=estimate.p90,
        min=estimate.min,
        rounds=estimate.rounds,
        samples=estimate.samples,
    )
