"""Learning rates and update counts, all functions of the step alone."""

from __future__ import annotations

import math

from proxyless_hw.search.config import SearchConfig

WARMUP_RISE = 0.2
"""Share of the warm-up phase over which its learning rate rises from zero."""
ALPHA_TRAVEL = 6.0
"""How far Adam may move one logit in a whole search when alpha's rate is not given."""
ALPHA_LR_BOUNDS = (1e-3, 5e-2)


def weight_lr(config: SearchConfig, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Learning rate of one weight step: warm-up rises then falls, the search follows a cosine.

    Args:
        config: peaks and lengths.
        epoch: epoch counted from the start of warm-up.
        step: step within the epoch.
        steps_per_epoch: weight steps per epoch.
    """
    if epoch < config.warmup_epochs:
        done = (epoch + step / steps_per_epoch) / config.warmup_epochs
        if done < WARMUP_RISE:
            return config.warmup_lr * (done + 1 / (config.warmup_epochs * steps_per_epoch))
        return _cosine(config.warmup_lr, (done - WARMUP_RISE) / (1 - WARMUP_RISE))
    return _cosine(
        config.lr, (epoch - config.warmup_epochs + step / steps_per_epoch) / config.epochs
    )


def _cosine(peak: float, done: float) -> float:
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def alpha_updates(config: SearchConfig, steps_per_epoch: int) -> int:
    """Updates of alpha that a whole search makes."""
    epochs = max(0, config.epochs - config.first_alpha_epoch)
    return epochs * steps_per_epoch // config.alpha_every


def alpha_lr(config: SearchConfig, updates: int) -> float:
    """Alpha's learning rate: as configured, or so that a short search can become decided."""
    if config.alpha_lr is not None:
        return config.alpha_lr
    low, high = ALPHA_LR_BOUNDS
    return min(high, max(low, ALPHA_TRAVEL / max(1, updates)))


def is_alpha_step(config: SearchConfig, epoch: int, step: int, steps_per_epoch: int) -> bool:
    """Whether an update of alpha follows this weight step."""
    searched = epoch - config.warmup_epochs - config.first_alpha_epoch
    if searched < 0:
        return False
    return (searched * steps_per_epoch + step + 1) % config.alpha_every == 0
