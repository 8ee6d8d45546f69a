"""The measurement protocol that every device shares. The clock is a parameter.

A pass visits the workloads in a fresh random order, with a visit to a reference workload between
them that shows how fast the machine is. A workload stops once its interval is narrow enough, and
what is left of the budget goes where it narrows a network's prediction most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Session, Visit
from proxyless_hw.profilers.protocol.drift import Round, Segment
from proxyless_hw.profilers.protocol.estimates import Estimate, estimates, reference_drift
from proxyless_hw.profilers.protocol.plan import ALONE, Plan, SessionPlace
from proxyless_hw.profilers.protocol.statistics import Interval
from proxyless_hw.profilers.protocol.stopping import (
    choose_next,
    visit_counts,
    watched_done,
    watched_intervals,
)
from proxyless_hw.profilers.protocol.timing_config import TimingConfig
from proxyless_hw.units import format_duration

__all__ = [
    "Estimate",
    "Measurements",
    "Progress",
    "TimingConfig",
    "estimates",
    "measure",
    "reference_drift",
]

JUMP_FACTOR = 30.0
JUMP_S = 2.0
"""A stretch was interrupted (the machine slept, or was stopped) if it took more than `JUMP_FACTOR`
times the expected time plus `JUMP_S` seconds."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """The outcome of `measure`.

    Attributes:
        rounds: the raw record, earlier rounds included.
        names: the workloads that were asked for.
        config: the protocol's settings.
        seconds: time taken by this call.
        jumps: stretches that were dropped because the clock had jumped.
    """

    rounds: tuple[Round, ...]
    names: tuple[str, ...]
    config: TimingConfig
    seconds: float
    jumps: int = 0

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """One per workload that was visited, in the order given."""
        counts = visit_counts(self.rounds, self.names)
        seen = [name for name in self.names if counts[name]]
        return tuple(estimates(self.rounds, seen, self.config))


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a measurement.

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

    @property
    def text(self) -> str:
        """In one line: ``12/40 at the goal, round 3, ±1.4%, 20 s left``."""
        return (
            f"{self.done}/{self.total} at the goal, round {self.rounds}, "
            f"±{self.median_half_width:.1%}, {format_duration(self.left_s)} left"
        )


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
    """One session's measurement in progress."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        clock: Callable[[], float],
        deadline: float,
        place: SessionPlace,
    ) -> None:
        self.session = session
        self.index = {workload.name: index for index, workload in enumerate(plan.workloads)}
        self.reference = plan.reference
        self.turns = plan.turns
        self.config = plan.config
        self.clock = clock
        self.deadline = deadline
        hard, second = place.hard_deadline, place.second_deadline
        self.hard_deadline = deadline if hard is None else hard
        self.second_deadline = deadline if second is None else max(deadline, second)
        self.pace = _Pace()
        self.jumps = 0
        self.passes = 0
        self.before: float | None = None
        self.doubted: set[str] = set()
        self.ended = False

    def segment(self, names: Sequence[str]) -> Segment | None:
        """Visits workloads, with the reference after them, and before them when not yet known.

        Returns:
            None when the clock jumped meanwhile.
        """
        order = [self.index[name] for name in names]
        visited = list(names)
        if self.reference is not None:
            if self.before is None:
                order.insert(0, self.reference)
                visited.insert(0, "")
            order.append(self.reference)
            visited.append("")
        start = self.clock()
        visits = self.session.visit(order)
        elapsed = self.clock() - start
        if not isinstance(visits, Sequence) or not all(isinstance(v, Visit) for v in visits):
            raise ProfilingError(
                "visit(order) returns a list of Visit, as Visit.of(samples) makes them: received "
                f"{str(visits)[:80]}."
            )
        if len(visits) != len(order):
            raise ProfilingError(
                f"a session returns one visit per workload: {len(order)} were asked for, "
                f"{len(visits)} came back."
            )
        for name, visit in zip(visited, visits, strict=True):
            _check(name or "the reference", visit)
        if self._interrupted(names, elapsed, self.pace.expect(visited)):
            self.before = None
            self.jumps += 1
            return None
        self.pace.learn(visited, elapsed)
        if self.reference is None:
            return Segment(tuple(names), tuple(visits))
        before = visits[0].value if self.before is None else self.before
        chosen = tuple(visits[-1 - len(names) : -1])
        self.before = visits[-1].value
        return Segment(tuple(names), chosen, before, self.before)

    def _interrupted(self, names: Sequence[str], elapsed: float, expected: float) -> bool:
        """Whether the clock jumped during a segment.

        A workload may really take that long, at its first visit or from now on: the second time it
        is believed.
        """
        longest = JUMP_S + JUMP_FACTOR * expected
        if expected > 0 and elapsed > longest and not self.doubted.issuperset(names):
            self.doubted.update(names)
            return True
        self.doubted.difference_update(names)
        return False

    def with_turns(self, names: Sequence[str]) -> list[str]:
        """The names of a pass, each as often as it is visited there."""
        return [name for name in names for _ in range(self.turns.get(name, 1))]

    def passing(
        self, names: Sequence[str], part: int, missing: Collection[str], once: Collection[str]
    ) -> list[Segment]:
        """One pass over `names` in random order; cut short when the budget ends.

        Workloads that no session has seen yet come first, those with most turns at the head. They
        may take what is left of the whole budget, not only this session's share of it; those seen
        once have a deadline of their own.
        """
        generator = np.random.default_rng((self.config.seed, part, self.passes))
        self.passes += 1
        drawn = [names[place] for place in generator.permutation(len(names))]
        unseen = sorted((n for n in drawn if n in missing), key=lambda n: -self.turns.get(n, 1))
        order = unseen + [n for n in drawn if n not in missing]
        segments: list[Segment] = []
        size = self.config.segment
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            end = self.deadline
            if any(n in once for n in chosen):
                end = self.second_deadline
            if any(n in missing for n in chosen):
                end = self.hard_deadline
            if self.clock() + self.pace.expect(chosen) > end:
                self.ended = True
                break
            found = self.segment(chosen)
            if found is not None:
                segments.append(found)
        return segments


def _check(name: str, visit: Visit) -> None:
    if not np.isfinite(visit.value) or visit.value <= 0:
        raise ProfilingError(
            f"a measured value is positive and finite: {name} gave {visit.value}. "
            "Is the device's counter working?"
        )


def measure(
    session: Session,
    plan: Plan,
    place: SessionPlace = ALONE,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[Progress], None] | None = None,
    on_round: Callable[[Round], None] | None = None,
) -> Measurements:
    """Measures workloads by the protocol, in one session.

    When the budget ends before a workload was visited, that workload is left out: the caller knows
    what its other sessions have seen.

    Args:
        session: built and warmed-up runners of the plan's workloads.
        plan: what is measured.
        place: where the session stands among others.
        clock: seconds, monotonic.
        progress: called after each round.
        on_round: called with each finished round, before the next one starts.

    Raises:
        ProfilingError: a workload failed.
    """
    begin = clock()
    config, names, part = plan.config, plan.names, place.part
    origin = begin if place.started is None else place.started
    deadline = float("inf") if config.budget_s is None else origin + config.budget_s
    importance = plan.importance
    weights = np.ones(len(names)) if importance is None else np.asarray(importance, dtype=float)
    run = _Run(session, plan, clock, deadline, place)
    rounds = list(place.earlier)
    # Going on draws the orders that an unbroken measurement would have drawn.
    run.passes = sum(record.part == part for record in rounds)
    while True:
        mine = [record for record in rounds if record.part == part]
        counts = visit_counts(mine, names)
        seen = visit_counts(rounds, names)
        missing = {name for name, count in seen.items() if count == 0}
        once = {name for name, count in seen.items() if count == 1}
        if not all(counts.values()):
            chosen = [name for name in names if not counts[name]] if mine else names
        else:
            intervals = watched_intervals(mine, names, config)
            if progress is not None and mine:
                progress(_progress(mine, names, intervals, run, config, clock() - origin))
            chosen = run.with_turns(choose_next(names, counts, intervals, weights, config))
        if not chosen:
            break
        segments: list[Segment] = []
        round_end = clock() + config.round_s
        for _ in range(max(1, config.max_rounds - max(counts[name] for name in chosen))):
            found = run.passing(chosen, part, missing, once)
            segments += found
            visited = {name for segment in found for name in segment.names}
            missing, once = missing - visited, once - visited
            if not found or clock() >= round_end or missing or not all(counts.values()):
                break
        if not segments and run.ended:
            break
        if not segments:  # the clock jumped during all of them
            continue
        rounds.append(Round(tuple(segments), part))
        if on_round is not None:
            on_round(rounds[-1])
    return Measurements(tuple(rounds), tuple(names), config, clock() - begin, run.jumps)


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
            # An interval narrows with the square root of the number of visits.
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
