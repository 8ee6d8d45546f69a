"""The training loop: steps, epochs, validation, checkpoints.

Every random draw of a step (dropout, drop-path, mixing) is seeded by its position, not by what was
drawn before it; with batches that do likewise a resumed training repeats an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from proxyless_hw.data.base import DataSplit, DataSplits, stream
from proxyless_hw.errors import TrainingError
from proxyless_hw.network.single_values import named_single_values
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.interrupt import InterruptedRunError, StopRequest
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.evaluate import Score, evaluate
from proxyless_hw.train.mixing import mixed_batch, smooth_targets
from proxyless_hw.train.observer import TrainObserver
from proxyless_hw.train.run_folder import TrainFolder
from proxyless_hw.train.schedule import learning_rate
from proxyless_hw.train.state import (
    EpochSums,
    TrainState,
    save_checkpoint,
    save_weights,
    update_average,
)

_STEP_STREAM, _MIX_STREAM = 11, 12


@dataclass(frozen=True)
class Loop:
    """Runs epochs from a state's position to the end.

    Attributes:
        config: settings.
        data: the splits.
        folder: where checkpoints and metrics go.
        observer: told of every step and epoch.
        stop: asks the loop to end at the next step.
        device: where the network is.
        world: the processes.
        check_held: raises when the run folder is not ours any more.
    """

    config: TrainConfig
    data: DataSplits
    folder: TrainFolder
    observer: TrainObserver
    stop: StopRequest
    device: torch.device
    world: World
    check_held: Callable[[], None]

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch on each process.

        Raises:
            TrainingError: there is not one batch for each process.
        """
        count = len(self.data.train) // self.config.batch_size // self.world.size
        if count < 1:
            raise TrainingError(
                f"{len(self.data.train)} training images give no batch of {self.config.batch_size} "
                f"to each of {self.world.size} processes. Lower --batch-size, or raise --limit."
            )
        return count

    def run(self, state: TrainState) -> None:
        """Runs the remaining epochs; a checkpoint and a line of metrics after each.

        Raises:
            InterruptedRunError: a signal arrived; the state is saved at the last step.
            TrainingError: a loss became NaN; the last good checkpoint is named.
        """
        while state.epoch < self.config.epochs:
            with named_single_values(TrainingError):
                self._epoch(state)

    def _epoch(self, state: TrainState) -> None:
        started = time.perf_counter() - state.sums.seconds
        saved = time.perf_counter()
        steps = self.steps_per_epoch
        for images, labels in self._batches(state.epoch, state.step):
            lr = learning_rate(self.config, state.epoch, state.step, steps)
            loss = self.train_step(state, images, labels, lr)
            state.step += 1
            state.sums.seconds = time.perf_counter() - started
            self.observer.step(loss, lr)
            if self.world.any(self.stop.is_set, self.device):
                self._save_and_stop(state)
            if time.perf_counter() - saved > 60 * self.config.checkpoint_minutes:
                self._save(state)
                saved = time.perf_counter()
        self._finish_epoch(state)

    def train_step(self, state: TrainState, images: Tensor, labels: Tensor, lr: float) -> float:
        """One step of SGD.

        Returns:
            The loss.

        Raises:
            TrainingError: it is not finite; nothing has been updated.
        """
        position = (self.config.seed, state.epoch, state.step, self.world.rank)
        torch.manual_seed(stream(_STEP_STREAM, *position))
        generator = torch.Generator().manual_seed(stream(_MIX_STREAM, *position))
        targets = smooth_targets(labels, self.data.num_classes, self.config.label_smoothing)
        images, targets = mixed_batch(images, targets, self.config, generator)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        state.optimizer.zero_grad(set_to_none=True)
        state.network.train()
        with self._autocast():
            logits = state.network(images)
        loss = functional.cross_entropy(logits.float(), targets)
        value = float(self.world.average(loss.detach()))
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} in epoch {state.epoch + 1}, step {state.step}. Look for "
                f"NaN or infinite weights, or lower --lr. {self._last_good()}"
            )
        state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.world.average_gradients(state.network.parameters())
        state.scaler.step(state.optimizer)
        state.scaler.update()
        update_average(state, self.config.ema)
        state.sums.steps += 1
        state.sums.loss += value
        state.sums.correct += int((logits.detach().argmax(1) == labels).sum())
        state.sums.images += len(labels)
        return value

    def _batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the epoch from its step `first` on."""
        batches = self.data.train.batches(
            epoch,
            shuffle=True,
            augment=True,
            drop_last=True,
            first=first * self.world.size + self.world.rank,
            every=self.world.size,
        )
        for _, (images, labels) in zip(range(first, self.steps_per_epoch), batches, strict=False):
            images = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            yield images, labels.to(self.device)

    def _finish_epoch(self, state: TrainState) -> None:
        self._check_finite(state)
        validation = self.score(state, self.data.holdout) if len(self.data.holdout) else None
        if self.world.any(self.stop.is_set, self.device):
            self._save_and_stop(state)  # the score may be of a part; it is made anew
        sums = state.sums
        metrics = {
            "epoch": state.epoch,
            "train_loss": sums.loss / max(1, sums.steps),
            "train_accuracy": sums.correct / max(1, sums.images),
            "validation": None if validation is None else validation.to_dict(),
            "lr": learning_rate(self.config, state.epoch, 0, self.steps_per_epoch),
            "seconds": round(sums.seconds, 3),
        }
        better = (
            validation is None
            or state.best_accuracy is None
            or validation.top1 > state.best_accuracy
        )
        if better:
            state.best_accuracy = None if validation is None else validation.top1
            state.best_epoch = state.epoch
        state.seconds += sums.seconds
        state.epoch, state.step, state.sums = state.epoch + 1, 0, EpochSums()
        if self.world.is_main:
            if better:
                save_weights(
                    self.folder.best,
                    state.evaluated_tensors(),
                    {"epoch": state.best_epoch, "accuracy": state.best_accuracy},
                    self.check_held,
                )
            self.check_held()
            self.folder.append_metrics(metrics)
        self._save(state)
        self.observer.epoch(metrics)

    def score(self, state: TrainState, split: DataSplit) -> Score:
        """Evaluates what counts (the average where there is one) over all processes.

        It ends early, with a score of what it has seen, when a signal asks the run to stop.
        """
        self.world.broadcast_buffers(state.network)
        network = state.network
        batches = split.batches(
            0,
            shuffle=False,
            augment=False,
            drop_last=False,
            first=self.world.rank,
            every=self.world.size,
        )
        with evaluated(state):
            wanted = takewhile(lambda _: not self.stop.is_set, batches)
            return evaluate(network, wanted, self.device, self.world)

    def _save(self, state: TrainState) -> None:
        self._check_finite(state)
        if self.world.is_main:
            save_checkpoint(self.folder.checkpoint, state, self.config, self.check_held)

    def _check_finite(self, state: TrainState) -> None:
        """No checkpoint is replaced by one that cannot be used."""
        for name, parameter in state.network.named_parameters():
            if not bool(parameter.detach().isfinite().all()):
                raise TrainingError(
                    f"'{name}' became NaN or infinite in epoch {state.epoch}. Lower --lr. "
                    f"{self._last_good()}"
                )

    def _save_and_stop(self, state: TrainState) -> None:
        self._save(state)
        self.world.barrier()
        raise InterruptedRunError(
            f"interrupted in epoch {state.epoch + 1} after step {state.step}; saved. Go on: "
            f"{self.folder.resume_command()}"
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.autocast == "none":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.config.autocast == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)

    def _last_good(self) -> str:
        if self.folder.checkpoint.exists():
            return f"The last good checkpoint is {self.folder.checkpoint}."
        return "No checkpoint had been written yet."


@contextlib.contextmanager
def evaluated(state: TrainState) -> Iterator[None]:
    """Within it the network holds the moving average, where there is one."""
    if not state.average:
        yield
        return
    own = {name: tensor.detach().clone() for name, tensor in state.network.state_dict().items()}
    state.network.load_state_dict(state.average)
    try:
        yield
    finally:
        state.network.load_state_dict(own)
