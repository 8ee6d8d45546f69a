"""A folder of images, one folder per class, decoded by worker processes as they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.data.broken import BrokenImages, broken_limit
from proxyless_hw.data.images import (
    MAX_PIXELS,
    UNREADABLE,
    explain,
    quiet_pillow,
    read_image,
)
from proxyless_hw.data.layout import Sample, read_layout
from proxyless_hw.data.random_streams import Stream, seeded, stream_seed
from proxyless_hw.data.split import Batch, DataSplit, EpochPart
from proxyless_hw.errors import DataError
from proxyless_hw.export.preparation import Preparation, Resize
from proxyless_hw.terminal.notices import notice
from proxyless_hw.terminal.torchrun import launched_rank

# The published ImageNet preparation: crops of 8-100% of the area, mirrored, colours jittered.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
CROP_SCALE: Final = (0.08, 1.0)
BRIGHTNESS: Final = 32.0 / 255.0
SATURATION: Final = 0.5
EVALUATION_CROP: Final = 0.875


@dataclass(frozen=True)
class _Images(Dataset[Any]):
    """Decodes single images. Random transforms are seeded per image."""

    samples: Sequence[Sample]
    transform: Any
    preparation: Preparation
    seed: tuple[int, ...]

    def __getitem__(self, index: int) -> tuple[Tensor | None, int, str, str]:
        path, label = self.samples[index]
        try:
            with quiet_pillow():
                image = read_image(path)
            _require_scalable(image, self.preparation)
        except UNREADABLE as cause:
            return None, label, str(path), explain(cause)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(*self.seed, index))
            return self.transform(image), label, "", ""


@dataclass(frozen=True, kw_only=True)
class FolderSplit(DataSplit):
    """Image files of one split.

    Attributes:
        samples: path and class of every image.
        broken: the record of unreadable images, shared by all splits.
    """

    config: DataConfig
    samples: Sequence[Sample]
    broken: BrokenImages

    def __len__(self) -> int:
        return len(self.samples)

    def _load(self, part: EpochPart) -> Iterator[Batch]:
        side = self.config.train_resolution
        prepared = preparation(side)
        transform = training_transform(side) if part.randomly else evaluation_transform(prepared)
        loader = DataLoader(
            _Images(self.samples, transform, prepared, part.seed),
            batch_sampler=[indices.tolist() for indices in part.chosen.values()],
            num_workers=self.config.workers,
            collate_fn=list,
            # A private generator: the loader must not advance the global one.
            generator=seeded(*part.seed),
        )
        readable = False
        for items in loader:
            batch = self._batch(items)
            if batch is not None:
                readable = True
                yield batch
            elif part.full:
                # A step's place fixes its learning rate and its random draws: none is left out.
                raise DataError(
                    f"no image of a batch of {len(items)} can be read, beginning with "
                    f"{items[0][2]}. Remove the unreadable ones, or raise --batch-size."
                )
        if part.chosen and not readable and part.alone:
            raise DataError(
                f"no image of {len(self)} can be read, beginning with {self.samples[0][0]}. "
                "Repair or replace them."
            )

    def _batch(self, items: list[tuple[Tensor | None, int, str, str]]) -> Batch | None:
        """The readable images of a batch, or None if no image can be read."""
        images, labels = [], []
        for image, label, path, reason in items:
            if image is None:
                self.broken.add(path, reason)
            else:
                images.append(image)
                labels.append(label)
        if not images:
            return None
        stacked = torch.stack(images).contiguous(memory_format=torch.channels_last)
        return stacked, torch.tensor(labels, dtype=torch.int64)


def preparation(side: int) -> Preparation:
    """How an image is brought to shape for evaluation: the published ImageNet way."""
    return Preparation(
        resize=Resize("shorter side", round(side / EVALUATION_CROP)),
        crop=side,
        orientation="by the EXIF tag",
        transparency="on white",
    )


def _require_scalable(image: Image.Image, prepared: Preparation) -> None:
    """Refuses narrow images that would become too large when their shorter side is scaled.

    Raises:
        ValueError: it is one.
    """
    short, long = sorted(image.size)
    if prepared.resize.pixels * (prepared.resize.pixels * long // short) > MAX_PIXELS:
        raise ValueError(
            f"{image.width} x {image.height} pixels are too narrow to scale the shorter side to "
            f"{prepared.resize.pixels}"
        )


def training_transform(side: int) -> Any:
    """Random resized crop, mirror, colour jitter, normalisation."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(side, scale=CROP_SCALE),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(brightness=BRIGHTNESS, saturation=SATURATION),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def evaluation_transform(prepared: Preparation) -> Any:
    """The central crop of the image scaled by its shorter side, normalised."""
    return transforms.Compose(
        [
            transforms.Resize(prepared.resize.pixels),  # bilinear, antialiased by Pillow
            transforms.CenterCrop(prepared.crop),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def load_folder(config: DataConfig) -> DataSplits:
    """Lists a folder: ``train/CLASS/*`` with ``val`` or ``test`` beside it, or just ``CLASS/*``.

    Without a test folder every fifth image is the test set. What is taken and what is left out is
    said (`proxyless_hw.terminal.notices`).

    Raises:
        DataError: no such folder, or one that `read_layout` refuses.
    """
    if config.root is None:
        raise DataError("data set 'folder' needs its place: --data-root FOLDER.")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"no folder {root}. Give the folder of the images: --data-root FOLDER.")
    layout = read_layout(root)
    if launched_rank() == 0:
        for line in layout.notes:
            notice(line)
    chosen, held = config.split_training(len(layout.train))
    total = len(layout.train) + len(layout.test)
    broken = BrokenImages(broken_limit(config.max_broken, total), total)

    def split(samples: Sequence[Sample], stream: Stream) -> FolderSplit:
        return FolderSplit(config=config, stream=stream, samples=samples, broken=broken)

    return DataSplits(
        train=split([layout.train[index] for index in chosen.tolist()], Stream.TRAIN),
        holdout=split([layout.train[index] for index in held.tolist()], Stream.HOLDOUT),
        test=split(layout.test, Stream.TEST),
        class_names=layout.classes,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        resolution=config.train_resolution,
        name="folder",
        preparation=preparation(config.train_resolution),
    )
