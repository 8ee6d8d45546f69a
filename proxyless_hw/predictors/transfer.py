"""Transfer: the table of a new device from a known table and a few ops measured on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw._version import __version__
from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.device_map import (
    OpKernel,
    Spread,
    condition,
    fit_spread,
    leave_one_out,
    log_values,
)
from proxyless_hw.predictors.provenance import TRANSFERRED, is_transferred
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.specs import OpSpec
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

FloatArray = NDArray[np.float64]

MIN_PROBES: Final = 3
MIN_PROBES_TO_TUNE: Final = 8
"""With fewer probes the terms keep their default spread: there is too little to choose it by."""

NORMAL_95: Final = 1.959964
"""Half-width of a 95% interval in standard deviations."""


@dataclass(frozen=True)
class Transferred:
    """A transferred table and how it came about.

    Attributes:
        table: every op of the source, in the source's order: measured where a probe is, else
            predicted; ``statistic`` in its header is ``transferred``.
        source: name of the source that was used.
        rank_correlation: Spearman between each source and the probes, by source name.
        held_out_mape: each probe predicted from the others by leave-one-out; mean absolute
            relative error.
        probes: how many ops were measured.
    """

    table: LatencyTable
    source: str
    rank_correlation: dict[str, float]
    held_out_mape: float
    probes: int


def transfer(sources: Sequence[LatencyTable], probes: LatencyTable) -> Transferred:
    """Predicts a device's table.

    Args:
        sources: known tables of one metric, each holding every probe; the one whose order agrees
            best with the probes is used.
        probes: a few ops measured on the new device, as a table; its setting becomes the result's.

    Raises:
        PredictorError: no source, too few probes, all probes equal, a probe that a source lacks,
            different metrics, or an input that is itself transferred.
    """
    if not sources:
        raise PredictorError("a transfer needs a source table: received none.")
    for source in sources:
        _check(source, probes)
    ops = list(probes.entries)
    measured = [probes.entries[op].value for op in ops]
    correlations = {
        source.name: spearman([source.entries[op].value for op in ops], measured)
        for source in sources
    }
    # The first of equals: a user lists the likeliest source first.
    best = max(sources, key=lambda source: correlations[source.name])
    estimate = estimate_log_costs(best, ops, log_values(measured))
    return Transferred(
        table=_table(best, probes, estimate),
        source=best.name,
        rank_correlation=correlations,
        held_out_mape=float(np.abs(np.expm1(estimate.held_out)).mean()),
        probes=len(ops),
    )


@dataclass(frozen=True)
class LogCosts:
    """Log cost on the target of every op of a source.

    Attributes:
        mean: (n,).
        deviation: standard deviations, (n,).
        held_out: predicted minus measured log cost of each probe, from the other probes, (k,).
    """

    mean: FloatArray
    deviation: FloatArray
    held_out: FloatArray


def estimate_log_costs(
    source: LatencyTable, probes: Sequence[OpSpec], log_target: FloatArray
) -> LogCosts:
    """Adapts a source's costs to the target's probes.

    Args:
        source: holds every probe.
        probes: distinct ops, at least 3.
        log_target: their log cost on the target, (k,).
    """
    ops = list(source.entries)
    log_source = log_values([entry.value for entry in source.entries.values()])
    row = {op: number for number, op in enumerate(ops)}
    at = np.array([row[op] for op in probes], dtype=np.intp)
    log_ratio = log_target - log_source[at]
    kernel = OpKernel(ops, log_source)
    spread = Spread()
    if len(at) >= MIN_PROBES_TO_TUNE:
        spread = fit_spread(kernel, at, log_ratio)
    mean, deviation = condition(kernel, spread, at, log_ratio)
    error, expected = leave_one_out(kernel, spread, at, log_ratio)
    # Never surer than the probes allow when each is predicted from the others.
    surprise = max(1.0, float(np.sqrt(np.mean((error / expected) ** 2))))
    return LogCosts(log_source + mean, surprise * deviation, -error)


def _check(source: LatencyTable, probes: LatencyTable) -> None:
    for table in (source, probes):
        if is_transferred(table):
            raise PredictorError(
                f"a transfer starts from measurements: '{table.name}' is itself transferred "
                f"({table.metadata.get('source', 'no source given')})."
            )
    if source.metric != probes.metric:
        raise PredictorError(
            f"source and probes must measure one thing: '{source.name}' holds {source.metric} "
            f"({source.unit}), '{probes.name}' {probes.metric} ({probes.unit})."
        )
    if len(probes) < MIN_PROBES:
        raise PredictorError(
            f"a transfer needs at least {MIN_PROBES} probes: '{probes.name}' has {len(probes)}. "
            f"Choose some: proxyless-hw table probes --from {source.name} -n 15"
        )
    values = np.array([entry.value for entry in probes.entries.values()])
    if np.ptp(values) <= 1e-9 * values.max():
        raise PredictorError(
            f"probes that all cost the same say nothing: every op of '{probes.name}' costs "
            f"{values[0]:g} {probes.unit}. Were they measured?"
        )
    unknown = source.missing(probes.entries)
    if unknown:
        listed = "\n".join(f"  {op}" for op in unknown[:20])
        raise PredictorError(
            f"every probe must be an op of the source: '{source.name}' lacks {len(unknown)} of "
            f"{len(probes)}:\n{listed}\n"
            f"Choose probes from it: proxyless-hw table probes --from {source.name}"
        )


def _table(source: LatencyTable, probes: LatencyTable, estimate: LogCosts) -> LatencyTable:
    entries: dict[OpSpec, Entry] = {}
    for op, mean, deviation in zip(source.entries, estimate.mean, estimate.deviation, strict=True):
        reach = NORMAL_95 * deviation
        low, value, high = (float(np.exp(mean + shift)) for shift in (-reach, 0.0, reach))
        entries[op] = probes.entries.get(op, Entry(value, ci_low=low, ci_high=high))
    metadata = {
        key: probes.metadata[key]
        for key in (*SETTING_KEYS, "unit", "device_kind", "runtime_version", "fingerprint")
        if key in probes.metadata
    }
    if source.num_classes is not None:
        metadata["num_classes"] = str(source.num_classes)
    for key in ("space", "resolutions"):
        if key in source.metadata:
            metadata[key] = source.metadata[key]
    metadata["statistic"] = TRANSFERRED
    metadata["source"] = (
        f"transferred by proxyless-hw {__version__} from '{source.name}' "
        f"({source.metadata.get('device', 'device unknown')}) with {len(probes)} probes of "
        f"'{probes.name}'"
    )
    metadata["probes"] = " ".join(op.key for op in probes.entries)
    metadata["transferred_from"] = source.name
    metadata["probes_held_out_mape"] = f"{np.abs(np.expm1(estimate.held_out)).mean():.4f}"
    return LatencyTable(entries, metadata, f"{probes.name} from {source.name}")
