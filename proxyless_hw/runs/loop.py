"""The loop that a search and a training share: steps, epochs, checkpoints, interruption."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from proxyless_hw.errors import DataError, InterruptedRunError, ProxylessHwError, TaskError
from proxyless_hw.network.single_values import named_single_values
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.folder import RunFolder
from proxyless_hw.runs.interrupt import StopRequest
from proxyless_hw.runs.state import RunState

Batch = tuple[Tensor, Tensor]


class NotFiniteError(Exception):
    """A loss, a gradient or a weight became NaN or infinite; the loop adds what to do."""


class BatchSource(Protocol):
    """Images with labels, fed in batches: see `proxyless_hw.data.base.DataSplit`."""

    def __len__(self) -> int: ...

    @property
    def batches(self) -> Callable[..., Iterator[Batch]]: ...


S = TypeVar("S", bound=RunState[Any])


@dataclass(frozen=True, kw_only=True)
class RunPlace:
    """Folder, device and processes of a run; they do not change while it lasts.

    Attributes:
        folder: where checkpoints and metrics go.
        device: where tensors are.
        world: this process among its peers.
        stop: asks the loop to end at the next step.
        check_held: raises an error once another process has taken the folder.
    """

    folder: RunFolder
    device: torch.device
    world: World
    stop: StopRequest
    check_held: Callable[[], None]


@dataclass(kw_only=True)
class RunLoop(ABC, Generic[S]):
    """Runs epochs from a state's position to the end.

    Attributes:
        place: folder, device, processes.
        batch_size: images per step and process.
        epochs: epochs in all.
        checkpoint_minutes: minutes after which a checkpoint is also written within an epoch.
    """

    place: RunPlace
    batch_size: int
    epochs: int
    checkpoint_minutes: float = float("inf")

    @property
    @abstractmethod
    def training(self) -> BatchSource:
        """The images that train the weights."""

    @abstractmethod
    def step(self, state: S, images: Tensor, targets: Tensor) -> float:
        """Takes one step: updates the weights and adds to the sums of the epoch.

        Returns:
            The loss.
        """

    @abstractmethod
    def tell_step(self, state: S, loss: float) -> None:
        """Reports a finished step to the observer; `state.step` already counts it."""

    @abstractmethod
    def finish_epoch(self, state: S) -> Mapping[str, Any]:
        """Ends an epoch, before it is counted.

        Returns:
            Its line of metrics.jsonl.
        """

    @abstractmethod
    def save(self, state: S) -> None:
        """Writes a checkpoint."""

    @abstractmethod
    def tell_epoch(self, metrics: Mapping[str, Any]) -> None:
        """Reports a finished epoch to the observer."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch on each process.

        Raises:
            ProxylessHwError: the training split holds less than one batch per process.
        """
        return self.batches_in(self.training)

    def run(self, state: S) -> None:
        """Runs the remaining epochs; a checkpoint and a line of metrics after each.

        Raises:
            InterruptedRunError: a signal arrived; the state is saved at the last step.
            ProxylessHwError: a loss or weight became NaN; the last good checkpoint is named.
        """
        folder = self.place.folder
        while state.epoch < self.epochs:
            try:
                with named_single_values(folder.error):
                    self._epoch(state)
            except NotFiniteError as cause:
                raise folder.error(f"{cause} {folder.last_good()}") from cause

    def _epoch(self, state: S) -> None:
        started = time.perf_counter() - state.sums.seconds
        saved = time.perf_counter()
        batches = self.batches(self.training, state.epoch, state.step, augment=True)
        while (batch := self._next(batches, state)) is not None:
            loss = self._step(state, batch)
            state.step += 1
            state.sums.seconds = time.perf_counter() - started
            self.tell_step(state, loss)
            self.stop_if_asked(state)
            if time.perf_counter() - saved > 60 * self.checkpoint_minutes:
                self._checkpoint(state)
                saved = time.perf_counter()
        self._finite(state)
        with self.saving(state):
            metrics = self.finish_epoch(state)
        state.seconds += state.sums.seconds
        state.epoch += 1
        state.start_epoch()
        if self.place.world.is_main:
            self.place.check_held()
            self.place.folder.append_metrics(metrics)
        self._checkpoint(state)
        self.tell_epoch(metrics)

    def _step(self, state: S, batch: Batch) -> float:
        try:
            return self.step(state, *batch)
        except TaskError as cause:
            raise TaskError(f"{cause} {self.place.folder.last_good()}") from cause

    def _next(self, batches: Iterator[Batch], state: S) -> Batch | None:
        """The next batch; None after the last."""
        with self.saving(state):
            return next(batches, None)

    @contextlib.contextmanager
    def saving(self, state: S) -> Iterator[None]:
        """Within it an error of the data or of a metric leaves a checkpoint of the last whole step.

        Nothing within it may have changed the state.

        Raises:
            DataError, TaskError: what was raised, with the way on.
        """
        try:
            yield
        except (DataError, TaskError):
            self._checkpoint(state)
            # Of several processes the first one writes, and it does not know of this error.
            alone = self.place.world.size == 1
            saved = "Every step up to here is saved." if alone else self.place.folder.last_good()
            with going_on(self.place.folder, saved):
                raise

    def stop_if_asked(self, state: S) -> None:
        """Saves and ends the run if a signal arrived in any process.

        Raises:
            InterruptedRunError: it did.
        """
        place = self.place
        if not place.world.any(place.stop.is_set, place.device):
            return
        self._checkpoint(state)
        place.world.barrier()
        raise InterruptedRunError(
            f"interrupted in epoch {state.epoch + 1} after step {state.step}; saved. "
            f"Go on: {place.folder.resume_command()}"
        )

    def _checkpoint(self, state: S) -> None:
        self._finite(state)
        if self.place.world.is_main:
            self.save(state)

    def _finite(self, state: S) -> None:
        """Checks the weights, so that an unusable checkpoint never replaces a good one."""
        for name, parameter in state.weights().named_parameters():
            if not bool(parameter.detach().isfinite().all()):
                raise NotFiniteError(
                    f"'{name}' became NaN or infinite in epoch {state.epoch + 1}. Lower --lr."
                )

    def batches_in(self, split: BatchSource) -> int:
        """Full batches of a split for each process.

        Raises:
            ProxylessHwError: there is not one for each.
        """
        place = self.place
        return full_batches(split, self.batch_size, place.world, place.folder.error)

    def batches(
        self, split: BatchSource, epoch: int, first: int, *, augment: bool
    ) -> Iterator[Batch]:
        """This process's share of an epoch's batches, from its `first`-th on, on the device."""
        world, device = self.place.world, self.place.device
        found = split.batches(
            epoch,
            shuffle=True,
            augment=augment,
            drop_last=True,
            first=world.rank + first * world.size,
            every=world.size,
        )
        for images, targets in islice(found, self.batches_in(split) - first):
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            yield images, targets.to(device)


@contextlib.contextmanager
def going_on(folder: RunFolder, saved: str = "Every step is saved.") -> Iterator[None]:
    """Within it an error of the data or of the user's loss or metric says how the run goes on.

    Args:
        folder: of the run.
        saved: says what is kept.

    Raises:
        DataError, TaskError: what was raised, with the way on.
    """
    try:
        yield
    except (DataError, TaskError) as cause:
        raise type(cause)(
            f"{cause} {saved} Correct it, then go on: {folder.resume_command()}"
        ) from cause


def full_batches(
    split: BatchSource, batch_size: int, world: World, error: type[ProxylessHwError]
) -> int:
    """Full batches of a split for each process.

    Raises:
        ProxylessHwError: as `error`: there is not one for each.
    """
    count = len(split) // batch_size // world.size
    if count < 1:
        raise error(
            f"a split of {len(split)} images gives no batch of {batch_size} to each of "
            f"{world.size} processes. Lower --batch-size, or raise --limit."
        )
    return count
