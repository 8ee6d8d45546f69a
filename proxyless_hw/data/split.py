"""One part of a data set, and the batches of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from proxyless_hw.data.random_streams import Stream, seeded
from proxyless_hw.errors import DataError

Batch = tuple[Tensor, Tensor]


def split_indices(
    count: int, share: float, seed: int, limit: int | None = None
) -> tuple[Tensor, Tensor]:
    """Holds out a share of `count` images, chosen by the seed alone.

    Args:
        count: number of images.
        share: fraction of them that is held out, rounded to whole images.
        seed: of the data set.
        limit: largest number of images that are used; all when None.

    Returns:
        Two sorted int64 tensors of indices without a common element: the images that stay, and
        those held out. Either may be empty.
    """
    order = torch.randperm(count, generator=seeded(seed, Stream.SPLIT))[:limit]
    held = round(len(order) * share)
    return order[held:].sort().values, order[:held].sort().values


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """How images are batched, whatever data set they come from.

    Attributes:
        batch_size: images per batch.
        seed: fixes every order and every augmentation.
        workers: loading processes, where images are not in memory.
        augment: whether training batches that ask for augmentation get it.
    """

    batch_size: int = 64
    seed: int = 0
    workers: int = 0
    augment: bool = True

    def __post_init__(self) -> None:
        for name, low in (("batch_size", 1), ("seed", 0), ("workers", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise DataError(f"{name} must be a whole number from {low} on: received {value!r}.")


@dataclass(frozen=True, slots=True)
class EpochPart:
    """The batches of an epoch that a process makes.

    Attributes:
        chosen: number of each batch in its epoch to the indices of its images.
        seed: of the epoch.
        randomly: whether images are augmented.
        full: whether a batch without a readable image is an error.
        alone: whether this process makes all batches of the epoch.
    """

    chosen: Mapping[int, Tensor]
    seed: tuple[int, ...]
    randomly: bool
    full: bool
    alone: bool


@dataclass(frozen=True, kw_only=True)
class DataSplit(ABC):
    """One part of the data: images with targets, in batches.

    Attributes:
        config: how it is batched.
        stream: names the random numbers of this part.
    """

    config: BatchConfig
    stream: Stream

    @abstractmethod
    def __len__(self) -> int:
        """Number of images."""

    def batches(
        self,
        epoch: int,
        *,
        shuffle: bool,
        augment: bool,
        drop_last: bool,
        first: int = 0,
        every: int = 1,
    ) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            epoch: which epoch; with the seed it fixes order and augmentation.
            shuffle: random order instead of the stored one.
            augment: random augmentation, if the data set has one.
            drop_last: omit a last batch that is not full.
            first: number of the first batch.
            every: step from one batch to the next (one share per process).

        Returns:
            Pairs of images (N, channels, resolution, resolution), float32, normalised,
            channels-last in memory, and targets: labels (N,), int64, or what a data set of the
            user's gives, (N, ...).

        Raises:
            DataError: more images cannot be read than the settings allow, or an item is unusable.
        """
        seed = (self.config.seed, self.stream, epoch)
        generator = seeded(*seed) if shuffle else None
        order = torch.arange(len(self))
        if generator is not None:
            order = torch.randperm(len(self), generator=generator)
        size = self.config.batch_size
        total = len(self) // size if drop_last else -(-len(self) // size)
        chosen = {
            number: order[number * size : (number + 1) * size]
            for number in range(first, total, every)
        }
        randomly = augment and self.config.augment
        yield from self._load(EpochPart(chosen, seed, randomly, drop_last, every == 1))

    @abstractmethod
    def _load(self, part: EpochPart) -> Iterator[Batch]:
        """Makes the batches of `batches`."""
