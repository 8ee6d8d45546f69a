"""How large a search space is, and between which bounds its networks lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from proxyless_hw.predictors.costs import counted_costs
from proxyless_hw.predictors.feasible import feasible_range
from proxyless_hw.space.footprint import op_memory_bytes
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import op_variant
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.tables.check import missing_ops, pricing_shape
from proxyless_hw.tables.given import space_of, table_of
from proxyless_hw.tables.table import LatencyTable


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRange:
    """What a table says about the cost of a space's networks.

    Attributes:
        table: its name.
        unit: ``ms``, ``mJ``, ...
        range: predicted cost of the cheapest and of the dearest network; None where the table
            lacks ops of the space.
        missing: number of ops that it lacks.
    """

    table: str
    unit: str
    range: tuple[float, float] | None
    missing: int

    def to_json(self) -> JsonObject:
        """The object that JSON documents hold."""
        found = None if self.range is None else list(self.range)
        return {"table": self.table, "unit": self.unit, "range": found, "missing": self.missing}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRanges:
    """Size of a space, and the smallest and largest of its networks by each count.

    Attributes:
        name: id of the space.
        slots: searchable positions.
        candidates: over all slots, Zero included.
        ops: distinct ops, which a table of the space has one row each for.
        networks: product over slots of the number of candidates.
        resolution: at which MACs and memory are counted, in pixels.
        resolutions: among which a search may choose.
        macs, parameters: of the smallest and of the largest network.
        memory: peak of the activations in float32, in bytes, likewise; None for trees and for
            spaces with an op of one's own (`memory_bytes`).
        cost: by a table; None where none was given.
    """

    name: str
    slots: int
    candidates: int
    ops: int
    networks: int
    resolution: int
    resolutions: tuple[int, ...]
    macs: tuple[int, int]
    parameters: tuple[int, int]
    memory: tuple[int, int] | None
    cost: TableRange | None = None

    def to_json(self) -> JsonObject:
        """The object that JSON documents hold."""
        return {
            "name": self.name,
            "slots": self.slots,
            "candidates": self.candidates,
            "ops": self.ops,
            "log10_networks": math.log10(self.networks),
            "resolution": self.resolution,
            "resolutions": list(self.resolutions),
            "macs": list(self.macs),
            "parameters": list(self.parameters),
            "memory_bytes": None if self.memory is None else list(self.memory),
            "cost": None if self.cost is None else self.cost.to_json(),
        }


def space_ranges(
    space: SearchSpace | str | Path,
    table: LatencyTable | str | Path | None = None,
    *,
    resolution: int | None = None,
    num_classes: int | None = None,
) -> SpaceRanges:
    """Size and ranges of a search space: ``proxyless-hw space list``.

    Args:
        space: the space, or its name or path.
        table: gives the range of the predicted cost as well; or its name or path.
        resolution: input resolution in pixels; when None that of the table, else the space's own.
        num_classes: likewise.

    Raises:
        SpaceError: no such space, or a resolution that it does not take.
        TableError: no such table, or its costs do not add up (memory).

    Example:
        >>> import proxyless_hw as ph
        >>> ranges = ph.space_ranges("imagenet")
        >>> ranges.slots, ranges.candidates, ranges.networks == 6**6 * 7**15
        (21, 141, True)
        >>> [round(macs / 1e6) for macs in ranges.macs]
        [103, 607]
    """
    space = space_of(space)
    known = None if table is None else table_of(table)
    side = space.resolution if resolution is None else resolution
    classes = space.num_classes if num_classes is None else num_classes
    if known is not None:
        sizes, classes = pricing_shape(
            known, space, (resolution,) if resolution else (), num_classes
        )
        side = side if side in sizes else sizes[0]
    macs, parameters = (
        counted_costs(name, space, side, classes).range for name in ("macs", "parameters")
    )
    return SpaceRanges(
        name=space.id,
        slots=len(space.slots),
        candidates=space.num_candidates,
        ops=len(space.ops(side, classes)),
        networks=math.prod(len(slot.candidates) for slot in space.slots),
        resolution=side,
        resolutions=space.resolutions,
        macs=_whole(macs),
        parameters=_whole(parameters),
        memory=_memory_range(space, side, classes),
        cost=None if known is None else _table_range(space, known, side, classes),
    )


def _whole(millions: tuple[float, float]) -> tuple[int, int]:
    return round(millions[0] * 1e6), round(millions[1] * 1e6)


def _memory_range(space: SearchSpace, side: int, classes: int) -> tuple[int, int] | None:
    """In a chain the peak of a network is that of one of its ops."""
    if space.wiring or any(op_variant(op.op).is_custom for op in space.ops(side, classes)):
        return None
    fixed = max(op_memory_bytes(op) for op in space.fixed_ops(side, classes))
    slots = [
        [0 if op is None else op_memory_bytes(op) for op in ops] for ops in space.slot_ops(side)
    ]
    return max(fixed, *map(min, slots)), max(fixed, *map(max, slots))


def _table_range(space: SearchSpace, table: LatencyTable, side: int, classes: int) -> TableRange:
    missing = len(missing_ops(table, space, (side,), classes))
    found = None
    if not missing:
        found = feasible_range(space, table, resolution=side, num_classes=classes)
    return TableRange(table=table.name, unit=table.unit, range=found, missing=missing)
