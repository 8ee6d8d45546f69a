"""Small data sets of one's own for the tests: classes by brightness, and a regression."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from proxyless_hw.data.base import DataSplits


class Shades(Dataset[Any]):
    """Noisy pictures of three brightnesses; the noise draws from torch's global generator.

    Args:
        count: images.
        seed: of their fixed part.
        points: the target is a point (2,) instead of a class.
        broken: index of an item that raises; None for none.
        channels: of every image.
    """

    def __init__(
        self,
        count: int,
        seed: int,
        points: bool = False,
        broken: int | None = None,
        channels: int = 3,
    ) -> None:
        self.count, self.seed, self.points, self.broken = count, seed, points, broken
        self.channels = channels

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        if index == self.broken:
            raise ValueError("this file is cut off")
        draw = torch.Generator().manual_seed(1000 * self.seed + index)
        shade = index % 3
        image = torch.rand(self.channels, 16, 16, generator=draw) + shade + 0.1 * torch.rand(1)
        return image, torch.tensor([shade / 2, 1.0]) if self.points else shade


def shades(
    points: bool = False, broken: int | None = None, train: int = 96, **more: Any
) -> DataSplits:
    values: dict[str, Any] = {
        "train": Shades(train, 1, points, broken),
        "holdout": Shades(48, 2, points),
        "test": Shades(32, 3, points),
        "batch_size": 16,
        "num_classes": 2 if points else 3,
        **more,
    }
    return DataSplits.from_datasets(**values)


def distance(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).pow(2).mean()


def closeness(outputs: Tensor, targets: Tensor) -> float:
    return -float((outputs - targets).abs().mean())


def focal(outputs: Tensor, labels: Tensor) -> Tensor:
    log_p = torch.log_softmax(outputs, 1).gather(1, labels[:, None]).squeeze(1)
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


def worst_class_recall(outputs: Tensor, labels: Tensor) -> float:
    right = outputs.argmax(1) == labels
    return min(float(right[labels == kind].float().mean()) for kind in range(3))
