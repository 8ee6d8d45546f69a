"""How the stages of `specialize` share their time: each gets its part of what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Share:
    """The part of the time that goes to a stage.

    Attributes:
        weight: its part of what is left, relative to those of the stages that are still to come.
        least, most: seconds at least and at most. Measuring gains nothing from hours.
    """

    weight: float
    least: float
    most: float = float("inf")


SHARES: Final = {
    "profile": Share(0.14, 30.0, 1800.0),
    "calibrate": Share(0.07, 15.0, 600.0),
    "search": Share(0.33, 5.0),
    "finalists": Share(0.07, 15.0, 300.0),
    "train": Share(0.33, 5.0),
    "verify": Share(0.06, 16.0, 120.0),
}
"""In the order of the stages; `finalists` is the measuring within a search."""

FILES_S: Final = 50.0
"""Kept back for converting, checking and the report."""


@dataclass
class TimeBudget:
    """The time of one `specialize`.

    Attributes:
        total_s: seconds in all.
        spent_s: of them, those that earlier processes took.
        clock: seconds, monotonic.
    """

    total_s: float
    spent_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def used_s(self) -> float:
        """Seconds that are over."""
        return self.spent_s + self.clock() - self._started

    @property
    def left_s(self) -> float:
        """Seconds left; 0 when the time is over."""
        return max(0.0, self.total_s - self.used_s)

    def allot(self, stage: str, now: str | None = None) -> float:
        """Seconds for a stage: its share of what is left, within its bounds.

        What a stage before it has left over, or taken too much, is shared by all that come.

        Args:
            stage: name in `SHARES`.
            now: the stage that begins now; `stage` by default.
        """
        names = list(SHARES)
        coming = [SHARES[name].weight for name in names[names.index(now or stage) :]]
        share = SHARES[stage]
        part = (self.left_s - FILES_S) * share.weight / sum(coming)
        return min(max(part, share.least), share.most)
