"""Whether a table can price a search space, and at which shape and precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from proxyless_hw.space.footprint import Precision
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable


def pricing_shape(
    table: LatencyTable,
    space: SearchSpace,
    resolutions: Sequence[int] = (),
    num_classes: int | None = None,
) -> tuple[tuple[int, ...], int]:
    """The deployment shape that a table prices a space at.

    Args:
        table: the table; what is not asked for comes from it where it says so.
        space: gives the rest.
        resolutions: input resolutions asked for; none: the table's, else the space's.
        num_classes: classes asked for; None: the table's, else the space's.

    Returns:
        Resolutions in pixels, and the number of classes.
    """
    sizes = tuple(dict.fromkeys(resolutions)) or table.resolutions or (space.resolution,)
    return sizes, num_classes or table.num_classes or space.num_classes


def missing_ops(
    table: LatencyTable, space: SearchSpace, resolutions: Sequence[int], num_classes: int
) -> list[OpSpec]:
    """The distinct ops of a space, over all given resolutions, that a table lacks.

    Raises:
        SpaceError: a resolution is outside what a space takes.
    """
    needed = [
        op for resolution in resolutions for op in space.ops(resolution, num_classes=num_classes)
    ]
    return table.missing(needed)


def table_precision(table: LatencyTable) -> Precision | None:
    """The number format of a table's networks; None where its header states none that is known."""
    stated = table.metadata.get("precision")
    return next((known for known in get_args(Precision) if known == stated), None)
