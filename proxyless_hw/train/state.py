"""The state of a training, its checkpoint and its weights file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from proxyless_hw.errors import TrainingError
from proxyless_hw.network.network import Network
from proxyless_hw.runs.checkpoint import CheckpointFormat
from proxyless_hw.runs.precision import grad_scaler, sgd
from proxyless_hw.runs.state import EpochSums, RunState
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.tensor_files import (
    finite,
    load_optimizer,
    plain_tensors,
    save_tensors,
    whole,
)
from proxyless_hw.train.config import TrainConfig

CHECKPOINT: Final = CheckpointFormat("proxyless-hw-train/1", "training", TrainingError)


@dataclass
class TrainSums(EpochSums):
    """Running sums over the epoch in progress."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0


@dataclass(kw_only=True)
class TrainState(RunState[TrainSums]):
    """The moving parts of a training.

    Attributes:
        network: the weights being trained.
        optimizer: SGD.
        average: moving average of the network's parameters and buffers; None without one.
        best_accuracy: best validation accuracy so far; None before the first.
        best_epoch: the epoch it belongs to (0-based).
    """

    network: Network
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None = None
    sums: TrainSums = field(default_factory=TrainSums)
    best_accuracy: float | None = None
    best_epoch: int | None = None

    def weights(self) -> nn.Module:
        return self.network

    def evaluated(self) -> nn.Module:
        """The network that counts: the moving average where there is one, else the trained one."""
        return self.network if self.average is None else self.average.module


def new_state(network: Network, config: TrainConfig, device: torch.device) -> TrainState:
    """Builds the state of a new training: optimiser, loss scaling, moving average."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainState(
        network=network,
        optimizer=sgd(
            network.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        ),
        scaler=grad_scaler(config.autocast, device),
        average=moving_average(network, config.ema) if config.ema > 0 else None,
    )


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A moving average of parameters and buffers; `update_parameters` adds a step to it.

    The first step is copied. The decay of step t is at most (1 + t) / (10 + t), so that early
    weights are soon forgotten. Integer buffers are copied.
    """

    @torch.no_grad()
    def update(average: Sequence[Tensor], current: Sequence[Tensor], updates: Tensor | int) -> None:
        t = int(updates) + 1
        rate = 1 - min(decay, (1 + t) / (10 + t))
        for mean, tensor in zip(average, current, strict=True):
            if mean.is_floating_point():
                mean.lerp_(tensor, rate)
            else:
                mean.copy_(tensor)

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)


def save_checkpoint(
    path: Path, state: TrainState, config: TrainConfig, check: Callable[[], None] | None = None
) -> None:
    """Writes the checkpoint as `CheckpointFormat.write`.

    Raises:
        TrainingError: the place cannot be written.
    """
    average = state.average
    parts = {
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": {} if average is None else average.module.state_dict(),
        "updates": 0 if average is None else int(average.n_averaged),
        "best_accuracy": state.best_accuracy,
        "best_epoch": state.best_epoch,
    }
    CHECKPOINT.write(path, state, config, parts, check)


def save_weights(
    path: Path,
    tensors: dict[str, Tensor],
    facts: JsonObject,
    check: Callable[[], None] | None = None,
) -> None:
    """Writes the tensors of a network with our names, and a few plain facts.

    `check` is that of `save_tensors`.

    Raises:
        TrainingError: the place cannot be written.
    """
    state = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    save_tensors(path, {"state_dict": state, **facts}, TrainingError, check)


def restore(state: TrainState, document: JsonObject, path: Path) -> None:
    """Restores a freshly built state from a checkpoint.

    Raises:
        TrainingError: a part is missing or has another shape.
    """
    with CHECKPOINT.restoring(state, document, path):
        state.network.load_state_dict(plain_tensors(document["network"]))
        load_optimizer(state.optimizer, document["optimizer"], ("momentum_buffer",))
        average = plain_tensors(document["average"])
        if bool(average) != (state.average is not None):
            raise ValueError("it was made with another setting of ema")
        if state.average is not None:
            state.average.module.load_state_dict(average)
            state.average.n_averaged.fill_(whole(document["updates"], "updates"))
        accuracy, best = document["best_accuracy"], document["best_epoch"]
        state.best_accuracy = None if accuracy is None else finite(accuracy, "best_accuracy")
        state.best_epoch = None if best is None else whole(best, "best_epoch")
