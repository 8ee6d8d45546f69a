"""What a loop and a checkpoint know of a run's state."""

from __future__ import annotations

from typing import Protocol

from torch import nn


class Sums(Protocol):
    """Running sums of the epoch in progress."""

    seconds: float


class State(Protocol):
    """Where a run is.

    Attributes:
        epoch: epochs completed.
        step: steps completed within the epoch in progress.
        sums: of the epoch in progress.
        seconds: time spent in completed epochs.
    """

    epoch: int
    step: int
    seconds: float

    @property
    def sums(self) -> Sums: ...

    def new_sums(self) -> None:
        """Starts the sums of the next epoch."""

    def weights(self) -> nn.Module:
        """What must stay finite."""
