"""What every choice of a space costs, as arrays: the one form that all predictors feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.calibration import IDENTITY, Calibration
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SpaceCosts:
    """Predicted cost of every choice, separable over slots; calibration is contained.

    Attributes:
        fixed_ms: what every network of the space pays.
        slot_ms: cost of each candidate, (slots, max_candidates); 0 where none exists.
        mask: True where a candidate exists, same shape.
    """

    fixed_ms: float
    slot_ms: FloatArray
    mask: NDArray[np.bool_]


def space_costs(
    space: SearchSpace,
    op_ms: Callable[[Sequence[OpSpec]], FloatArray],
    calibration: Calibration | None,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> SpaceCosts:
    """Prices a space: measured = a + b sum + c blocks, with Zero at 0 ms and 0 blocks.

    Args:
        space: the space.
        op_ms: prices distinct ops, in order; raises for those it cannot.
        calibration: a, b, c; None for the plain sum.
        resolution, num_classes: deployment shape; the space's own when None.
    """
    a, b, c = (calibration or IDENTITY).coefficients
    distinct = space.ops(resolution, num_classes)
    price = dict(zip(distinct, (float(value) for value in op_ms(distinct)), strict=True))
    mask = np.zeros((len(space.slots), space.max_candidates), dtype=bool)
    slot_ms = np.zeros(mask.shape)
    for row, ops in enumerate(space.slot_ops(resolution)):
        mask[row, : len(ops)] = True
        slot_ms[row, : len(ops)] = [0.0 if op is None else b * price[op] + c for op in ops]
    fixed = space.fixed_ops(resolution, num_classes)
    fixed_blocks = sum(
        not position.is_slot and not position.candidates[0].is_free for position in space.positions
    )
    fixed_ms = a + b * sum(price[op] for op in fixed) + c * fixed_blocks
    return SpaceCosts(fixed_ms, slot_ms, mask)


def count_blocks(arch: Architecture) -> int:
    """How often the calibration's ``c blocks`` term applies to a network.

    A block is what stands between stem and head and runs, whatever its op: the place decides, so
    that a network counts as many blocks as `space_costs` charges for its choices. Removed blocks
    and plain identities cost nothing and do not count; in a tree every op counts.
    """
    return sum(not layer.is_free for layer in arch.blocks)
