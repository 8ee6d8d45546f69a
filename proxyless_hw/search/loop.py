"""The training loop: warm-up, then weight steps and alpha updates in turn, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from proxyless_hw.data.base import DataSplit, DataSplits
from proxyless_hw.errors import SearchError
from proxyless_hw.network.single_values import named_single_values
from proxyless_hw.runs.interrupt import InterruptedRunError, StopRequest
from proxyless_hw.search.gates import path_probabilities, slot_entropy
from proxyless_hw.search.objective import expectations_of
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.run_folder import RunFolder
from proxyless_hw.search.schedule import is_alpha_step, weight_lr
from proxyless_hw.search.state import EpochSums, SearchState, save_checkpoint
from proxyless_hw.search.steps import (
    Context,
    NotFiniteError,
    check_finite,
    update_alpha,
    update_weights,
)

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Loop:
    """Runs epochs from a state's position to the end.

    Attributes:
        context: settings, constraints, device.
        data: the splits; `train` moves the weights, `holdout` moves alpha.
        folder: where checkpoints and metrics go.
        observer: told of every step and epoch.
        stop: asks the loop to end at the next step.
        check_held: raises when the run folder is not ours any more.
    """

    context: Context
    data: DataSplits
    folder: RunFolder
    observer: SearchObserver
    stop: StopRequest
    check_held: Callable[[], None]

    @property
    def steps_per_epoch(self) -> int:
        """Weight steps per epoch on each rank.

        Raises:
            SearchError: the training split holds less than one batch per process.
        """
        return steps_per_epoch(self.context, self.data)

    def run(self, state: SearchState) -> None:
        """Runs the remaining epochs; a checkpoint and a line of metrics after each.

        Raises:
            InterruptedRunError: a signal arrived; the state is saved at the last step.
            NotFiniteError: a loss became NaN; the last good checkpoint is named.
        """
        config = self.context.config
        while state.epoch < config.warmup_epochs + config.epochs:
            try:
                with named_single_values(SearchError):
                    self._epoch(state)
            except NotFiniteError as cause:
                raise SearchError(f"{cause} {self._last_good()}") from cause

    def _epoch(self, state: SearchState) -> None:
        config = self.context.config
        warmup = state.epoch < config.warmup_epochs
        holdout = self._holdout_batches(state.alpha_batches)
        started = time.perf_counter() - state.sums.seconds
        for images, labels in self._train_batches(state.epoch, state.step):
            lr = weight_lr(config, state.epoch, state.step, self.steps_per_epoch)
            for group in state.weight_optimizer.param_groups:
                group["lr"] = lr
            loss, correct = update_weights(state, images, labels, self.context, uniform=warmup)
            state.sums.train_loss += loss
            state.sums.train_correct += correct
            state.sums.train_images += len(labels)
            state.sums.steps += 1
            if is_alpha_step(config, state.epoch, state.step, self.steps_per_epoch):
                held = next(holdout)
                state.alpha_batches += 1
                state.sums.holdout_loss += update_alpha(state, *held, self.context)
                state.sums.alpha_steps += 1
            state.step += 1
            state.sums.seconds = time.perf_counter() - started
            self._tell_step(state, loss)
            if self.context.world.any(self.stop.is_set, self.context.device):
                self._save_and_stop(state)
        self._finish_epoch(state)

    def _finish_epoch(self, state: SearchState) -> None:
        check_finite(state)
        metrics = self._metrics(state)
        state.seconds += state.sums.seconds
        state.epoch += 1
        state.step = 0
        state.sums = EpochSums()
        if self.context.world.is_main:
            self.check_held()
            self.folder.append_metrics(metrics)
            save_checkpoint(self.folder.checkpoint, state, self.context.config, self.check_held)
        self.observer.epoch(metrics)

    def _save_and_stop(self, state: SearchState) -> None:
        check_finite(state)
        if self.context.world.is_main:
            save_checkpoint(self.folder.checkpoint, state, self.context.config, self.check_held)
        self.context.world.barrier()
        raise InterruptedRunError(
            f"interrupted in epoch {state.epoch + 1} after step {state.step}; saved. "
            f"Go on: proxyless-hw search --output {self.folder.path} --resume"
        )

    def _train_batches(self, epoch: int, first: int) -> Iterator[Batch]:
        yield from self._batches(self.data.train, epoch, first, augment=True)

    def _holdout_batches(self, first: int) -> Iterator[Batch]:
        """Held-out batches without end, from the `first`-th on, in an order of its own."""
        epoch, skip = divmod(first, _batches(self.data.holdout, self.context))
        while True:
            yield from self._batches(self.data.holdout, epoch, skip, augment=False)
            epoch, skip = epoch + 1, 0

    def _batches(self, split: DataSplit, epoch: int, skip: int, augment: bool) -> Iterator[Batch]:
        """This rank's share of an epoch's batches, from the `skip`-th on."""
        world = self.context.world
        batches = split.batches(
            epoch,
            shuffle=True,
            augment=augment,
            drop_last=True,
            first=world.rank + skip * world.size,
            every=world.size,
        )
        for images, labels in islice(batches, _batches(split, self.context) - skip):
            yield self._to_device(images), labels.to(self.context.device)

    def _to_device(self, images: Tensor) -> Tensor:
        return images.to(self.context.device, memory_format=torch.channels_last, non_blocking=True)

    def _tell_step(self, state: SearchState, loss: float) -> None:
        alpha, mask = state.supernet.alpha.detach(), state.supernet.mask
        expectations, _ = expectations_of(self.context.constraints, alpha, mask)
        entropy = float(slot_entropy(path_probabilities(alpha, mask)).mean())
        self.observer.step(loss, expectations, entropy)

    def _metrics(self, state: SearchState) -> dict[str, Any]:
        config, sums, constraints = self.context.config, state.sums, self.context.constraints
        warmup = state.epoch < config.warmup_epochs
        alpha, mask = state.supernet.alpha.detach().cpu(), state.supernet.mask.cpu()
        values, _ = expectations_of(constraints, alpha, mask)
        p = path_probabilities(alpha, mask)
        names = [constraint.name for constraint in constraints]
        return {
            "phase": "warmup" if warmup else "search",
            "epoch": state.epoch - (0 if warmup else config.warmup_epochs),
            "train_loss": sums.train_loss / max(1, sums.steps),
            "train_accuracy": sums.train_correct / max(1, sums.train_images),
            "holdout_loss": sums.holdout_loss / sums.alpha_steps if sums.alpha_steps else None,
            "expected": dict(zip(names, values, strict=True)),
            "expected_ms": {
                constraint.name: value
                for constraint, value in zip(constraints, values, strict=True)
                if constraint.costs.unit == "ms"
            },
            "targets": {constraint.name: constraint.target for constraint in constraints},
            "entropy": float(slot_entropy(p).mean()),
            "multiplier": dict(zip(names, state.multipliers.values, strict=True)),
            "baseline": state.baseline,
            "seconds": round(sums.seconds, 3),
            "alpha": [
                [round(value, 4) if there else None for value, there in zip(*row, strict=True)]
                for row in zip(p.tolist(), mask.tolist(), strict=True)
            ],
        }

    def _last_good(self) -> str:
        if self.folder.checkpoint.exists():
            return f"The last good checkpoint is {self.folder.checkpoint}."
        return "No checkpoint had been written yet."


def steps_per_epoch(context: Context, data: DataSplits) -> int:
    """Weight steps per epoch on each rank.

    Raises:
        SearchError: the training split holds less than one batch per process.
    """
    return _batches(data.train, context)


def _batches(split: DataSplit, context: Context) -> int:
    size, world = context.config.batch_size, context.world.size
    count = len(split) // size // world
    if count < 1:
        raise SearchError(
            f"a split of {len(split)} images gives no batch of {size} to each of {world} "
            "processes. Lower --batch-size, or raise --limit."
        )
    return count
