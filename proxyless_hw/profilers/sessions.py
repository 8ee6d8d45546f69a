"""A measurement in several sessions: runners are built anew, because that changes their cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from proxyless_hw.profilers.base import Profiler, Workload
from proxyless_hw.profilers.drift import Round
from proxyless_hw.profilers.journal import Journal
from proxyless_hw.profilers.timing import Progress, TimingConfig, measure

MOST_BUILDING: Final = 0.5
"""Share of the remaining time that building runners may take before there are fewer sessions."""


@dataclass(frozen=True)
class MeasurementJob:
    """What is measured, and with what."""

    profiler: Profiler
    workloads: Sequence[Workload]
    reference: int
    importance: Sequence[float]
    timing: TimingConfig
    sessions: int
    repeat: int
    progress: Callable[[Progress], None] | None
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    started: float

    @property
    def deadline(self) -> float:
        """Clock reading at which the budget ends."""
        budget = self.timing.budget_s
        return float("inf") if budget is None else self.started + budget

    def timing_of(self, now: float, end: float, left: int) -> TimingConfig:
        """The protocol of one session when `left` of them share the time until `end`.

        Together the sessions reach the goal when each comes within its square root of their
        number; a little less is asked for, since sessions differ.
        """
        budget = None
        if self.timing.budget_s is not None:
            budget = now - self.started + (end - now) / left
        return replace(
            self.timing,
            budget_s=budget,
            goal=min(0.9, self.timing.goal * max(1.0, 0.8 * self.sessions**0.5)),
            min_rounds=-(-self.timing.min_rounds // self.sessions),
            max_rounds=-(-self.timing.max_rounds // self.sessions),
        )


def measure_sessions(
    job: MeasurementJob, journal: Journal, check_held: Callable[[], None] = lambda: None
) -> list[Round]:
    """Measures each session with runners built anew; goes on where the journal ends.

    Where building takes long for the budget there are fewer sessions than asked for.

    Args:
        job: what is measured.
        journal: takes each finished round.
        check_held: called before each round is written; raises when its place is not ours.
    """

    def keep(record: Round) -> None:
        check_held()
        journal.append(record)

    rounds = list(journal.rounds)
    first = max((record.part for record in rounds), default=0)
    built_s = 0.0
    for repeat in range(first // job.sessions, job.repeat):
        place = first % job.sessions if repeat == first // job.sessions else 0
        left = job.sessions - place
        end = job.clock() + (job.deadline - job.clock()) / (job.repeat - repeat)
        while left > 0:
            part = repeat * job.sessions + place
            begin = job.clock()
            with job.profiler.open(job.workloads) as session:
                built_s = job.clock() - begin
                measured = measure(
                    session,
                    job.workloads,
                    job.reference,
                    job.timing_of(begin, end, left),
                    clock=job.clock,
                    sleep=job.sleep,
                    progress=job.progress,
                    importance=job.importance,
                    earlier=[record for record in rounds if record.part == part],
                    on_round=keep,
                    started=job.started,
                    part=part,
                    hard_deadline=job.deadline,
                )
            rounds = [record for record in rounds if record.part != part] + list(measured.rounds)
            place += 1
            left = _affordable(job.sessions - place, built_s, end - job.clock())
    return rounds


def _affordable(planned: int, built_s: float, remaining_s: float) -> int:
    """How many more sessions leave most of the remaining time for measuring."""
    if built_s <= 0 or remaining_s == float("inf"):
        return planned
    return max(0, min(planned, int(MOST_BUILDING * remaining_s / built_s)))
