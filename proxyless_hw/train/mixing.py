"""Mixup, CutMix and Cutout on whole batches; each draws from a generator given to it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from proxyless_hw.train.config import TrainConfig


def smooth_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """One-hot targets with label smoothing, (N, classes)."""
    one_hot = functional.one_hot(labels, classes).float()
    return one_hot * (1 - smoothing) + smoothing / classes


def mixed_batch(
    images: Tensor, targets: Tensor, config: TrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Applies what the configuration asks for, in the order cutout, then mixup or CutMix.

    Args:
        images: (N, C, H, W).
        targets: (N, classes).
        config: mixup, cutmix, cutout.
        generator: on the CPU.
    """
    if config.cutout:
        images = cutout(images, config.cutout, generator)
    kinds = [name for name in ("mixup", "cutmix") if getattr(config, name) > 0]
    if not kinds:
        return images, targets
    kind = kinds[int(torch.randint(len(kinds), (1,), generator=generator))]
    share = beta_sample(getattr(config, kind), generator)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    if kind == "mixup":
        images = share * images + (1 - share) * images[order]
    else:
        images, share = _cut(images, order, share, generator)
    return images, share * targets + (1 - share) * targets[order]


def beta_sample(alpha: float, generator: torch.Generator) -> float:
    """A draw of Beta(alpha, alpha)."""
    concentration = torch.full((2,), alpha, dtype=torch.float64)
    first, second = torch._standard_gamma(concentration, generator=generator).tolist()
    return first / (first + second) if first + second > 0 else 0.5


def _cut(
    images: Tensor, order: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    height, width = images.shape[2:]
    side = (1 - share) ** 0.5
    top, bottom = _span(height, round(height * side), generator)
    left, right = _span(width, round(width * side), generator)
    images = images.clone()
    images[:, :, top:bottom, left:right] = images[order, :, top:bottom, left:right]
    return images, 1 - (bottom - top) * (right - left) / (height * width)


def _span(size: int, length: int, generator: torch.Generator) -> tuple[int, int]:
    centre = int(torch.randint(size, (1,), generator=generator))
    return max(0, centre - length // 2), min(size, centre + (length + 1) // 2)


def cutout(images: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Sets a square of each image to zero, the mean of normalised images.

    Args:
        images: (N, C, H, W).
        side: of the square in pixels; it may reach beyond the image.
        generator: draws one centre per image.
    """
    count, _, height, width = images.shape
    centres = torch.rand(2, count, 1, generator=generator)

    def outside(size: int, centre: Tensor) -> Tensor:
        first = (centre * size).floor() - side // 2
        places = torch.arange(size)
        return (places < first) | (places >= first + side)

    keep = outside(height, centres[0])[:, :, None] | outside(width, centres[1])[:, None, :]
    return images * keep[:, None].to(images.device, images.dtype)
