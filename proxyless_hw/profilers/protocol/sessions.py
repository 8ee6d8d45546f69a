"""A measurement in several sessions: runners are built anew, because that changes their cost.

This is the one way in which anything is measured: the ops of a table, networks, and files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Profiler, Workload
from proxyless_hw.profilers.protocol.drift import Round
from proxyless_hw.profilers.protocol.plan import Plan, SessionPlace
from proxyless_hw.profilers.protocol.stopping import visit_counts
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig, estimates, measure
from proxyless_hw.tables.entry import ESTIMATED

MOST_BUILDING: Final = 1 / 3
"""Share of the remaining time that building may take. If it takes more, sessions are left out."""

SESSION_S: Final = 2.5
"""Least seconds of a session, if there are more sessions than planned."""

MOST_SESSIONS: Final = 24
"""Most sessions, if building is quick and the budget is large: they narrow intervals most."""

SECOND_VISIT_S: Final = 2.0
"""A budget is exceeded by up to so much, counted from the last building where that ended later,
before a target is left with one visit; only where its first visit may exceed the budget too."""

FIRST_BUILDING: Final = 0.15
"""Time of a later building as a share of that of the first, until one was measured.

The first one also imports libraries and makes the models, which profilers keep.
"""

LEAST_SESSIONS: Final = 3
"""Least sessions before a measurement may end early. They show what building anew changes."""

SESSIONS: Final = 8
"""Sessions if runners are built in this process and no number was asked for."""


@dataclass(frozen=True, kw_only=True)
class MeasurementJob:
    """What is measured, and with what.

    Attributes:
        profiler: the device.
        workloads: what a session holds.
        targets: names of the workloads to estimate.
        needed: those of them that must be visited at least once; all when None.
        reference: place of the workload that shows the machine's speed; None corrects nothing.
        importance: how often each target is used; equal when None.
        turns: visits to a target in each pass after a session's first; 1 where it is not named.
        timing: the protocol; its budget is that of the whole measurement.
        sessions: times the runners are built at least, as far as the budget allows.
        most_sessions: times they may be built where building is quick; as `sessions` when None.
        repeat: whole measurements.
        progress: called after each round.
        clock: seconds, monotonic.
        started: clock reading from which the budget counts.
        say: receives messages for people while measuring.
        grace_s: seconds beyond the budget in which targets may still have their first visit.
        way_on: what to do when the budget was too short; ends the message.
    """

    profiler: Profiler
    workloads: Sequence[Workload]
    targets: Sequence[str]
    reference: int | None
    timing: TimingConfig
    sessions: int
    started: float
    most_sessions: int | None = None
    needed: Sequence[str] | None = None
    importance: Sequence[float] | None = None
    turns: Mapping[str, int] = field(default_factory=dict)
    repeat: int = 1
    progress: Callable[[Progress], None] | None = None
    clock: Callable[[], float] = time.perf_counter
    say: Callable[[str], None] | None = None
    grace_s: float = 0.0
    way_on: str = "Give more with --budget; what was measured is kept: --resume goes on."

    @property
    def parts(self) -> int:
        """How many session numbers one repeat takes."""
        return max(self.sessions, self.most_sessions or 0)

    @property
    def deadline(self) -> float:
        """Clock reading at which the budget ends."""
        budget = self.timing.budget_s
        return float("inf") if budget is None else self.started + budget

    @property
    def second_visit_s(self) -> float:
        """Seconds beyond the budget, or the last building, for second visits."""
        return min(self.grace_s, SECOND_VISIT_S)

    def plan(self, timing: TimingConfig) -> Plan:
        """What one session measures, by a protocol of its own."""
        return Plan(
            workloads=self.workloads,
            reference=self.reference,
            config=timing,
            targets=self.targets,
            importance=self.importance,
            turns=self.turns,
        )

    def timing_of(self, now: float, end: float, later: int, built_s: float) -> TimingConfig:
        """The protocol of a session that is built at `now`, with `later` sessions after it.

        The time until `end`, less what building the later ones takes, is shared equally. Together
        the sessions reach the goal when each comes within its square root of their number; a
        little less is asked for, since sessions differ.
        """
        budget = None
        if self.timing.budget_s is not None:
            budget = now - self.started + (end - now - later * built_s) / (later + 1)
        return replace(
            self.timing,
            budget_s=budget,
            goal=min(0.9, self.timing.goal * max(1.0, 0.8 * self.sessions**0.5)),
            min_rounds=-(-self.timing.min_rounds // self.sessions),
            max_rounds=-(-self.timing.max_rounds // self.sessions),
        )


def fine_timing(timing: TimingConfig, description: dict[str, str]) -> TimingConfig:
    """The protocol for a device: on a CPU the reference is followed closely.

    There a visit takes milliseconds and the machine's speed changes within a second; elsewhere a
    visit takes seconds, or the clock of the device holds for minutes. A compiler's estimate is the
    same each time, so that one visit is enough.
    """
    if is_exact(description):
        return replace(timing, exact=True, min_rounds=1, max_rounds=1)
    if description.get("device_kind") != "cpu" or description.get("metric") != "latency":
        return timing
    return replace(timing, segment=2, neighbours=3, round_s=1.5)


def is_exact(description: Mapping[str, str]) -> bool:
    """Whether a device's figures are a compiler's estimates: no reference tells them more."""
    return description.get("statistic") == ESTIMATED


def measure_sessions(
    job: MeasurementJob,
    earlier: Sequence[Round] = (),
    keep: Callable[[Round], None] | None = None,
) -> list[Round]:
    """Measures each session with runners built anew; goes on where earlier rounds end.

    Where building takes long for the budget there are fewer sessions than asked for; the last one
    may be cut short. Only a target that no session could visit is an error.

    Args:
        job: what is measured.
        earlier: rounds of an interrupted measurement.
        keep: takes each finished round.

    Raises:
        ProfilingError: a workload failed, or the budget ended before every target was measured.
    """
    rounds = list(earlier)
    first = max((record.part for record in rounds), default=0)
    for repeat in range(first // job.parts, job.repeat):
        place = first % job.parts if repeat == first // job.parts else 0
        end = job.clock() + (job.deadline - job.clock()) / (job.repeat - repeat)
        start = job.clock()
        own: list[Round] = [r for r in rounds if r.part // job.parts == repeat]
        before = [record for record in rounds if record.part // job.parts != repeat]
        later = 1
        while later > 0:
            begin = job.clock()
            with job.profiler.open(job.workloads) as session:
                now = job.clock()
                built_s = (now - begin) * (FIRST_BUILDING if place == 0 else 1.0)
                later = _affordable(job, place + 1, built_s, end - now)
                measured = measure(
                    session,
                    job.plan(job.timing_of(now, end, later, built_s)),
                    SessionPlace(
                        part=repeat * job.parts + place,
                        earlier=own,
                        started=job.started,
                        hard_deadline=end + job.grace_s,
                        second_deadline=None if later else max(end, now) + job.second_visit_s,
                    ),
                    clock=job.clock,
                    progress=_overall(job),
                    on_round=keep,
                )
            own = list(measured.rounds)
            if measured.jumps and job.say is not None:
                job.say(
                    f"the clock jumped {measured.jumps} time(s), as when a machine sleeps or is "
                    "stopped: what was measured then is left out."
                )
            place += 1
            remaining_s = end - job.clock()
            planned = later if remaining_s > 2 * built_s else 0
            later = max(planned, _affordable(job, place, built_s, remaining_s))
            if place >= min(LEAST_SESSIONS, job.sessions) and _reached(job, own):
                break
        _check_complete(job, own, job.clock() - start)
        rounds = before + own
    return rounds


def _overall(job: MeasurementJob) -> Callable[[Progress], None] | None:
    """Progress of a session, with the time that the whole measurement has left."""
    show = job.progress
    if show is None or job.deadline == float("inf"):
        return show
    return lambda item: show(replace(item, left_s=max(0.0, job.deadline - job.clock())))


def _reached(job: MeasurementJob, rounds: Sequence[Round]) -> bool:
    """Whether the sessions so far meet the goal and the budget need not be used up."""
    if job.timing.spend or not all(visit_counts(rounds, job.targets).values()):
        return False
    return all(item.converged for item in estimates(rounds, job.targets, job.timing))


def _check_complete(job: MeasurementJob, rounds: Sequence[Round], seconds: float) -> None:
    """Ends a measurement whose budget is over while needed targets are left without any visit.

    Raises:
        ProfilingError: says how many are left and about how long they take.
    """
    counts = visit_counts(rounds, job.targets if job.needed is None else job.needed)
    left = sum(count == 0 for count in counts.values())
    if left:
        seen = len(counts) - left
        each = f" They take about {left * seconds / seen:.0f} s." if seen else ""
        raise ProfilingError(
            f"the budget of {job.timing.budget_s or 0:.3g} s for measuring ended with {left} of "
            f"{len(counts)} workloads not measured yet.{each} {job.way_on}"
        )


def _affordable(job: MeasurementJob, done: int, built_s: float, remaining_s: float) -> int:
    """How many more sessions leave most of the remaining time for measuring.

    Without a budget as many as planned; with one more where building is quick, since sessions
    differ by more than the visits within one.
    """
    if remaining_s == float("inf"):
        return job.sessions - done
    fitting = int(remaining_s * MOST_BUILDING / max(built_s, 1e-9))
    fitting = max(fitting, int(remaining_s >= 2 * built_s + SESSION_S))
    more = min(job.parts - done, int(remaining_s / SESSION_S))
    return max(0, min(fitting, max(job.sessions - done, more)))
