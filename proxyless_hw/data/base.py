"""Data sets for search and training: settings, splits, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from torch import Tensor

from proxyless_hw.data.broken import unusable_limit
from proxyless_hw.data.random_streams import Stream
from proxyless_hw.data.split import Batch, BatchConfig, DataSplit, split_indices
from proxyless_hw.errors import DataError, did_you_mean
from proxyless_hw.export.preparation import AS_GIVEN, Preparation, Resize

if TYPE_CHECKING:
    from torch.utils.data import Dataset

__all__ = ["DATA_SETS", "Batch", "DataConfig", "DataSplit", "DataSplits"]

DATA_SETS: Final = ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder")
DEFAULT_RESOLUTION: Final = {"folder": 224}
MAX_RESOLUTION: Final = 1024


@dataclass(frozen=True, kw_only=True)
class DataConfig(BatchConfig):
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
    holdout: float = 0.3
    max_broken: int | float | None = None

    def __post_init__(self) -> None:
        if self.name not in DATA_SETS:
            raise DataError(
                f"no data set '{self.name[:80]}'.{did_you_mean(self.name, DATA_SETS)} "
                f"Known: {', '.join(DATA_SETS)}."
            )
        super().__post_init__()
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
        train, held = split_indices(count, self.holdout, self.seed, self.limit)
        if not len(train) or (self.holdout > 0 and not len(held)):
            raise DataError(
                f"{len(train) + len(held)} training images cannot be split with a held-out share "
                f"of {self.holdout:g}: raise --limit, or change the share."
            )
        return train, held


@dataclass(frozen=True)
class DataSplits:
    """The parts of a data set and what is known about it.

    Attributes:
        train: trains the weights.
        holdout: trains alpha, or validates. May be empty.
        test: not used for any choice.
        class_names: one name per class, or per output of a head that is no classifier.
        mean, std: normalisation per channel, in [0, 1] units; None: images are used as the data set
            gives them.
        resolution: side of the images in pixels.
        name: name of the data set.
        channels: of the images; 3 for the built-in sets, whose grayscale is repeated.
        preparation: how test images were brought to their shape; None: the data set gives them so.

    Example:
        >>> import torch
        >>> import proxyless_hw as ph
        >>> pairs = torch.utils.data.TensorDataset(torch.rand(8, 3, 16, 16), torch.arange(8) % 2)
        >>> ph.DataSplits.from_datasets(train=pairs, test=pairs, num_classes=2).class_names
        ('0', '1')
    """

    train: DataSplit
    holdout: DataSplit
    test: DataSplit
    class_names: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    resolution: int
    name: str
    channels: int = 3
    preparation: Preparation | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes; of outputs, where the head is no classifier."""
        return len(self.class_names)

    def settings(self) -> dict[str, object]:
        """How the data are fed, by the names of `DataConfig`."""
        return {**asdict(self.train.config), "resolution": self.resolution, "name": self.name}

    def first_targets(self) -> Tensor:
        """Targets of the first training batch in the stored order.

        Raises:
            DataError: it cannot be loaded.
        """
        every = 1 + len(self.train)
        return next(
            self.train.batches(0, shuffle=False, augment=False, drop_last=False, every=every)
        )[1]

    def facts(self) -> dict[str, object]:
        """Plain values that identify the data: see `proxyless_hw.data.facts.facts_of`."""
        from proxyless_hw.data.facts import facts_of

        return facts_of(self)

    @classmethod
    def from_datasets(
        cls,
        *,
        train: Dataset[Any],
        holdout: Dataset[Any] | float | None = None,
        test: Dataset[Any],
        batch_size: int = 64,
        num_classes: int,
        class_names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        resize: int | None = None,
        workers: int = 0,
        seed: int = 0,
    ) -> DataSplits:
        """Data of your own, from map-style datasets of torch (`__len__` and `__getitem__`).

        An item is a pair of an image and a target. Images are float tensors (C, H, W), H equal to
        W, all of one shape. A target is a class label (a whole number from 0 to num_classes - 1),
        or a number or tensor of floats that the loss takes.

        A batch depends on the seed, the split, the epoch and the position alone, so that a resumed
        run sees the batches of an uninterrupted one. The order is drawn by this class. While an
        item is made, the global generators of torch, numpy and `random` are seeded for this very
        item; augmentation that draws from them is repeatable. A dataset that draws from a generator
        of its own, or keeps a count, is not. Datasets augment by themselves: give `holdout` and
        `test` without augmentation.

        Args:
            train: moves the weights.
            holdout: moves alpha in a search, chooses the best epoch in a training. A fraction of 1
                takes that share of `train`, chosen by the seed; None leaves it out, which a search
                refuses.
            test: used for nothing but the last figure.
            batch_size: images per step and process; it holds for the run.
            num_classes: classes; for a head that is no classifier the number of its outputs.
            class_names: for the model file; "0", "1", ... when None.
            mean, std: per channel; images become (image - mean) / std. Model files say so. When
                None images are taken as they are.
            resize: side in pixels to which every image is scaled (antialiased, bilinear, both
                sides).
            workers: loading processes.
            seed: fixes the order and the share.

        Raises:
            DataError: a dataset is empty or no map-style one, or its first item is not as above.
                Later items are checked when they are loaded; the message names the dataset and the
                index.

        Example:
            >>> import torch
            >>> import proxyless_hw as ph
            >>> images, labels = torch.rand(40, 1, 16, 16), torch.arange(40) % 2
            >>> dataset = torch.utils.data.TensorDataset(images, labels)
            >>> data = ph.DataSplits.from_datasets(
            ...     train=dataset, holdout=0.25, test=dataset, batch_size=8, num_classes=2
            ... )
            >>> len(data.train), len(data.holdout), data.resolution, data.channels
            (30, 10, 16, 1)
        """
        from proxyless_hw.data.items import Form
        from proxyless_hw.data.objects import ObjectSplit, share, type_name

        form = Form.of(train, num_classes, mean=mean, std=std, resize=resize)
        config = BatchConfig(batch_size=batch_size, seed=seed, workers=workers)
        chosen, held = share(train, holdout, seed)
        if isinstance(holdout, float) or holdout is None:
            holdout = train

        def split(dataset: Dataset[Any], stream: Stream, indices: Tensor | None) -> ObjectSplit:
            return ObjectSplit(
                config=config, stream=stream, dataset=dataset, indices=indices, form=form
            )

        parts = (
            split(train, Stream.TRAIN, chosen),
            split(holdout, Stream.HOLDOUT, held),
            split(test, Stream.TEST, None),
        )
        for part in parts:
            part.check_first()
        return cls(
            train=parts[0],
            holdout=parts[1],
            test=parts[2],
            class_names=form.names(class_names),
            mean=form.mean,
            std=form.std,
            resolution=form.side,
            name=type_name(train),
            channels=form.channels,
            preparation=None
            if resize is None
            else Preparation(resize=Resize("both sides", resize), orientation=AS_GIVEN),
        )
