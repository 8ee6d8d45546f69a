"""What one session of a measurement measures, and where it stands among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.protocol.drift import Round
from proxyless_hw.profilers.protocol.timing_config import TimingConfig


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a session measures.

    Attributes:
        workloads: what the session holds, in its order.
        reference: index of the workload that shows the machine's speed; None corrects nothing.
        config: goal, budget and thresholds.
        targets: names to estimate; all workloads when None.
        importance: how often each target is used; equal when None. It steers left-over budget.
        turns: visits to a target in each pass after the session's first; 1 where it is not named.
    """

    workloads: Sequence[Workload]
    reference: int | None
    config: TimingConfig
    targets: Sequence[str] | None = None
    importance: Sequence[float] | None = None
    turns: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The targets' names."""
        if self.targets is not None:
            return list(self.targets)
        return [workload.name for workload in self.workloads]


@dataclass(frozen=True, kw_only=True)
class SessionPlace:
    """Where a session stands within a measurement of several; by default it is the only one.

    Attributes:
        part: its number.
        earlier: rounds of this measurement that came before, of this session and of others.
        started: clock reading from which the budget counts; now when None.
        hard_deadline: clock reading until which workloads may have their first visit, where
            the budget is one session's share of a larger one; the budget's end when None.
        second_deadline: clock reading until which they may have their second, which tells how well
            the first is known; the budget's end when None.
    """

    part: int = 0
    earlier: Sequence[Round] = ()
    started: float | None = None
    hard_deadline: float | None = None
    second_deadline: float | None = None


ALONE: Final = SessionPlace()
