"""Reads the gate gradients of a slot off the backward pass, at the moment its slope is known.

Asking autograd for the slopes of all slots at once would keep every one of them, and every slot's
output, alive until the end: a third of the memory of a space with hundreds of slots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

GateGradient = Callable[[Tensor], Tensor]


class _Backward(Protocol):
    """What the forward pass leaves for the backward pass."""

    measure: GateGradient | None
    autocast: tuple[str, bool, torch.dtype]


class _Probe(torch.autograd.Function):
    """The identity; in the backward pass the gates receive what `measure` makes of the slope."""

    @staticmethod
    def forward(ctx: _Backward, outputs: Tensor, gates: Tensor, measure: GateGradient) -> Tensor:
        ctx.measure = measure
        kind = outputs.device.type
        ctx.autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        return outputs.view_as(outputs)

    @staticmethod
    def backward(ctx: _Backward, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        kind, enabled, dtype = ctx.autocast
        with torch.no_grad(), torch.autocast(kind, dtype=dtype, enabled=enabled):
            assert ctx.measure is not None, "the backward pass runs once"
            gradient = ctx.measure(slope)
        ctx.measure = None  # what it holds is no longer needed
        return slope, gradient, None


def probe(outputs: Tensor, gates: Tensor, measure: GateGradient) -> Tensor:
    """Passes a slot's outputs on unchanged, and defines the gradient of its gates.

    Args:
        outputs: y of the slot.
        gates: a leaf, (max_candidates,); its gradient will be ``measure(dL/dy)``.
        measure: called once, without gradient, under the forward pass's autocast setting.
    """
    return _Probe.apply(outputs, gates, measure)  # type: ignore[no-any-return]
