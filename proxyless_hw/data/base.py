"""Data sets for search and training: settings, splits, and the batches of an epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from proxyless_hw.data.broken import unusable_limit
from proxyless_hw.data.random_streams import Stream, seeded
from proxyless_hw.errors import DataError, did_you_mean
from proxyless_hw.export.preparation import Preparation

Batch = tuple[Tensor, Tensor]

DATA_SETS: Final = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder")
DEFAULT_RESOLUTION: Final = {"folder": 224}
MAX_RESOLUTION: Final = 1024


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data are used, and how they are split and batched.

    Attributes:
        name: one of `DATA_SETS`.
        root: folder of the files; ``digits`` needs none, ``fashion-mnist`` none where Debian's
            dataset-fashion-mnist is installed.
        limit: largest number of training images; the seed fixes which ones are used.
        resolution: training resolution in pixels; 32, or 224 for a folder, when None.
        batch_size: images per batch.
        holdout: share of the training images kept apart (in a search they move alpha).
        seed: fixes the subset, the held-out split, every order and every augmentation.
        workers: loading processes (folders only; the other sets are kept in memory).
        augment: whether training batches that ask for augmentation get it.
        max_broken: largest number of unreadable images of a folder (int), or largest share of all
            its images (float); more are an error. None: 1%, and at least 10.
    """

    name: str = "digits"
    root: str | None = None
    limit: int | None = None
    resolution: int | None = None
    batch_size: int = 64
    holdout: float = 0.3
    seed: int = 0
    workers: int = 0
    augment: bool = True
    max_broken: int | float | None = None

    def __post_init__(self) -> None:
        if self.name not in DATA_SETS:
            raise DataError(
                f"no data set '{self.name[:80]}'.{did_you_mean(self.name, DATA_SETS)} "
                f"Known: {', '.join(DATA_SETS)}."
            )
        for name, low in (("batch_size", 1), ("seed", 0), ("workers", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < low:
                raise DataError(f"{name} must be a whole number from {low} on: received {value!r}.")
        if self.limit is not None and self.limit < 1:
            raise DataError(f"limit must be at least one image: received {self.limit}.")
        if not 0 <= self.holdout < 1:
            raise DataError(f"holdout must lie in [0, 1): received {self.holdout}.")
        if (reason := unusable_limit(self.max_broken)) is not None:
            raise DataError(f"max_broken {reason}: received {self.max_broken!r}.")
        if not 8 <= self.train_resolution <= MAX_RESOLUTION:
            raise DataError(
                f"a training resolution lies between 8 and {MAX_RESOLUTION} pixels: "
                f"received {self.train_resolution}."
            )

    @property
    def train_resolution(self) -> int:
        """The resolution of the settings, or the data set's default."""
        return DEFAULT_RESOLUTION.get(self.name, 32) if self.resolution is None else self.resolution

    def split_training(self, count: int) -> tuple[Tensor, Tensor]:
        """Chooses the training and held-out images among `count`, by the seed alone.

        Returns:
            Two sorted int64 tensors of indices without a common element.

        Raises:
            DataError: either part would be empty although it is wanted.
        """
        order = torch.randperm(count, generator=seeded(self.seed, Stream.SPLIT))
        used = order[: min(count, self.limit or count)]
        held = round(len(used) * self.holdout)
        if held == len(used) or (self.holdout > 0 and held == 0):
            raise DataError(
                f"{len(used)} training images cannot be split with a held-out share of "
                f"{self.holdout:g}: raise --limit, or change the share."
            )
        return used[held:].sort().values, used[:held].sort().values


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
    """One part of the data: images with labels, in batches.

    Attributes:
        config: the data settings.
        stream: names the random numbers of this part.
    """

    config: DataConfig
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
            Pairs of images (N, 3, resolution, resolution), float32, normalised, channels-last in
            memory, and labels (N,), int64.

        Raises:
            DataError: more images cannot be read than the settings allow.
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


@dataclass(frozen=True)
class DataSplits:
    """The parts of a data set and what is known about it.

    Attributes:
        train: trains the weights.
        holdout: a part of the training images that trains alpha, or validates. Empty with
            holdout 0.
        test: not used for any choice.
        class_names: one name per class.
        mean, std: normalisation per channel, in [0, 1] units.
        resolution: side of the images in pixels.
        name: name of the data set.
        channels: always 3; grayscale is repeated.
        preparation: how test images were brought to their shape; None: the data set gives them so.
    """

    train: DataSplit
    holdout: DataSplit
    test: DataSplit
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resolution: int
    name: str
    channels: int = 3
    preparation: Preparation | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
