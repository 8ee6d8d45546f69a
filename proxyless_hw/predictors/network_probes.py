"""Whole networks measured on a new device, as probes: for those who cannot time single ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proxyless_hw.errors import MissingEntryError, PredictorError
from proxyless_hw.predictors.network_files import read_networks
from proxyless_hw.predictors.posterior import Measurements
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable


@dataclass(frozen=True)
class NetworkProbe:
    """One network measured on the new device.

    Attributes:
        name: what the user calls it.
        ops: its ops at the shape it was measured at, repeated ones repeated.
        value: what it cost, in the source's unit.
    """

    name: str
    ops: tuple[OpSpec, ...]
    value: float


def read_network_probes(path: Path, source: LatencyTable) -> list[NetworkProbe]:
    """Reads networks with a column ``value``, in the source's unit (see `read_networks`).

    Raises:
        PredictorError: as `read_networks`; or the same network stands twice.
        ArchitectureError: a network cannot be read.
        MissingEntryError: the source lacks ops of a network.
        TableError: what a network costs is not the sum of its ops (memory).
    """
    source.require_additive()
    found: dict[str, NetworkProbe] = {}
    for row in read_networks(path, "value", source):
        if row.name in found:
            raise PredictorError(f"{row.where} repeats the network {row.name[:120]!r}.")
        ops = tuple(row.arch.ops())
        missing = source.missing(ops)
        if missing:
            raise MissingEntryError(
                f"{row.where}: '{row.name[:80]}' has {len(missing)} ops that '{source.name}' "
                f"lacks, as {missing[0]}. Leave this network out, or take networks of the space "
                "that the table is of.",
                missing,
            )
        found[row.name] = NetworkProbe(row.name, ops, row.value)
    return list(found.values())


def measurements(
    ops: Sequence[OpSpec], probes: LatencyTable | None, networks: Sequence[NetworkProbe]
) -> Measurements:
    """Probes, then networks, as sums of `ops`, all of which must be among them.

    Args:
        ops: what is to be predicted, (n,).
        probes: single ops measured on the new device.
        networks: whole networks measured there.
    """
    row = {op: number for number, op in enumerate(ops)}
    single = [] if probes is None else list(probes.entries.items())
    at = np.array([row[op] for op, _ in single], dtype=np.intp)
    logs = np.log([entry.value for _, entry in single] + [each.value for each in networks])
    if not networks:
        return Measurements.of_ops(at, logs, len(ops))
    counts = np.zeros((len(logs), len(ops)))
    counts[np.arange(len(at)), at] = 1.0
    for line, each in zip(counts[len(at) :], networks, strict=True):
        np.add.at(line, [row[op] for op in each.ops], 1.0)
    return Measurements(counts, logs)
