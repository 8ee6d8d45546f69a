"""A space without the candidates whose own peak lies above a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from proxyless_hw.errors import InfeasibleTargetError, SpaceError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec, Position


@dataclass(frozen=True, slots=True)
class PeakWords:
    """How messages speak of a peak.

    Attributes:
        memory: what is needed, and how it is counted.
        text: a value with its unit.
        exact: a value that can be typed as a limit.
    """

    memory: str
    text: Callable[[float], str]
    exact: Callable[[float], str]


def within_peaks(
    space: SearchSpace,
    limit: float,
    needs: Callable[[OpSpec], float],
    words: PeakWords,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> SearchSpace:
    """The space without the candidates that need more than a limit while they run.

    Args:
        space: the search space, a chain.
        limit: the largest need that is allowed.
        needs: the peak of an op, in the limit's unit.
        words: for messages.
        resolution, num_classes: deployment shape; the space's own when None.

    Raises:
        InfeasibleTargetError: no network, or only one, stays within the limit; the message gives
            the smallest need of a network of the space.
        SpaceError: the space is a tree.
    """
    if space.wiring:
        raise SpaceError(
            f"a memory limit needs a chain: '{space.id}' is a tree, whose peak depends on the "
            "order in which a runtime takes its branches. Leave the memory limit out."
        )
    side = space.resolution if resolution is None else resolution
    fixed = space.fixed_ops(side, num_classes)
    slots = [[0 if op is None else needs(op) for op in ops] for ops in space.slot_ops(side)]
    least = max(*(needs(op) for op in fixed), *(min(values) for values in slots))
    if least > limit:
        raise InfeasibleTargetError(
            f"no network of space '{space.id}' runs within {words.text(limit)} of {words.memory} "
            f"at {side} pixels: the smallest needs {words.exact(least)}. Raise the limit, or lower "
            "the resolution or the precision."
        )
    remaining = iter(slots)
    positions = []
    for position in space.positions:
        if position.is_slot:
            pairs = zip(position.candidates, next(remaining), strict=True)
            kept = tuple(layer for layer, need in pairs if need <= limit)
            position = Position(kept, position.stage)
        positions.append(position)
    if not any(position.is_slot for position in positions):
        raise InfeasibleTargetError(
            f"only one network of space '{space.id}' runs within {words.text(limit)} of "
            f"{words.memory} at {side} pixels, so there is nothing to search. Raise the limit."
        )
    return replace(space, positions=tuple(positions))
