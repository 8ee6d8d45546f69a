"""Which rows of a table were measured, and which are predictions from another device's table."""

from __future__ import annotations

from typing import Final

from proxyless_hw.errors import PredictorError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

TRANSFERRED: Final = "transferred"
"""The header's ``statistic`` of a table whose rows are predicted from another device's."""


def is_transferred(table: LatencyTable) -> bool:
    """Whether a table's rows are predictions from another device's table."""
    return table.metadata.get("statistic") == TRANSFERRED


def transferred_ops(table: LatencyTable) -> frozenset[OpSpec]:
    """The ops whose rows are such predictions; none in a measured table.

    Raises:
        PredictorError: the header's list of probes, which were measured, cannot be read.
    """
    if not is_transferred(table):
        return frozenset()
    try:
        probes = {OpSpec.from_key(key) for key in table.metadata.get("probes", "").split()}
    except ValueError as cause:
        raise PredictorError(
            f"the header of '{table.name}' must list its probes as op keys: {cause}."
        ) from cause
    return frozenset(op for op in table.entries if op not in probes)
