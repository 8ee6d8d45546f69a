"""Settings of the measurement protocol: when to stop, when to repeat."""

from __future__ import annotations

from dataclasses import dataclass

from proxyless_hw.errors import ProfilingError


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
