"""A folder of images, one folder per class, decoded by worker processes as they are needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets.folder import IMG_EXTENSIONS

from proxyless_hw.errors import DataError
from proxyless_hw.search.data import (
    HOLDOUT_STREAM,
    TEST_STREAM,
    TRAIN_STREAM,
    Batch,
    DataConfig,
    DataSplits,
    epoch_batches,
    seeded,
    split_training,
    stream,
)

# The published ImageNet preparation: crops of 8-100% of the area, mirrored, colours jittered.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)
CROP_SCALE: Final = (0.08, 1.0)
BRIGHTNESS: Final = 32.0 / 255.0
SATURATION: Final = 0.5
EVALUATION_CROP: Final = 0.875
MAX_PIXELS: Final = 100_000_000
# A file's name does not bind Pillow: left to choose, it would hand PostScript to Ghostscript.
IMAGE_FORMATS: Final = ("JPEG", "PNG", "PPM", "BMP", "GIF", "TIFF", "WEBP")
TEST_SHARE: Final = 5  # without a test folder, every so-manyth image is the test set
Sample = tuple[Path, int]


@dataclass
class BrokenImages:
    """The unreadable images met so far; shared by the splits of one data set.

    Attributes:
        limit: how many may be passed over.
        reasons: path to what is wrong with it.
    """

    limit: int
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, reason: str) -> None:
        """Notes one image and warns about it the first time.

        Raises:
            DataError: the limit is passed; the images are named.
        """
        if path in self.reasons:
            return
        self.reasons[path] = reason
        if len(self.reasons) > self.limit:
            listed = "\n".join(f"  {name}: {why}" for name, why in self.reasons.items())
            raise DataError(
                f"more than {self.limit} images cannot be read:\n{listed}\nRepair or remove them."
            )
        warnings.warn(
            f"image {path} cannot be read and is passed over ({reason}); "
            f"{len(self.reasons)} so far, at most {self.limit}.",
            BrokenImageWarning,
            stacklevel=2,
        )


class BrokenImageWarning(UserWarning):
    """An image of a folder cannot be read and is passed over."""


def read_image(path: Path) -> Image.Image:
    """Reads an image as 8-bit RGB; 16-bit and grey images are scaled and repeated.

    Raises:
        ValueError, OSError, SyntaxError, EOFError: it cannot be read as an image.
    """
    with Image.open(path, formats=IMAGE_FORMATS) as opened:
        image: Image.Image = opened
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        if image.mode == "F":
            raise ValueError("floating-point pixels have no agreed range")
        if image.mode.startswith("I"):
            deep = np.asarray(image).astype(np.int64)
            if deep.min() < 0 or deep.max() > 65535:
                raise ValueError(f"pixels from {deep.min()} to {deep.max()} do not fit 16 bits")
            image = Image.fromarray((deep >> 8).astype(np.uint8))
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")


@dataclass(frozen=True)
class _Images(Dataset[Any]):
    """Decodes single images; random transforms are seeded per image, whichever worker runs them."""

    samples: Sequence[Sample]
    transform: Any
    seed: tuple[int, ...]

    def __getitem__(self, index: int) -> tuple[Tensor | None, int, str, str]:
        path, label = self.samples[index]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of PIL, about odd but readable files
                image = read_image(path)
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError, EOFError) as cause:
            return None, label, str(path), f"{cause}"[:200]
        except (Image.DecompressionBombError, MemoryError, OverflowError) as cause:
            return None, label, str(path), f"{type(cause).__name__}: {cause}"[:200]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(*self.seed, index))
            return self.transform(image), label, "", ""


@dataclass(frozen=True)
class FolderSplit:
    """Image files of one split.

    Attributes:
        samples: path and class of every image.
        broken: the record of unreadable images, shared by all splits.
    """

    samples: Sequence[Sample]
    config: DataConfig
    stream_number: int
    broken: BrokenImages

    def __len__(self) -> int:
        return len(self.samples)

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
        """The batches of one epoch; see `DataSplit.batches`. Unreadable images are left out.

        Raises:
            DataError: too many images are unreadable, or a whole batch is.
        """
        seed = (self.config.seed, self.stream_number, epoch)
        chosen = [
            indices.tolist()
            for _, indices in epoch_batches(
                len(self),
                self.config.batch_size,
                seeded(*seed) if shuffle else None,
                drop_last=drop_last,
                first=first,
                every=every,
            )
        ]
        randomly = augment and self.config.augment
        transform = (training_transform if randomly else evaluation_transform)(
            self.config.train_resolution
        )
        loader = DataLoader(
            _Images(self.samples, transform, seed),
            batch_sampler=chosen,
            num_workers=self.config.workers,
            collate_fn=list,
            # A private generator: the loader must not advance the global one.
            generator=seeded(*seed),
        )
        for items in loader:
            yield self._batch(items)

    def _batch(self, items: list[tuple[Tensor | None, int, str, str]]) -> Batch:
        images, labels = [], []
        for image, label, path, reason in items:
            if image is None:
                self.broken.add(path, reason)
            else:
                images.append(image)
                labels.append(label)
        if not images:
            raise DataError(f"none of the {len(items)} images of a batch can be read.")
        stacked = torch.stack(images).contiguous(memory_format=torch.channels_last)
        return stacked, torch.tensor(labels, dtype=torch.int64)


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


def evaluation_transform(side: int) -> Any:
    """The central crop of the shorter side scaled to resolution / 0.875."""
    return transforms.Compose(
        [
            transforms.Resize(round(side / EVALUATION_CROP)),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def load_folder(config: DataConfig) -> DataSplits:
    """Lists a folder: ``train/CLASS/*`` with ``val`` or ``test`` beside it, or just ``CLASS/*``.

    Without a test folder every fifth image is the test set.

    Raises:
        DataError: no such folder, no classes, an empty class, classes that differ between parts.
    """
    if config.root is None:
        raise DataError("data set 'folder' needs its place: --data-root FOLDER.")
    root = Path(config.root)
    if not root.is_dir():
        raise DataError(f"no folder {root}. Give the folder of the images: --data-root FOLDER.")
    if (root / "train").is_dir():
        classes, train = list_classes(root / "train")
        part = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
        if part is None:
            raise DataError(f"{root} has 'train' but neither 'val' nor 'test' beside it.")
        test_classes, test = list_classes(part)
        if test_classes != classes:
            odd = sorted(set(classes) ^ set(test_classes))[:5]
            raise DataError(f"the classes of {root / 'train'} and {part} differ: {', '.join(odd)}.")
    else:
        classes, samples = list_classes(root)
        test = samples[::TEST_SHARE]
        train = [sample for index, sample in enumerate(samples) if index % TEST_SHARE]
    chosen, held = split_training(len(train), config)
    broken = BrokenImages(config.broken_limit)

    def split(samples: list[Sample], number: int) -> FolderSplit:
        return FolderSplit(samples, config, number, broken)

    return DataSplits(
        train=split([train[index] for index in chosen.tolist()], TRAIN_STREAM),
        holdout=split([train[index] for index in held.tolist()], HOLDOUT_STREAM),
        test=split(test, TEST_STREAM),
        class_names=tuple(classes),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        resolution=config.train_resolution,
        name="folder",
    )


def list_classes(folder: Path) -> tuple[list[str], list[Sample]]:
    """Class names (the folders, sorted) and every image file with its class.

    Raises:
        DataError: there are no class folders, or one holds no image.
    """
    try:
        classes = sorted(item.name for item in folder.iterdir() if item.is_dir())
        samples: list[Sample] = []
        for label, name in enumerate(classes):
            files = sorted(
                path
                for path in (folder / name).rglob("*")
                if path.suffix.lower() in IMG_EXTENSIONS and path.is_file()
            )
            if not files:
                raise DataError(
                    f"class '{name}' in {folder} holds no image ({', '.join(IMG_EXTENSIONS)}). "
                    "Fill or remove its folder."
                )
            samples += [(path, label) for path in files]
    except OSError as cause:
        raise DataError(f"cannot list {folder}: {cause.strerror or cause}.") from cause
    if len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "no folder"
        raise DataError(
            f"{folder} holds {found}; each class is a folder of images, and there are two or more."
        )
    return classes, samples
