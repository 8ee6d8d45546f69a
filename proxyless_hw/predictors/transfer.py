"""Transfer: the table of a new device from a known table and a few ops measured on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw._version import __version__
from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.adaptation import LogCosts, estimate_log_costs
from proxyless_hw.predictors.device_map import log_values
from proxyless_hw.predictors.provenance import TRANSFERRED, is_transferred
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

FloatArray = NDArray[np.float64]

MIN_PROBES: Final = 3
SUSPICIOUS: Final = 0.3
"""A probe is named from this probability on that it does not belong to the others."""


@dataclass(frozen=True)
class Suspect:
    """A probe that disagrees with the others.

    Attributes:
        op: the probe.
        ratio: its measurement over what the other probes say of it.
        probability: that it does not belong to them.
    """

    op: OpSpec
    ratio: float
    probability: float


@dataclass(frozen=True)
class Transferred:
    """A transferred table and how it came about.

    Attributes:
        table: every op of the source, in the source's order: measured where a probe is, else
            predicted; ``statistic`` in its header is ``transferred``.
        source: name of the source that was used.
        rank_correlation: by source name, Spearman between the probes and what the source, adapted
            to all other probes, says of each.
        held_out_mape: each probe predicted from the others by leave-one-out; mean absolute
            relative error over the probes that are not suspicious.
        probes: how many ops were measured.
        suspects: probes that disagree with the others, the most improbable first. They hardly
            move the predictions, and all intervals are as wide as the doubt about them asks.
        half_width: median relative half-width of the 95% intervals of the ops not probed; 0 when
            all were.
    """

    table: LatencyTable
    source: str
    rank_correlation: dict[str, float]
    held_out_mape: float
    probes: int
    suspects: tuple[Suspect, ...]
    half_width: float


def transfer(sources: Sequence[LatencyTable], probes: LatencyTable) -> Transferred:
    """Predicts a device's table.

    Args:
        sources: known tables of one metric, each holding every probe; the one that, adapted,
            ranks held-out probes best is used.
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
    log_target = log_values([entry.value for entry in probes.entries.values()])
    estimates = [estimate_log_costs(source, ops, log_target) for source in sources]
    correlations = [spearman(log_target + each.held_out_source, log_target) for each in estimates]
    # Adapted sources rank a few probes nearly alike: of equals, the one that misses them least.
    # By the median, so that probes which do not belong here do not choose the source.
    misses = [float(np.median(np.abs(each.held_out_source))) for each in estimates]
    best = max(range(len(sources)), key=lambda i: (round(correlations[i], 2), -misses[i]))
    names = [source.name for source in sources]
    suspects = _suspects(sources[best], probes, estimates[best])
    return Transferred(
        table=_table(sources[best], probes, estimates[best], suspects),
        source=names[best],
        rank_correlation=dict(zip(names, correlations, strict=True)),
        held_out_mape=_mape(estimates[best]),
        probes=len(ops),
        suspects=suspects,
        half_width=_half_width(sources[best], probes, estimates[best]),
    )


def _mape(estimate: LogCosts) -> float:
    trusted = estimate.disturbed <= SUSPICIOUS
    if not trusted.any():
        trusted[:] = True  # all under some doubt: the figure is of all
    return float(np.abs(np.expm1(estimate.held_out[trusted])).mean())


def _suspects(
    source: LatencyTable, probes: LatencyTable, estimate: LogCosts
) -> tuple[Suspect, ...]:
    predicted = dict(zip(source.entries, np.exp(estimate.mean).tolist(), strict=True))
    found = [
        Suspect(op, entry.value / predicted[op], float(probability))
        for (op, entry), probability in zip(probes.entries.items(), estimate.disturbed, strict=True)
        if probability > SUSPICIOUS
    ]
    return tuple(sorted(found, key=lambda suspect: -suspect.probability))


def _half_width(source: LatencyTable, probes: LatencyTable, estimate: LogCosts) -> float:
    reach = [
        half
        for op, half in zip(source.entries, estimate.reach, strict=True)
        if op not in probes.entries
    ]
    return float(np.expm1(np.median(reach))) if reach else 0.0


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


def _table(
    source: LatencyTable,
    probes: LatencyTable,
    estimate: LogCosts,
    suspects: Sequence[Suspect],
) -> LatencyTable:
    doubtful = {suspect.op for suspect in suspects}
    entries: dict[OpSpec, Entry] = {}
    for op, mean, reach in zip(source.entries, estimate.mean, estimate.reach, strict=True):
        low, value, high = (float(np.exp(mean + shift)) for shift in (-reach, 0.0, reach))
        probe = probes.entries.get(op)
        if probe is None:
            entries[op] = Entry(value, ci_low=low, ci_high=high)
        else:
            entries[op] = _with_doubt(probe, low, high) if op in doubtful else probe
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
    metadata["probes_held_out_mape"] = f"{_mape(estimate):.4f}"
    if suspects:
        metadata["suspicious_probes"] = " ".join(suspect.op.key for suspect in suspects)
    return LatencyTable(entries, metadata, f"{probes.name} from {source.name}")


def _with_doubt(probe: Entry, low: float, high: float) -> Entry:
    """A suspicious measurement, with an interval that holds what the other probes say as well."""
    bounds = [probe.value, low, high]
    bounds += [bound for bound in (probe.ci_low, probe.ci_high) if bound is not None]
    return replace(probe, ci_low=min(bounds), ci_high=max(bounds))
