"""The measurement protocol that every device shares. The clock and the sleep are parameters.

Rounds visit the workloads in a fresh random order. A reference workload is visited every ten
workloads; when it moved, the stretch is measured again. A workload stops once its interval is
narrow enough, and what is left of the budget goes where it narrows a network's prediction most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Session, Visit, Workload
from proxyless_hw.profilers.drift import Round, Samples, Segment, collect, reference_values
from proxyless_hw.profilers.statistics import Interval, bootstrap_medians

_WATCH_RESAMPLES = 200


@dataclass(frozen=True, kw_only=True)
class TimingConfig:
    """When to stop and when to repeat.

    Attributes:
        goal: half-width of the 95% interval, as a fraction of the estimate, at which a workload
            is done.
        goal_absolute: half-width in the metric's unit that also counts as done (2 µs).
        budget_s: total seconds, building included; None measures until all are done.
        min_rounds, max_rounds: rounds per workload, at least and at most.
        segment: workloads between two visits to the reference.
        repeat_above: movement of the reference (fraction) at which a segment is repeated.
        pause_above: movement at which a pause comes before the repetition.
        pause_s: length of the pause in seconds.
        max_repeats: repetitions of one segment; then the steadiest one counts.
        correct_drift: whether estimates use the drift-corrected values.
        resamples: bootstrap resamples of the final intervals.
        seed: seeds the visiting order and the bootstrap.
    """

    goal: float = 0.02
    goal_absolute: float = 0.002
    budget_s: float | None = None
    min_rounds: int = 5
    max_rounds: int = 100
    segment: int = 10
    repeat_above: float = 0.05
    pause_above: float = 0.15
    pause_s: float = 1.0
    max_repeats: int = 2
    correct_drift: bool = True
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.goal < 1:
            raise ProfilingError(
                f"--goal is a fraction between 0 and 1 (0.02 is 2%): received {self.goal}."
            )
        if self.budget_s is not None and not 0 < self.budget_s < float("inf"):
            raise ProfilingError(f"--budget is seconds above 0: received {self.budget_s}.")
        if not 1 <= self.min_rounds <= self.max_rounds:
            raise ProfilingError(
                f"rounds lie in 1 <= min <= max: received {self.min_rounds}, {self.max_rounds}."
            )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of one workload, in the metric's unit.

    Attributes:
        name: the workload.
        interval: median of per-round medians with its 95% interval.
        raw: the same median without drift correction.
        p90: 90th percentile of single samples.
        min: smallest sample.
        rounds: rounds measured.
        samples: timed calls.
        converged: whether the goal was met.
    """

    name: str
    interval: Interval
    raw: float
    p90: float
    min: float
    rounds: int
    samples: int
    converged: bool


@dataclass(frozen=True, slots=True)
class Measurements:
    """The outcome of `measure`.

    Attributes:
        estimates: one per workload, in the order given.
        rounds: the raw record.
        seconds: time taken by this call.
    """

    estimates: tuple[Estimate, ...]
    rounds: tuple[Round, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a measurement is.

    Attributes:
        rounds: rounds done.
        done: workloads that met the goal.
        total: workloads in all.
        elapsed_s: seconds since the start, building included.
        left_s: estimated seconds to go.
        median_half_width: median relative half-width so far.
    """

    rounds: int
    done: int
    total: int
    elapsed_s: float
    left_s: float
    median_half_width: float


@dataclass
class _Pace:
    """Seconds a visit to each workload takes, learned from the segments so far."""

    seconds: dict[str, float] = field(default_factory=dict)
    per_visit: float = 0.0

    def learn(self, names: Sequence[str], elapsed: float) -> None:
        share = elapsed / max(1, len(names))
        for name in names:
            known = self.seconds.get(name)
            self.seconds[name] = share if known is None else known + 0.3 * (share - known)
        self.per_visit = max(self.per_visit * 0.9, share)

    def expect(self, names: Sequence[str]) -> float:
        return sum(self.seconds.get(name, self.per_visit) for name in names)


class _Run:
    """One measurement in progress."""

    def __init__(
        self,
        session: Session,
        workloads: Sequence[Workload],
        reference_index: int | None,
        config: TimingConfig,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        deadline: float,
    ) -> None:
        self.session = session
        self.index = {workload.name: index for index, workload in enumerate(workloads)}
        self.reference = reference_index
        self.config = config
        self.clock = clock
        self.sleep = sleep
        self.deadline = deadline
        self.pace = _Pace()
        self.reference_name = (
            None if reference_index is None else f"reference {workloads[reference_index].name}"
        )

    def visit(self, names: Sequence[str], before: float | None) -> Segment:
        """Visits workloads, with the reference after them, and before them when not yet known."""
        order = [self.index[name] for name in names]
        visited = list(names)
        if self.reference is not None:
            if before is None:
                order.insert(0, self.reference)
                visited.insert(0, str(self.reference_name))
            order.append(self.reference)
            visited.append(str(self.reference_name))
        start = self.clock()
        visits = self.session.visit(order)
        self.pace.learn(visited, self.clock() - start)
        if len(visits) != len(order):
            raise ProfilingError(
                f"a session returns one visit per workload: {len(order)} were asked for, "
                f"{len(visits)} came back."
            )
        for name, visit in zip(visited, visits, strict=True):
            _check(name, visit)
        if self.reference is None:
            return Segment(tuple(names), tuple(visits))
        if before is None:
            before, visits = visits[0].value, visits[1:]
        return Segment(tuple(names), tuple(visits[:-1]), before, visits[-1].value)

    def segment(self, names: Sequence[str], before: float | None) -> tuple[Segment, float | None]:
        """Measures a segment, again while the reference moves; returns it and the last reference.

        The steadiest of the attempts is kept.
        """
        best = latest = self.visit(names, before)
        repeats = 0
        while (
            latest.movement > self.config.repeat_above
            and repeats < self.config.max_repeats
            and self.clock() + self.pace.expect(names) < self.deadline
        ):
            if latest.movement > self.config.pause_above:
                room = self.deadline - self.clock() - self.pace.expect(names)
                self.sleep(max(0.0, min(self.config.pause_s, room)))
                latest = self.visit(names, None)
            else:
                latest = self.visit(names, latest.after)
            repeats += 1
            best = min(best, latest, key=lambda attempt: attempt.movement)
        kept = Segment(best.names, best.visits, best.before, best.after, repeats)
        return kept, latest.after

    def round(self, names: Sequence[str], number: int, part: int, must_finish: bool) -> Round:
        """One pass over `names` in random order; cut short when the budget ends."""
        generator = np.random.default_rng((self.config.seed, part, number))
        order = [names[place] for place in generator.permutation(len(names))]
        segments: list[Segment] = []
        before: float | None = None
        size = self.config.segment
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            late = self.clock() + self.pace.expect(chosen) > self.deadline
            if late and (not must_finish or self.clock() > self.deadline):
                break
            kept, before = self.segment(chosen, before)
            segments.append(kept)
        return Round(tuple(segments), part)


def _check(name: str, visit: Visit) -> None:
    if not np.isfinite(visit.value) or visit.value <= 0:
        raise ProfilingError(
            f"a measured value is positive and finite: {name} gave {visit.value}. "
            "Is the device's counter working?"
        )


def measure(
    session: Session,
    workloads: Sequence[Workload],
    reference_index: int | None,
    config: TimingConfig,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[Progress], None] | None = None,
    importance: Sequence[float] | None = None,
    earlier: Sequence[Round] = (),
    on_round: Callable[[Round], None] | None = None,
    started: float | None = None,
    part: int = 0,
    targets: Sequence[str] | None = None,
) -> Measurements:
    """Measures workloads by the protocol.

    Args:
        session: built and warmed-up runners of the workloads, indexed as `workloads`.
        workloads: what the session holds.
        reference_index: the workload that shows the machine's drift; None corrects nothing.
        config: goal, budget and thresholds.
        clock: seconds, monotonic.
        sleep: pauses for seconds.
        progress: called after each round.
        importance: how often each workload is used; equal when None. Steers left-over budget.
        earlier: rounds of an interrupted measurement that this one goes on from.
        on_round: called with each finished round, before the next one starts.
        started: clock reading from which the budget counts; now when None.
        part: number of this session within one measurement (repeats use fresh sessions).
        targets: names to estimate; all workloads when None.

    Raises:
        ProfilingError: a workload failed, or the budget ended before all were measured once.
    """
    begin = clock()
    origin = begin if started is None else started
    deadline = float("inf") if config.budget_s is None else origin + config.budget_s
    names = [workload.name for workload in workloads] if targets is None else list(targets)
    weights = np.ones(len(names)) if importance is None else np.asarray(importance, dtype=float)
    run = _Run(session, workloads, reference_index, config, clock, sleep, deadline)
    rounds = list(earlier)
    own = sum(record.part == part for record in rounds)
    while True:
        counts = _counts(rounds, names)
        unseen = [name for name in names if counts[name] == 0]
        if unseen:
            chosen, intervals = unseen if own else names, []
        else:
            intervals = _intervals(rounds, names, config, _WATCH_RESAMPLES)
            if progress is not None and rounds:
                progress(_progress(rounds, names, intervals, run, config, clock() - origin))
            chosen = _choose(names, counts, intervals, weights, config)
        if not chosen:
            break
        record = run.round(chosen, own, part, must_finish=bool(unseen))
        own += 1
        if not record.segments:
            break
        rounds.append(record)
        if on_round is not None:
            on_round(record)
    unseen = [name for name, count in _counts(rounds, names).items() if count == 0]
    if unseen:
        raise ProfilingError(
            f"the budget of {config.budget_s:g} s ended before every workload was measured once: "
            f"{len(unseen)} of {len(names)} are left. Give more with --budget; profile can also go on "
            "with --resume."
        )
    return Measurements(tuple(estimates(rounds, names, config)), tuple(rounds), clock() - begin)


def estimates(
    rounds: Sequence[Round], names: Sequence[str], config: TimingConfig
) -> list[Estimate]:
    """What a record of rounds says about each name (each was visited at least once)."""
    samples = collect(rounds, names)
    intervals = bootstrap_medians(
        [_values(item, config) for item in samples], config.resamples, config.seed
    )
    found = []
    for name, item, interval in zip(names, samples, intervals, strict=True):
        found.append(
            Estimate(
                name=name,
                interval=interval,
                raw=float(np.median(item.raw)),
                p90=_p90(item.visits),
                min=min(visit.min for visit in item.visits),
                rounds=len(item.visits),
                samples=sum(visit.calls for visit in item.visits),
                converged=len(item.visits) >= config.min_rounds and _is_done(interval, config),
            )
        )
    return found


def _p90(visits: Sequence[Visit]) -> float:
    """90th percentile of all samples, or of the visits' own percentiles where those are all."""
    pooled = [sample for visit in visits for sample in visit.samples]
    if pooled:
        return float(np.quantile(pooled, 0.9))
    return float(np.median([visit.p90 for visit in visits]))


def _values(samples: Samples, config: TimingConfig) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return samples.corrected if config.correct_drift else samples.raw  # type: ignore[return-value]


def _counts(rounds: Sequence[Round], names: Sequence[str]) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for record in rounds:
        for segment in record.segments:
            for name in segment.names:
                if name in counts:
                    counts[name] += 1
    return counts


def _intervals(
    rounds: Sequence[Round], names: Sequence[str], config: TimingConfig, resamples: int
) -> list[Interval]:
    values = [_values(samples, config) for samples in collect(rounds, names)]
    return bootstrap_medians(values, resamples, config.seed)


def _is_done(interval: Interval, config: TimingConfig) -> bool:
    return interval.relative <= config.goal or interval.half_width <= config.goal_absolute


def _choose(
    names: Sequence[str],
    counts: dict[str, int],
    intervals: Sequence[Interval],
    weights: np.ndarray[tuple[int], np.dtype[np.float64]],
    config: TimingConfig,
) -> list[str]:
    """The workloads of the next round: unfinished ones, then where a narrower interval helps most.

    The round is filled up to one segment, because the reference is visited for it anyway.
    """
    gain = np.array([interval.half_width for interval in intervals]) * weights
    by_gain = [
        names[place] for place in np.argsort(-gain, kind="stable")
        if counts[names[place]] < config.max_rounds
    ]  # fmt: skip
    pending = [
        name
        for name, interval in zip(names, intervals, strict=True)
        if counts[name] < config.max_rounds
        and (counts[name] < config.min_rounds or not _is_done(interval, config))
    ]
    if not pending and config.budget_s is None:
        return []
    size = max(config.segment, len(names) // 4) if not pending else config.segment
    fill = [name for name in by_gain if name not in set(pending)]
    return pending + fill[: max(0, size - len(pending))]


def _progress(
    rounds: Sequence[Round],
    names: Sequence[str],
    intervals: Sequence[Interval],
    run: _Run,
    config: TimingConfig,
    elapsed: float,
) -> Progress:
    counts = _counts(rounds, names)
    done = sum(
        counts[name] >= config.min_rounds and _is_done(interval, config)
        for name, interval in zip(names, intervals, strict=True)
    )
    if config.budget_s is not None:
        left = max(0.0, config.budget_s - elapsed)
    else:
        left = 0.0
        for name, interval in zip(names, intervals, strict=True):
            # An interval narrows with the square root of the number of rounds.
            wanted = counts[name] * (interval.relative / config.goal) ** 2
            wanted = min(max(wanted, config.min_rounds), config.max_rounds)
            left += max(0.0, wanted - counts[name]) * run.pace.expect([name])
    return Progress(
        rounds=len(rounds),
        done=done,
        total=len(names),
        elapsed_s=elapsed,
        left_s=left,
        median_half_width=float(np.median([interval.relative for interval in intervals])),
    )


def reference_drift(rounds: Sequence[Round]) -> float:
    """How far the reference wandered: its 90% range over its median (0 without a reference)."""
    values = reference_values(rounds)
    if not values:
        return 0.0
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float((high - low) / middle)
