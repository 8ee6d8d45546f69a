"""Whether a table can price a search space, and at which shape and precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from proxyless_hw.space.footprint import Precision
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.given import space_of, table_of
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
    table: LatencyTable | str | Path,
    space: SearchSpace | str | Path = "imagenet",
    resolutions: Sequence[int] = (),
    num_classes: int | None = None,
) -> list[OpSpec]:
    """The distinct ops of a space that a table lacks: ``proxyless-hw table check``.

    Args:
        table: the table, or its name or path.
        space: the space, or its name or path.
        resolutions: input resolutions in pixels; the table's own when empty.
        num_classes: the table's own when None.

    Raises:
        SpaceError: a resolution is outside what a space takes, or no such space.
        TableError: no such table.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.missing_ops("pixel1", "imagenet")
        []
        >>> print(ph.missing_ops("pixel1", "imagenet", resolutions=[192])[0])
        conv 192x192x3->96x96x32 k3 s2
    """
    table, space = table_of(table), space_of(space)
    sizes, classes = pricing_shape(table, space, resolutions, num_classes)
    needed = [op for side in sizes for op in space.ops(side, num_classes=classes)]
    return table.missing(needed)


def table_precision(table: LatencyTable) -> Precision | None:
    """The number format of a table's networks; None where its header states none that is known."""
    stated = table.metadata.get("precision")
    return next((known for known in get_args(Precision) if known == stated), None)
