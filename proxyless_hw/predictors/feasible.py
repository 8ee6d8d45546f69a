"""What a space can reach on a device: the cheapest and the dearest network by a table."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.predictors.fit import Kind, fit_predictor
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.check import pricing_shape
from proxyless_hw.tables.given import space_of, table_of
from proxyless_hw.tables.table import LatencyTable


def feasible_range(
    space: SearchSpace | str | Path,
    table: LatencyTable | str | Path,
    *,
    kind: Kind = "lookup",
    resolution: int | None = None,
    num_classes: int | None = None,
) -> tuple[float, float]:
    """Smallest and largest predicted cost of a network of a space, in the table's unit.

    A target of a search lies in this range.

    Args:
        space: the search space, or its name or path.
        table: measured on the device; or its name or path.
        kind: the predictor, as for `fit_predictor`. A search uses ``lookup`` too, unless its
            settings say otherwise.
        resolution, num_classes: deployment shape; the table's own when None, else the space's.

    Raises:
        TableError: the costs of a network's ops do not add up (memory).
        MissingEntryError: look-up only, and the table lacks ops of the space; all are named.
        SpaceError: no space of that name.
        PredictorError: ops must be regressed and the table cannot carry a regression.

    Example:
        >>> import proxyless_hw as ph
        >>> space, table = ph.SearchSpace.load("imagenet"), ph.LatencyTable.load("pixel1")
        >>> low, high = ph.feasible_range(space, table)
        >>> round(low), round(high)
        (30, 191)
    """
    space, table = space_of(space), table_of(table)
    table.require_additive()
    sizes, classes = pricing_shape(table, space, (resolution,) if resolution else (), num_classes)
    side = space.resolution if resolution is None and space.resolution in sizes else sizes[0]
    return fit_predictor(table, kind=kind).space_costs(space, side, classes).range
