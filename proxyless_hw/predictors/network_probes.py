"""Whole networks measured on a new device, as probes: for those who cannot time single ops."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from proxyless_hw.errors import MissingEntryError, PredictorError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.posterior import Measurements
from proxyless_hw.predictors.sources import at_deployment_shape
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.storage.documents import read_text
from proxyless_hw.tables.table import LatencyTable

COLUMNS = ("network", "value")


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
    """Reads a CSV with the columns ``network`` and ``value``.

    ``network`` is what `predict` takes: a file (relative to the CSV), a zoo name. It is taken at
    the shape that the source prices it at. ``value`` is in the source's unit.

    Raises:
        PredictorError: a column is missing, a value is not positive, or the same network stands
            twice; file and line are named.
        ArchitectureError: a network cannot be read.
        MissingEntryError: the source lacks ops of a network.
        TableError: what a network costs is not the sum of its ops (memory).
    """
    source.require_additive()
    text = read_text(path, PredictorError, "file of measured networks")
    reader = csv.DictReader(io.StringIO(text), strict=True)
    found: dict[str, NetworkProbe] = {}
    try:
        columns = reader.fieldnames or []
        lacking = [name for name in COLUMNS if name not in columns]
        if lacking:
            raise PredictorError(
                f"{path}, line 1 must name the columns {' and '.join(COLUMNS)}: received "
                f"{', '.join(columns)[:200]!r}. value is in {source.unit}."
            )
        for row in reader:
            where, name = f"{path}, line {reader.line_num}", row["network"] or ""
            if not name:
                raise PredictorError(f"{where} names no network.")
            if name in found:
                raise PredictorError(f"{where} repeats the network {name[:120]!r}.")
            value = _positive(row["value"], where)
            beside = path.parent / name
            arch = load_architecture(str(beside if beside.exists() else name))
            ops = tuple(at_deployment_shape(arch, source).ops())
            missing = source.missing(ops)
            if missing:
                raise MissingEntryError(
                    f"{where}: '{name[:80]}' has {len(missing)} ops that '{source.name}' lacks, as "
                    f"{missing[0]}. Leave this network out, or take networks of the space that the "
                    "table is of.",
                    missing,
                )
            found[name] = NetworkProbe(name, ops, value)
    except csv.Error as cause:
        raise PredictorError(f"{path}, line {reader.line_num} is not CSV ({cause}).") from cause
    return list(found.values())


def _positive(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise PredictorError(
            f"{where}: value must be positive and finite: received {str(text)[:60]!r}."
        )
    return value


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
