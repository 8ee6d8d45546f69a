"""Settings of the measurement protocol: when to stop, and how closely the reference is followed."""

from __future__ import annotations

from dataclasses import dataclass

from proxyless_hw.errors import ProfilingError


@dataclass(frozen=True, kw_only=True)
class TimingConfig:
    """When to stop, and how closely the machine's speed is followed.

    Attributes:
        goal: half-width of the 95% interval, as a fraction of the estimate, at which a workload
            is done.
        goal_absolute: half-width in the metric's unit that also counts as done (2 µs).
        budget_s: total seconds, building included; None measures until all are done.
        spend: whether the budget is used up, where it narrows intervals most, when all are done.
        min_rounds, max_rounds: visits per workload, at least and at most.
        segment: workloads between two visits to the reference.
        neighbours: visits to the reference, on each side of a segment, whose median says how fast
            the machine was during it.
        round_s: least seconds of a round. A round is what the journal keeps at once; it holds
            several passes over the workloads where one pass is shorter.
        exact: every visit to a workload gives the same value, so that one is enough and its
            interval has no width.
        correct_drift: whether estimates use the machine's speed at each visit.
        seed: seeds the visiting order.
    """

    goal: float = 0.02
    goal_absolute: float = 0.002
    budget_s: float | None = None
    spend: bool = True
    min_rounds: int = 5
    max_rounds: int = 100_000
    segment: int = 10
    neighbours: int = 1
    round_s: float = 0.0
    exact: bool = False
    correct_drift: bool = True
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
