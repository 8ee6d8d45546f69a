"""A measurement in several sessions: runners are built anew, because that changes their cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from proxyless_hw.profilers.base import Profiler, Workload
from proxyless_hw.profilers.drift import Round
from proxyless_hw.profilers.journal import Journal
from proxyless_hw.profilers.timing import Progress, TimingConfig, measure


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

    def timing_of(self, part: int, now: float) -> TimingConfig:
        """The protocol of one session: its share of the time left, and of the rounds.

        Together the sessions reach the goal when each comes within its square root of their
        number; a little less is asked for, since sessions differ.
        """
        left = self.sessions * self.repeat - part
        budget = None
        if self.timing.budget_s is not None:
            budget = now - self.started + (self.deadline - now) / left
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
    needed_s = 0.0
    for part in range(first, job.sessions * job.repeat):
        begin = job.clock()
        if part % job.sessions and begin + needed_s > job.deadline:
            # Too late to build and visit everything once more: the sessions so far stand.
            continue
        with job.profiler.open(job.workloads) as session:
            built_s = job.clock() - begin
            measured = measure(
                session,
                job.workloads,
                job.reference,
                job.timing_of(part, begin),
                clock=job.clock,
                sleep=job.sleep,
                progress=job.progress,
                importance=job.importance,
                earlier=[record for record in rounds if record.part == part],
                on_round=keep,
                started=job.started,
                part=part,
            )
        needed_s = 2 * (built_s + measured.seconds / max(1, len(measured.rounds)))
        rounds = [record for record in rounds if record.part != part] + list(measured.rounds)
    return rounds
