"""What a training must remember, and its checkpoint: tensors and plain containers only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from proxyless_hw.errors import TrainingError
from proxyless_hw.network.network import Network
from proxyless_hw.runs import checkpoint
from proxyless_hw.runs.precision import sgd
from proxyless_hw.storage.tensor_files import (
    finite,
    load_optimizer,
    plain_tensors,
    save_tensors,
    whole,
)
from proxyless_hw.train.config import TrainConfig

SCHEMA = "proxyless-hw-train/1"


@dataclass
class EpochSums:
    """Running sums over the epoch in progress."""

    steps: int = 0
    loss: float = 0.0
    correct: int = 0
    images: int = 0
    seconds: float = 0.0


@dataclass
class TrainState:
    """The moving parts of a training.

    Attributes:
        network: the weights being trained.
        optimizer: SGD.
        scaler: loss scaling (fp16 only).
        average: moving average of the network's tensors by name; empty without one.
        updates: steps that went into the average.
        epoch: epochs completed.
        step: steps completed within the epoch in progress.
        best_accuracy: best validation accuracy so far; None before the first.
        best_epoch: the epoch it belongs to (0-based).
        sums: of the epoch in progress.
        seconds: time spent in completed epochs.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: dict[str, Tensor] = field(default_factory=dict)
    updates: int = 0
    epoch: int = 0
    step: int = 0
    best_accuracy: float | None = None
    best_epoch: int | None = None
    sums: EpochSums = field(default_factory=EpochSums)
    seconds: float = 0.0

    def new_sums(self) -> None:
        """Starts the sums of the next epoch."""
        self.sums = EpochSums()

    def weights(self) -> nn.Module:
        """What must stay finite."""
        return self.network

    def evaluated_tensors(self) -> dict[str, Tensor]:
        """The tensors that count: the moving average where there is one, else the network's."""
        return self.average or self.network.state_dict()


def new_state(network: Network, config: TrainConfig, device: torch.device) -> TrainState:
    """Optimiser and average around a network."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = sgd(
        network.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    enabled = config.autocast == "fp16" and device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=enabled)
    state = TrainState(network, optimizer, scaler)
    if config.ema > 0:
        state.average = {name: t.detach().clone() for name, t in network.state_dict().items()}
    return state


@torch.no_grad()
def update_average(state: TrainState, decay: float) -> None:
    """One step of the moving average; early steps count more (decay at most (1 + t) / (10 + t))."""
    if not state.average:
        return
    state.updates += 1
    rate = 1 - min(decay, (1 + state.updates) / (10 + state.updates))
    for name, tensor in state.network.state_dict().items():
        if tensor.is_floating_point():
            state.average[name].lerp_(tensor, rate)
        else:
            state.average[name].copy_(tensor)


def save_checkpoint(
    path: Path, state: TrainState, config: TrainConfig, check: Callable[[], None] | None = None
) -> None:
    """Writes the whole state atomically; the old checkpoint stays until the new one is on disk.

    `check` is that of `save_tensors`.

    Raises:
        TrainingError: the place cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "config": {**config.to_dict(), "resume": False},
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "average": state.average,
        "updates": state.updates,
        "best_accuracy": state.best_accuracy,
        "best_epoch": state.best_epoch,
    }
    document |= checkpoint.position_of(state)
    save_tensors(path, document, TrainingError, check)


def save_weights(
    path: Path,
    tensors: dict[str, Tensor],
    facts: dict[str, Any],
    check: Callable[[], None] | None = None,
) -> None:
    """Writes the tensors of a network by our names, with a few plain facts beside them.

    `check` is that of `save_tensors`.

    Raises:
        TrainingError: the place cannot be written.
    """
    state = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    save_tensors(path, {"state_dict": state, **facts}, TrainingError, check)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint with ``weights_only=True``.

    Raises:
        TrainingError: unreadable, or not a training checkpoint.
    """
    return checkpoint.read_checkpoint(path, SCHEMA, "training", TrainingError)


def restore(state: TrainState, document: dict[str, Any], path: Path) -> None:
    """Puts a checkpoint's contents into a freshly built state.

    Raises:
        TrainingError: a part is missing or has another shape.
    """
    with checkpoint.restoring(path, "training", TrainingError):
        state.network.load_state_dict(plain_tensors(document["network"]))
        load_optimizer(state.optimizer, document["optimizer"], ("momentum_buffer",))
        state.scaler.load_state_dict(document["scaler"])
        average = plain_tensors(document["average"])
        if set(average) != set(state.average):
            raise ValueError("it was made with another setting of ema")
        for name, tensor in average.items():
            state.average[name].copy_(tensor)
        state.updates = whole(document["updates"], "updates")
        checkpoint.restore_position(state, document)
        accuracy, best = document["best_accuracy"], document["best_epoch"]
        state.best_accuracy = None if accuracy is None else finite(accuracy, "best_accuracy")
        state.best_epoch = None if best is None else whole(best, "best_epoch")


def load_tensors_into(network: nn.Module, tensors: Any, path: Path) -> None:
    """Fills a network by our names.

    Raises:
        TrainingError: the tensors do not fit.
    """
    try:
        network.load_state_dict(plain_tensors(tensors))
    except (RuntimeError, TypeError, AttributeError, KeyError, ValueError) as cause:
        shown = " ".join(str(cause).split())[:300]
        raise TrainingError(f"{path} does not fit the network: {shown}") from cause
