"""Mixup, CutMix and cutout on whole batches; each batch has a seed of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torchvision.transforms import v2

from proxyless_hw.train.config import TrainConfig

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mixed_batch(
    images: Tensor, labels: Tensor, config: TrainConfig, classes: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Applies cutout, then mixup or CutMix, as the configuration asks for.

    torchvision's transforms pair each image with the one before it, so the batch must be in random
    order. They draw from torch's global generator, whose state is left as it was.

    Args:
        images: (N, C, H, W).
        labels: (N,), int64.
        config: its `cutout`, `mixup` and `cutmix`.
        classes: number of classes.
        seed: fixes every draw.

    Returns:
        The images, and the targets for the cross entropy: the labels, or (N, classes) shares where
        images were mixed.
    """
    if config.cutout:
        images = cutout(images, config.cutout, torch.Generator().manual_seed(seed))
    mix = mixing(config.mixup, config.cutmix, classes)
    if mix is None:
        return images, labels
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        mixed, targets = mix(images, labels)
    return mixed.contiguous(memory_format=torch.channels_last), targets


@cache
def mixing(mixup: float, cutmix: float, classes: int) -> Mix | None:
    """The transform that mixes a batch: mixup or CutMix, or one of the two at random.

    Args:
        mixup, cutmix: alpha of their Beta distributions; 0 leaves one out.
        classes: number of classes.
    """
    kinds = [
        kind(alpha=alpha, num_classes=classes)
        for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix))
        if alpha > 0
    ]
    if not kinds:
        return None
    mix: Mix = v2.RandomChoice(kinds) if len(kinds) > 1 else kinds[0]
    return mix


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
