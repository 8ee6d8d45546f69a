"""What an op of one's own weighs and computes, counted by torch on the built module."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.space.op_registry import OwnOp, own_op
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, OpSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class BuiltCounts:
    """Counts of one op on one image.

    Attributes:
        parameters: trainable parameters.
        biases: those among them that have one dimension: biases, and scales of a BatchNorm.
        macs: multiply-accumulates of its convolutions and matrix products.
    """

    parameters: int
    biases: int
    macs: int


def build_own(layer: LayerSpec, batch_norm: BatchNormSpec) -> nn.Module:
    """Builds an op of one's own, without a residual addition around it.

    Raises:
        ArchitectureError: no such op is registered, or its builder fails or returns no module.
        BackendUnavailableError: it is registered but cannot be loaded.
    """
    from torch import nn

    try:
        module = own_op(layer.op).build(layer, batch_norm)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ZeroDivisionError) as e:
        raise ArchitectureError(
            f"the builder of op '{layer.op}' failed for {layer}: {type(e).__name__}: {e}."
        ) from e
    if not isinstance(module, nn.Module):
        raise ArchitectureError(
            f"the builder of op '{layer.op}' must return a torch module: "
            f"received {type(module).__name__}."
        )
    return module


def built_counts(op: OpSpec) -> BuiltCounts:
    """Counts an op on one image, and checks the shape of what it gives.

    Raises:
        ArchitectureError: it cannot be built or run, or gives another shape than its layer says.
        BackendUnavailableError: it is registered but cannot be loaded.
    """
    return _counted(op, own_op(op.op))


@lru_cache(maxsize=4096)
def _counted(op: OpSpec, own: OwnOp) -> BuiltCounts:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    module = build_own(op.layer, BatchNormSpec()).eval()
    counter = FlopCounterMode(display=False)
    image = torch.zeros(1, op.in_c, op.in_h, op.in_w)
    try:
        with torch.no_grad(), counter:
            output = module(image)
    except (TypeError, ValueError, RuntimeError, LookupError, AttributeError) as cause:
        raise ArchitectureError(f"op {op} cannot be run: {cause}") from cause
    wanted = (1, op.out_c, op.out_h, op.out_w)
    given = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if given != wanted:
        raise ArchitectureError(
            f"op {op} maps {tuple(image.shape)} to {wanted}: its module gave {given}. Pad by half "
            "the kernel, and divide height and width by the stride."
        )
    trained = [part for part in module.parameters() if part.requires_grad]
    return BuiltCounts(
        parameters=sum(part.numel() for part in trained),
        biases=sum(part.numel() for part in trained if part.dim() == 1),
        macs=counter.get_total_flops() // 2,
    )
