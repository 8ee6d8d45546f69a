"""Stochastic depth: training leaves out residual branches at random, for each image."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zeroes whole images of a batch and scales the rest, so that the expectation is unchanged.

    After Huang et al., ECCV 2016. The published code drops a block for the whole batch and scales
    at evaluation instead; per image, a trained network needs no scaling and exports as it is.

    Args:
        x: (N, C, H, W).
        rate: probability of zeroing an image, in [0, 1).
    """
    kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= rate
    return x * (kept.to(x.dtype) / (1 - rate))


def linear_rates(last: float, count: int) -> list[float]:
    """Rates that rise linearly over `count` blocks to that of the last one."""
    return [last * (index + 1) / count for index in range(count)]
