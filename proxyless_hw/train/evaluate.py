"""Accuracy of a network on a split."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from proxyless_hw.errors import TrainingError
from proxyless_hw.runs.distributed import World


@dataclass(frozen=True, slots=True)
class Score:
    """Result of an evaluation.

    Attributes:
        top1, top5: accuracies in [0, 1].
        loss: mean cross entropy.
        images: number of images.
    """

    top1: float
    top5: float
    loss: float
    images: int

    def to_dict(self) -> dict[str, float | int]:
        """Plain values for JSON."""
        return {"top1": self.top1, "top5": self.top5, "loss": self.loss, "images": self.images}


def evaluate(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
    world: World | None = None,
) -> Score:
    """Evaluates a network; it is in eval mode afterwards.

    Args:
        network: gives logits (N, classes).
        batches: images and labels; with several processes, this process's share.
        device: where the network is.
        world: sums over processes when given.

    Raises:
        TrainingError: the loss is NaN or infinite: the network's weights or statistics are spoilt.
    """
    network.eval()
    sums = torch.zeros(4)
    with torch.no_grad():
        for images, labels in batches:
            images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
            logits = network(images).float()
            labels = labels.to(device)
            ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            part = torch.stack([ranked[:, 0].sum().float(), ranked.any(1).sum().float(), loss])
            sums = sums.double() + torch.cat([part.cpu().double(), torch.tensor([len(labels)])])
    if world is not None:
        sums = world.average(sums.to(device, torch.float32)).cpu() * world.size
    first, five, loss, count = sums.tolist()
    if not math.isfinite(loss):
        raise TrainingError(
            f"the network's loss on {round(count)} images is {loss}: its weights or BatchNorm "
            "statistics are spoilt. Train with a lower --lr, or go back to an earlier checkpoint."
        )
    total = max(1.0, count)
    return Score(first / total, five / total, loss / total, round(count))
