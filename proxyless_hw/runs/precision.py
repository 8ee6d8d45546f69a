"""Mixed precision, and the optimiser that trains the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch

from proxyless_hw.runs.settings import Autocast


def autocast_of(kind: Autocast, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """The context of a forward pass; in float32 it does nothing."""
    if kind == "none":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if kind == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=dtype)


def grad_scaler(kind: Autocast, device: torch.device) -> torch.amp.GradScaler:
    """The loss scaling of a run; it is enabled in fp16 only."""
    return torch.amp.GradScaler(device.type, enabled=kind == "fp16")


def sgd(
    parameters: Iterable[torch.nn.Parameter], *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.SGD:
    """SGD with Nesterov's momentum; BatchNorm and biases have no weight decay."""
    weights = list(parameters)
    return torch.optim.SGD(
        [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": weight_decay},
            {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=lr,
        momentum=momentum,
        nesterov=momentum > 0,
    )
