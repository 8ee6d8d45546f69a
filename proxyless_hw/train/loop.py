"""The training loop: steps, epochs, validation, checkpoints.

Every random draw of a step (dropout, drop-path, mixing) is seeded by its position, not by what was
drawn before it; with batches that do likewise a resumed training repeats an uninterrupted one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
from torch import Tensor

from proxyless_hw.data.base import DataSplit, DataSplits
from proxyless_hw.data.random_streams import stream_seed
from proxyless_hw.runs.evaluation import Score, run_split
from proxyless_hw.runs.loop import NotFiniteError, RunLoop
from proxyless_hw.runs.precision import autocast_of
from proxyless_hw.runs.task import CLASSIFICATION, Task, are_labels
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.mixing import mixed_batch
from proxyless_hw.train.observer import TrainMetrics, TrainObserver
from proxyless_hw.train.schedule import learning_rate
from proxyless_hw.train.state import (
    TrainState,
    save_checkpoint,
    save_weights,
)

_STEP_STREAM, _MIX_STREAM = 11, 12


@dataclass(kw_only=True)
class TrainLoop(RunLoop[TrainState, TrainMetrics]):
    """Runs epochs from a state's position to the end.

    Attributes:
        data: the splits.
        config: settings.
        observer: receives every step and epoch.
        best: file of the weights of the best epoch.
        task: loss and metric.
    """

    data: DataSplits
    best: Path
    config: TrainConfig
    observer: TrainObserver
    task: Task = CLASSIFICATION

    @property
    def training(self) -> DataSplit:
        return self.data.train

    def step(self, state: TrainState, images: Tensor, targets: Tensor) -> float:
        """One step of SGD.

        Returns:
            The loss.

        Raises:
            NotFiniteError: it is not finite; nothing has been updated.
        """
        world = self.place.world
        position = (self.config.seed, state.epoch, state.step, world.rank)
        torch.manual_seed(stream_seed(_STEP_STREAM, *position))
        images, wanted = mixed_batch(
            images, targets, self.config, self.data.num_classes, stream_seed(_MIX_STREAM, *position)
        )
        for group in state.optimizer.param_groups:
            group["lr"] = self._lr(state)
        state.optimizer.zero_grad(set_to_none=True)
        state.network.train()
        with autocast_of(self.config.autocast, self.place.device):
            logits = state.network(images)
        loss = self.task.value(logits.float(), wanted, self.config.label_smoothing)
        value = float(world.average(loss.detach()))
        if not math.isfinite(value):
            raise NotFiniteError(
                f"the loss became {value} in epoch {state.epoch + 1}, step {state.step}. Look for "
                f"NaN or infinite weights{self.task.suspect}, or lower --lr."
            )
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        world.average_gradients(state.network.parameters())
        state.scaler.step(state.optimizer)
        state.scaler.update()
        if state.average is not None:
            state.average.update_parameters(state.network)
        state.sums.steps += 1
        state.sums.loss += value
        if are_labels(targets):
            state.sums.correct += int((logits.detach().argmax(1) == targets).sum())
            state.sums.images += len(targets)
        return value

    def tell_step(self, state: TrainState, loss: float) -> None:
        self.observer.step(loss, float(state.optimizer.param_groups[0]["lr"]))

    def finish_epoch(self, state: TrainState) -> TrainMetrics:
        validation = self.score(state, self.data.holdout) if len(self.data.holdout) else None
        sums = state.sums
        better = (
            validation is None
            or state.best_accuracy is None
            or validation.metric > state.best_accuracy
        )
        if better:
            state.best_accuracy = None if validation is None else validation.metric
            state.best_epoch = state.epoch
            if self.place.world.is_main:
                save_weights(
                    self.best,
                    state.evaluated().state_dict(),
                    {"epoch": state.best_epoch, "accuracy": state.best_accuracy},
                    self.place.check_held,
                )
        return {
            "epoch": state.epoch,
            "train_loss": sums.loss / max(1, sums.steps),
            "train_accuracy": sums.correct / sums.images if sums.images else None,
            "validation": None if validation is None else validation.to_dict(),
            "lr": learning_rate(self.config, state.epoch, 0, self.steps_per_epoch),
            "seconds": round(sums.seconds, 3),
        }

    def save(self, state: TrainState) -> None:
        save_checkpoint(self.place.folder.checkpoint, state, self.config, self.place.check_held)

    def tell_epoch(self, metrics: TrainMetrics) -> None:
        self.observer.epoch(metrics)

    def score(self, state: TrainState, split: DataSplit) -> Score:
        """Evaluates the network (the moving average if there is one) over all processes.

        Raises:
            InterruptedRunError: a signal asks the run to stop; the state is saved.
        """
        place = self.place
        network = state.evaluated()
        place.world.broadcast_buffers(network)
        batches = split.batches(
            0,
            shuffle=False,
            augment=False,
            drop_last=False,
            first=place.world.rank,
            every=place.world.size,
        )
        wanted = takewhile(lambda _: not place.stop.is_set, batches)
        outputs = run_split(network, wanted, place.device, self.task)
        self.stop_if_asked(state)  # of a part of the split there is no score
        return outputs.score(place.folder.error, place.device, place.world)

    def _lr(self, state: TrainState) -> float:
        return learning_rate(self.config, state.epoch, state.step, self.steps_per_epoch)
