"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from proxyless_hw.train.config import TrainConfig


def learning_rate(config: TrainConfig, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up to the peak, then half a cosine to zero.

    Args:
        config: peak and lengths.
        epoch: epoch, from 0.
        step: step within the epoch.
        steps_per_epoch: steps per epoch.
    """
    done = epoch + step / steps_per_epoch
    if done < config.warmup_epochs:
        return (
            config.lr * (done + 1 / steps_per_epoch) / (config.warmup_epochs + 1 / steps_per_epoch)
        )
    rest = max(1e-9, config.epochs - config.warmup_epochs)
    return (
        config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - config.warmup_epochs) / rest)))
    )
