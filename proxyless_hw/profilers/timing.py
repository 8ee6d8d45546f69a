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
from proxyless_hw.profilers.drift import Round, Segment
from proxyless_hw.profilers.estimates import Estimate, estimates, reference_drift
from proxyless_hw.profilers.statistics import Interval
from proxyless_hw.profilers.stopping import (
    WATCH_RESAMPLES,
    choose_next,
    visit_counts,
    watched_done,
    watched_intervals,
)
from proxyless_hw.profilers.timing_config import TimingConfig

__all__ = [
    "Estimate",
    "Measurements",
    "Progress",
    "TimingConfig",
    "estimates",
    "measure",
    "reference_drift",
]


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
        hard_deadline: float,
    ) -> None:
        self.session = session
        self.index = {workload.name: index for index, workload in enumerate(workloads)}
        self.reference = reference_index
        self.config = config
        self.clock = clock
        self.sleep = sleep
        self.deadline = deadline
        self.hard_deadline = hard_deadline
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
            if late and (not must_finish or self.clock() > self.hard_deadline):
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
    hard_deadline: float | None = None,
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
        hard_deadline: clock reading until which workloads may have their first visit, where
            `config.budget_s` is one session's share of a larger budget; the same when None.

    Raises:
        ProfilingError: a workload failed, or the budget ended before all were measured once.
    """
    begin = clock()
    origin = begin if started is None else started
    deadline = float("inf") if config.budget_s is None else origin + config.budget_s
    names = [workload.name for workload in workloads] if targets is None else list(targets)
    weights = np.ones(len(names)) if importance is None else np.asarray(importance, dtype=float)
    last_call = deadline if hard_deadline is None else hard_deadline
    run = _Run(session, workloads, reference_index, config, clock, sleep, deadline, last_call)
    rounds = list(earlier)
    own = sum(record.part == part for record in rounds)
    while True:
        counts = visit_counts(rounds, names)
        unseen = [name for name in names if counts[name] == 0]
        if unseen:
            chosen, intervals = unseen if own else names, []
        else:
            intervals = watched_intervals(rounds, names, config, WATCH_RESAMPLES)
            if progress is not None and rounds:
                progress(_progress(rounds, names, intervals, run, config, clock() - origin))
            chosen = choose_next(names, counts, intervals, weights, config)
            if not chosen:
                # The last word belongs to the intervals that will be reported.
                intervals = watched_intervals(rounds, names, config, config.resamples)
                chosen = choose_next(names, counts, intervals, weights, config)
        if not chosen:
            break
        record = run.round(chosen, own, part, must_finish=bool(unseen))
        own += 1
        if not record.segments:
            break
        rounds.append(record)
        if on_round is not None:
            on_round(record)
    unseen = [name for name, count in visit_counts(rounds, names).items() if count == 0]
    if unseen:
        raise ProfilingError(
            f"the budget of {config.budget_s:g} s ended before every workload was measured once: "
            f"{len(unseen)} of {len(names)} are left. Give more with --budget; profile can also go "
            "on with --resume."
        )
    return Measurements(tuple(estimates(rounds, names, config)), tuple(rounds), clock() - begin)


def _progress(
    rounds: Sequence[Round],
    names: Sequence[str],
    intervals: Sequence[Interval],
    run: _Run,
    config: TimingConfig,
    elapsed: float,
) -> Progress:
    counts = visit_counts(rounds, names)
    done = sum(
        counts[name] >= config.min_rounds and watched_done(interval, config)
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
