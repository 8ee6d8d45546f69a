"""The loop of a search: warm-up, then weight steps and alpha updates in turn, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from proxyless_hw.data.base import DataSplit
from proxyless_hw.runs.loop import Batch, RunLoop
from proxyless_hw.search.context import Context
from proxyless_hw.search.gates import path_probabilities, slot_entropy
from proxyless_hw.search.objective import expectations_of
from proxyless_hw.search.observer import SearchMetrics, SearchObserver
from proxyless_hw.search.schedule import is_alpha_step, weight_lr
from proxyless_hw.search.state import SearchState, save_checkpoint
from proxyless_hw.search.steps import update_alpha, update_weights


@dataclass(kw_only=True)
class SearchLoop(RunLoop[SearchState, SearchMetrics]):
    """Runs epochs from a state's position to the end.

    Attributes:
        context: settings, constraints, data; its split `train` moves the weights, `holdout`
            moves alpha.
        observer: told of every step and epoch.
    """

    context: Context
    observer: SearchObserver
    _held_out: Iterator[Batch] | None = field(default=None, init=False, repr=False)

    @property
    def training(self) -> DataSplit:
        return self.context.data.train

    def step(self, state: SearchState, images: Tensor, targets: Tensor) -> float:
        config, steps = self.context.config, self.steps_per_epoch
        held = self._held_batch(state)
        warmup = state.epoch < config.warmup_epochs
        lr = weight_lr(config, state.epoch, state.step, steps)
        for group in state.weight_optimizer.param_groups:
            group["lr"] = lr
        loss, correct = update_weights(state, images, targets, self.context, uniform=warmup)
        state.sums.train_loss += loss
        if correct is not None:
            state.sums.train_correct += correct
            state.sums.train_images += len(targets)
        state.sums.steps += 1
        if held is not None:
            state.alpha_batches += 1
            state.sums.holdout_loss += update_alpha(state, *held, self.context)
            state.sums.alpha_steps += 1
        return loss

    def _held_batch(self, state: SearchState) -> Batch | None:
        """The held-out batch of this step, before anything has changed; None without an update."""
        steps = self.steps_per_epoch
        if not is_alpha_step(self.context.config, state.epoch, state.step, steps):
            return None
        with self.saving(state):
            if self._held_out is None:
                self._held_out = self._endless(state.alpha_batches)
            return next(self._held_out)

    def tell_step(self, state: SearchState, loss: float) -> None:
        alpha, mask = state.supernet.alpha.detach(), state.supernet.mask
        expectations, _ = expectations_of(self.context.constraints, alpha)
        entropy = float(slot_entropy(path_probabilities(alpha, mask)).mean())
        self.observer.step(loss, expectations, entropy)

    def finish_epoch(self, state: SearchState) -> SearchMetrics:
        config, sums, constraints = self.context.config, state.sums, self.context.constraints
        warmup = state.epoch < config.warmup_epochs
        alpha, mask = state.supernet.alpha.detach().cpu(), state.supernet.mask.cpu()
        values, _ = expectations_of(constraints, alpha)
        p = path_probabilities(alpha, mask)
        names = [constraint.name for constraint in constraints]
        return {
            "phase": "warmup" if warmup else "search",
            "epoch": state.epoch - (0 if warmup else config.warmup_epochs),
            "train_loss": sums.train_loss / max(1, sums.steps),
            "train_accuracy": sums.train_correct / sums.train_images if sums.train_images else None,
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

    def save(self, state: SearchState) -> None:
        place = self.place
        save_checkpoint(place.folder.checkpoint, state, self.context.config, place.check_held)

    def tell_epoch(self, metrics: SearchMetrics) -> None:
        self.observer.epoch(metrics)

    def _endless(self, first: int) -> Iterator[Batch]:
        """Held-out batches from the `first`-th on, without end, in an order of their own."""
        split = self.context.data.holdout
        epoch, skip = divmod(first, self.batches_in(split))
        while True:
            yield from self.batches(split, epoch, skip, augment=False)
            epoch, skip = epoch + 1, 0
