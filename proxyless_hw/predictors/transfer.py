"""Transfer: the table of a new device from known tables and a few measurements on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw._version import __version__
from proxyless_hw.errors import PredictorError, did_you_mean
from proxyless_hw.predictors.adaptation import LogCosts, estimate_log_costs
from proxyless_hw.predictors.network_probes import (
    NetworkProbe,
    measurements,
    read_network_probes,
)
from proxyless_hw.predictors.posterior import Measurements
from proxyless_hw.predictors.provenance import TRANSFERRED, is_transferred
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

FloatArray = NDArray[np.float64]

MIN_PROBES: Final = 3
SUSPICIOUS: Final = 0.5
"""A probe is named that more probably than not does not belong to the others."""

NEW_DEVICE_KEYS: Final = (
    *(key for key in SETTING_KEYS if key != "metric"),
    *("device_kind", "runtime_version", "fingerprint"),
)
"""Header lines that say what the new device is."""


@dataclass(frozen=True)
class Suspect:
    """A probe that disagrees with the others.

    Attributes:
        name: the op's key, or the network's name.
        op: the probe; None where it is a network.
        ratio: its measurement over what the other probes say of it.
        probability: that it does not belong to them.
    """

    name: str
    op: OpSpec | None
    ratio: float
    probability: float


@dataclass(frozen=True)
class Transferred:
    """A transferred table and how it came about.

    Attributes:
        table: every op of the first source, in its order: measured where a probe is, else
            predicted; ``statistic`` in its header is ``transferred``.
        source: name of the source that counts most.
        source_weights: by source name, how much it counts; they add up to 1.
        rank_correlation: by source name, Spearman between the probes and what the source, adapted
            to all other probes, says of each.
        bound_by: what most of the device's time goes to, with its probability: ``as the source``,
            ``launches``, ``work``, or ``unlike the source``, which tells nothing of the device.
        held_out_mape: each probe predicted from the others by leave-one-out; mean absolute
            relative error over the probes that are not suspicious.
        probes: how many ops were measured.
        networks: how many whole networks were measured.
        suspects: probes that disagree with the others, the most improbable first. They hardly
            move the predictions, and all intervals are as wide as the doubt about them asks.
        half_width: median relative half-width of the 95% intervals of the ops not probed; 0 when
            all were.
    """

    table: LatencyTable
    source: str
    source_weights: dict[str, float]
    rank_correlation: dict[str, float]
    bound_by: dict[str, float]
    held_out_mape: float
    probes: int
    networks: int
    suspects: tuple[Suspect, ...]
    half_width: float


def transfer(
    sources: Sequence[LatencyTable | str | Path] | LatencyTable | str | Path,
    probes: LatencyTable | str | Path | None = None,
    networks: Sequence[NetworkProbe] | str | Path = (),
    setting: Mapping[str, str] | None = None,
) -> Transferred:
    """Predicts a device's table: ``proxyless-hw table transfer``.

    Args:
        sources: known tables of one metric, or their names or paths; or one. The first holds every
            probe, and the result has its ops. Each counts as far as it explains the probes.
        probes: a few ops measured on the new device, as a table; its setting becomes the result's.
        networks: whole networks measured on the new device, beside the probes or in their place; or
            the path of a CSV with the columns ``network,value``.
        setting: header lines of the new device (`NEW_DEVICE_KEYS`), where there are no `probes`.

    Raises:
        PredictorError: no source, too few probes, all probes equal, a probe that the first source
            lacks, different metrics, an input that is itself transferred, or a header line that
            cannot be set.
        TableError: no such table.

    Example:
        >>> import proxyless_hw as ph
        >>> table = ph.LatencyTable.load("note10")
        >>> measured = {op: table.entries[op] for op in ph.choose_probes(table, 10)}
        >>> found = ph.transfer("note10", ph.LatencyTable(measured, table.metadata, "probes"))
        >>> len(found.table) == len(table), found.probes
        (True, 10)
    """
    if probes is None and not networks:
        raise PredictorError(
            "a transfer needs measurements of the new device: give --probes TABLE (ops), "
            "--networks CSV (whole networks), or both."
        )
    _check_setting(setting or {}, probes is not None)
    named = [sources] if isinstance(sources, LatencyTable | str | Path) else sources
    known = [table_of(source) for source in named]
    check_sources(known)
    first = known[0]
    measured_ops = None if probes is None else table_of(probes)
    if isinstance(networks, str | Path):
        networks = read_network_probes(Path(networks), first)
    name = "networks"
    if measured_ops is not None:
        check_probes(first, measured_ops)
        name = measured_ops.name
    ops = list(first.entries)
    measured = measurements(ops, measured_ops, networks)
    _check_enough(first, measured, name)
    estimate = estimate_log_costs(ops, known, measured)
    names = [source.name for source in known]
    suspects = _suspects(measured_ops, networks, measured, estimate)
    by_source = [
        spearman(measured.log_value + errors, measured.log_value)
        for errors in estimate.held_out_by_source
    ]
    used = names[int(estimate.source_weights.argmax())]
    return Transferred(
        table=_table(known, used, measured_ops, networks, setting or {}, estimate, suspects),
        source=used,
        source_weights=dict(zip(names, estimate.source_weights.tolist(), strict=True)),
        rank_correlation=dict(zip(names, by_source, strict=True)),
        bound_by=estimate.bound_by,
        held_out_mape=_mape(estimate),
        probes=0 if measured_ops is None else len(measured_ops),
        networks=len(networks),
        suspects=suspects,
        half_width=_half_width(first, measured_ops, estimate),
    )


def _check_setting(setting: Mapping[str, str], has_probes: bool) -> None:
    """Checks header lines of the new device.

    Raises:
        PredictorError: the probes say them, or one cannot be set.
    """
    if setting and has_probes:
        raise PredictorError("--set is for --networks alone: the header of --probes says it.")
    for key in setting:
        if key not in NEW_DEVICE_KEYS:
            raise PredictorError(
                f"no header line '{key[:60]}' can be set: {', '.join(NEW_DEVICE_KEYS)} can."
                f"{did_you_mean(key, NEW_DEVICE_KEYS)}"
            )


def _mape(estimate: LogCosts) -> float:
    trusted = estimate.disturbed <= SUSPICIOUS
    if not trusted.any():
        trusted[:] = True  # all under some doubt: the figure is of all
    return float(np.abs(np.expm1(estimate.held_out[trusted])).mean())


def _suspects(
    probes: LatencyTable | None,
    networks: Sequence[NetworkProbe],
    measured: Measurements,
    estimate: LogCosts,
) -> tuple[Suspect, ...]:
    ops = [] if probes is None else list(probes.entries)
    what: list[tuple[str, OpSpec | None]] = [(op.key, op) for op in ops]
    what += [(each.name, None) for each in networks]
    ratios = np.exp(measured.log_value - measured.predicted(estimate.mean))
    found = [
        Suspect(name, op, float(ratio), float(probability))
        for (name, op), ratio, probability in zip(what, ratios, estimate.disturbed, strict=True)
        if probability > SUSPICIOUS
    ]
    return tuple(sorted(found, key=lambda suspect: -suspect.probability))


def _half_width(source: LatencyTable, probes: LatencyTable | None, estimate: LogCosts) -> float:
    unprobed = np.array([probes is None or op not in probes for op in source.entries])
    reach = (estimate.high - estimate.low)[unprobed] / 2
    return float(np.expm1(np.median(reach))) if len(reach) else 0.0


def check_sources(sources: Sequence[LatencyTable]) -> None:
    """Checks that tables can be transferred from.

    Raises:
        PredictorError: none, one twice, different metrics, one that is itself transferred, or one
            without ops.
    """
    if not sources:
        raise PredictorError("a transfer needs a source table: received none.")
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise PredictorError(f"each source counts once: '{name}' is given more than once.")
    for source in sources:
        _check_measured_here(source)
        _check_metric(sources[0], source)
        if not len(source) and source is not sources[0]:
            raise PredictorError(
                f"a source holds ops and what they cost: '{source.name}' is empty."
            )


def check_probes(source: LatencyTable, probes: LatencyTable) -> None:
    """Checks that probes, however few, belong to a source.

    Raises:
        PredictorError: different metrics, probes that are themselves transferred, or a probe that
            the source lacks.
    """
    _check_measured_here(probes)
    _check_metric(source, probes)
    unknown = source.missing(probes.entries)
    if unknown:
        listed = "\n".join(f"  {op}" for op in unknown[:20])
        raise PredictorError(
            f"every probe must be an op of the (first) source: '{source.name}' lacks "
            f"{len(unknown)} of {len(probes)}:\n{listed}\n"
            f"Choose probes from it: proxyless-hw table probes --from {source.name}"
        )


def _check_measured_here(table: LatencyTable) -> None:
    if is_transferred(table):
        raise PredictorError(
            f"a transfer starts from measurements: '{table.name}' is itself transferred "
            f"({table.metadata.get('source', 'no source given')})."
        )


def _check_metric(source: LatencyTable, other: LatencyTable) -> None:
    if source.metric != other.metric:
        raise PredictorError(
            f"source and probes must measure one thing: '{source.name}' holds {source.metric} "
            f"({source.unit}), '{other.name}' {other.metric} ({other.unit})."
        )


def _check_enough(source: LatencyTable, measured: Measurements, name: str) -> None:
    values = np.exp(measured.log_value)
    if len(values) < MIN_PROBES:
        more = f"Choose ops: proxyless-hw table probes --from {source.name} -n 15"
        raise PredictorError(
            f"a transfer needs at least {MIN_PROBES} probes, ops or whole networks: received "
            f"{len(values)}. {more}; or time more networks."
        )
    if np.ptp(values) <= 1e-9 * values.max():
        raise PredictorError(
            f"probes that all cost the same say nothing: all of '{name}' costs "
            f"{values[0]:g} {source.unit}. Were they measured?"
        )


def _table(
    sources: Sequence[LatencyTable],
    used: str,
    probes: LatencyTable | None,
    networks: Sequence[NetworkProbe],
    setting: Mapping[str, str],
    estimate: LogCosts,
    suspects: Sequence[Suspect],
) -> LatencyTable:
    first = sources[0]
    measured = {} if probes is None else probes.entries
    doubtful = {suspect.op for suspect in suspects}
    entries: dict[OpSpec, Entry] = {}
    bounds = np.exp(np.array([estimate.low, estimate.mean, estimate.high])).T.tolist()
    for op, (low, value, high) in zip(first.entries, bounds, strict=True):
        probe = measured.get(op)
        if probe is None:
            entries[op] = Entry(value, ci_low=low, ci_high=high)
        else:
            entries[op] = _with_doubt(probe, low, high) if op in doubtful else probe
    given = setting if probes is None else probes.metadata
    metadata = {"metric": first.metric, "unit": first.unit}
    metadata |= {key: given[key] for key in NEW_DEVICE_KEYS if key in given}
    if first.num_classes is not None:
        metadata["num_classes"] = str(first.num_classes)
    for key in ("space", "resolutions"):
        if key in first.metadata:
            metadata[key] = first.metadata[key]
    metadata["statistic"] = TRANSFERRED
    metadata["source"] = _source_line(sources, probes, networks)
    if measured:
        metadata["probes"] = " ".join(op.key for op in measured)
    metadata["transferred_from"] = used
    metadata["probes_held_out_mape"] = f"{_mape(estimate):.4f}"
    if doubtful - {None}:
        metadata["suspicious_probes"] = " ".join(each.name for each in suspects if each.op)
    name = "networks" if probes is None else probes.name
    return LatencyTable(entries, metadata, f"{name} from {used}")


def _source_line(
    sources: Sequence[LatencyTable],
    probes: LatencyTable | None,
    networks: Sequence[NetworkProbe],
) -> str:
    known = ", ".join(
        f"'{source.name}' ({source.metadata.get('device', 'device unknown')})" for source in sources
    )
    by = [] if probes is None else [f"{len(probes)} probes of '{probes.name}'"]
    by += [f"{len(networks)} whole networks"] if networks else []
    return f"transferred by proxyless-hw {__version__} from {known} with {' and '.join(by)}"


def _with_doubt(probe: Entry, low: float, high: float) -> Entry:
    """A suspicious measurement, with an interval that holds what the other probes say as well."""
    bounds = [probe.value, low, high]
    bounds += [bound for bound in (probe.ci_low, probe.ci_high) if bound is not None]
    return replace(probe, ci_low=min(bounds), ci_high=max(bounds))
