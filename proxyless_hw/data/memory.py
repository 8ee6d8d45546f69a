"""Small data sets that are kept in memory as bytes, with batched augmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.data.files import RawData, read_cifar, read_digits, read_idx
from proxyless_hw.data.random_streams import Stream, seeded
from proxyless_hw.data.split import Batch, DataSplit, EpochPart
from proxyless_hw.errors import DataError
from proxyless_hw.export.preparation import Preparation, Resize

# Per-channel mean and standard deviation of the training images, as commonly published.
_STATISTICS: Final = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2860,), (0.3530,)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
# A mirrored digit is another sign; a mirrored shirt is a shirt.
_MIRRORED: Final = frozenset(("fashion-mnist", "cifar10", "cifar100"))
_CROP_SHARE: Final = 8  # random crops move by an eighth of the side (4 of 32 pixels)


@dataclass(frozen=True, kw_only=True)
class MemorySplit(DataSplit):
    """Images of one split as bytes.

    Attributes:
        images: (N, 1 or 3, R, R), uint8.
        labels: (N,), int64.
        mean, std: (3,), in units of [0, 1].
        mirror: whether augmentation may flip images left to right.
    """

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    mirror: bool

    def __len__(self) -> int:
        return len(self.labels)

    def _load(self, part: EpochPart) -> Iterator[Batch]:
        for number, indices in part.chosen.items():
            images = self.images[indices]
            if part.randomly:
                images = augmented(images, self.mirror, seeded(*part.seed, number))
            yield self._normalised(images), self.labels[indices]

    def _normalised(self, images: Tensor) -> Tensor:
        channels = images.shape[1]
        # Channels innermost; a grey channel is scaled once and then repeated.
        pixels = images.permute(0, 2, 3, 1).to(torch.float32, memory_format=torch.contiguous_format)
        pixels.sub_(255 * self.mean[:channels]).mul_(1 / (255 * self.std[:channels]))
        return pixels.expand(-1, -1, -1, 3).contiguous().permute(0, 3, 1, 2)


def augmented(images: Tensor, mirror: bool, generator: torch.Generator) -> Tensor:
    """Random crops of the zero-padded images; if `mirror` is set, half of them are mirrored.

    Args:
        images: (N, C, R, R), uint8.
        mirror: whether images may be flipped left to right.
        generator: draws one offset pair, and one flip, per image.
    """
    count, channels, side, _ = images.shape
    pad = max(1, side // _CROP_SHARE)
    padded = functional.pad(images, (pad, pad, pad, pad))
    offsets = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    steps = torch.arange(side)
    rows, columns = offsets[0] + steps, offsets[1] + steps  # (N, R)
    if mirror:
        flips = torch.rand(count, generator=generator) < 0.5
        columns = torch.where(flips[:, None], columns.flip(1), columns)
    width = side + 2 * pad
    pixels = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (N, R * R)
    picked = padded.flatten(2).gather(2, pixels[:, None].expand(-1, channels, -1))
    return picked.view(count, channels, side, side)


def load_memory(config: DataConfig) -> DataSplits:
    """Reads one of the small data sets.

    Raises:
        DataError: files are absent or malformed, or a label is out of range.
    """
    raw = _read(config)
    for labels in (raw.train_labels, raw.test_labels):
        _check_labels(labels, len(raw.class_names), config.name)
    if config.name in _STATISTICS:
        mean, std = (torch.tensor(values) for values in _STATISTICS[config.name])
    else:
        pixels = raw.train_images.double() / 255
        mean, std = pixels.mean((0, 2, 3)).float(), pixels.std((0, 2, 3)).float()
    mean, std = mean.expand(3).contiguous(), std.expand(3).contiguous()
    train, held = config.split_training(len(raw.train_labels))
    side = config.train_resolution

    def split(images: Tensor, labels: Tensor, stream: Stream) -> MemorySplit:
        return MemorySplit(
            config=config,
            stream=stream,
            images=resized(images, side),
            labels=labels,
            mean=mean,
            std=std,
            mirror=config.name in _MIRRORED,
        )

    return DataSplits(
        train=split(raw.train_images[train], raw.train_labels[train], Stream.TRAIN),
        holdout=split(raw.train_images[held], raw.train_labels[held], Stream.HOLDOUT),
        test=split(raw.test_images, raw.test_labels, Stream.TEST),
        class_names=raw.class_names,
        mean=_triple(mean),
        std=_triple(std),
        resolution=side,
        name=config.name,
        preparation=Preparation(resize=Resize("both sides", side)),
    )


def _read(config: DataConfig) -> RawData:
    if config.name == "digits":
        return read_digits()
    if config.name.startswith("cifar"):
        return read_cifar(config.name, config.root)
    return read_idx(config.name, config.root)


def _check_labels(labels: Tensor, classes: int, name: str) -> None:
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"labels of {name} lie between 0 and {classes - 1}: image {index} has "
            f"{int(labels[index])}. The files are damaged; fetch them again."
        )


def _triple(values: Tensor) -> tuple[float, float, float]:
    first, second, third = values.tolist()
    return first, second, third


def resized(images: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) scaled to (N, C, side, side) by antialiased bilinear interpolation."""
    if images.shape[2:] == (side, side):
        return images
    parts = [
        functional.interpolate(part.float(), (side, side), mode="bilinear", antialias=True)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        for part in torch.split(images, 4096)
    ]
    return torch.cat(parts) if parts else images.new_zeros((0, images.shape[1], side, side))
