"""What a run has to remember, whether it searches or trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import nn


@dataclass
class EpochSums:
    """Running sums over the epoch in progress, kept so that a resumed epoch reports the whole.

    A subclass adds its own counts (int) and sums (float); each starts at zero.

    Attributes:
        steps: weight steps.
        seconds: time spent.
    """

    steps: int = 0
    seconds: float = 0.0


S = TypeVar("S", bound=EpochSums)


@dataclass(kw_only=True)
class RunState(ABC, Generic[S]):
    """The moving parts that every run has.

    Attributes:
        scaler: loss scaling of the weight steps (fp16 only).
        sums: running sums of the epoch in progress.
        epoch: epochs completed.
        step: weight steps completed within the epoch in progress.
        seconds: time spent in completed epochs.
    """

    scaler: torch.amp.GradScaler
    sums: S
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0

    def start_epoch(self) -> None:
        """Sets every sum to zero and the step to 0: the next epoch begins."""
        self.sums = type(self.sums)()
        self.step = 0

    @abstractmethod
    def weights(self) -> nn.Module:
        """The module whose parameters must stay finite."""
