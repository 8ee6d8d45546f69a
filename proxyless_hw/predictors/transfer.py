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
    log_work,
)
from proxyless_hw.predictors.provenance import TRANSFERRED, is_transferred
from proxyless_hw.predictors.regression import CostModel
from proxyless_hw.predictors.scores import spearman
from proxyless_hw.specs import OpSpec
from proxyless_hw.tables.table import SETTING_KEYS, Entry, LatencyTable

FloatArray = NDArray[np.float64]

MIN_PROBES: Final = 3
MIN_PROBES_TO_TUNE: Final = 8
"""With fewer probes the terms keep their default spread: there is too little to choose it by."""

MIN_PROBES_FOR_RATES: Final = 5
"""With fewer probes the rates of the baseline are hardly determined."""

NORMAL_95: Final = 1.959964
"""Half-width of a 95% interval in standard deviations."""


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
    misses = [float(np.abs(each.held_out_source).mean()) for each in estimates]
    best = max(range(len(sources)), key=lambda i: (round(correlations[i], 2), -misses[i]))
    names = [source.name for source in sources]
    return Transferred(
        table=_table(sources[best], probes, estimates[best]),
        source=names[best],
        rank_correlation=dict(zip(names, correlations, strict=True)),
        held_out_mape=_mape(estimates[best]),
        probes=len(ops),
    )


@dataclass(frozen=True)
class LogCosts:
    """Log cost on the target of every op of a source.

    Attributes:
        mean: (n,).
        deviation: standard deviations, (n,).
        held_out: predicted minus measured log cost of each probe, from the other probes, (k,).
        held_out_source: the same where only the source is adapted, (k,).
    """

    mean: FloatArray
    deviation: FloatArray
    held_out: FloatArray
    held_out_source: FloatArray


def estimate_log_costs(
    source: LatencyTable, probes: Sequence[OpSpec], log_target: FloatArray
) -> LogCosts:
    """Adapts a source's costs to the target's probes.

    The mean of three estimates: one starts from the source's costs, one from the work that ops
    do, and one is the regression's baseline fitted to the probes (for the ops it can tell). The
    first knows how devices treat sizes and channels, the others do not inherit what only the
    source does, and the last is hardly moved by a single wrong probe.

    Args:
        source: holds every probe.
        probes: distinct ops, at least 3.
        log_target: their log cost on the target, (k,).
    """
    ops = list(source.entries)
    log_source = log_values([entry.value for entry in source.entries.values()])
    row = {op: number for number, op in enumerate(ops)}
    at = np.array([row[op] for op in probes], dtype=np.intp)
    from_source = adapt(ops, log_source, at, log_target)
    from_work = adapt(ops, log_work(ops), at, log_target)
    others = (from_source.mean + from_work.mean) / 2
    from_rates = _rates(probes, log_target, ops, others)
    held_out = (from_source.held_out + from_work.held_out) / 2
    estimates = np.array([from_source.mean, from_work.mean, from_rates])
    own = (from_source.deviation**2 + from_work.deviation**2) / 2
    return LogCosts(
        estimates.mean(0),
        # A mixture's variance: that of its parts, and how far they disagree.
        np.sqrt(own + estimates.var(0)),
        (2 * held_out + _held_out_rates(probes, log_target, held_out)) / 3,
        from_source.held_out,
    )


def _rates(
    probes: Sequence[OpSpec], log_target: FloatArray, ops: Sequence[OpSpec], others: FloatArray
) -> FloatArray:
    """Log cost by rates fitted to the probes; `others` for what they do not determine."""
    if len(probes) < MIN_PROBES_FOR_RATES:
        return others
    model = CostModel("baseline").fit(probes, np.exp(log_target))
    told = np.array([i for i, op in enumerate(ops) if model.can_tell(op)], dtype=np.intp)
    estimate = others.copy()
    if len(told):
        estimate[told] = model.predict_log([ops[i] for i in told])[0]
    return estimate


def _held_out_rates(
    probes: Sequence[OpSpec], log_target: FloatArray, others: FloatArray
) -> FloatArray:
    """As `LogCosts.held_out`, for the rates; each probe from the rest."""
    errors = np.empty(len(probes))
    for left_out, op in enumerate(probes):
        kept = [probe for number, probe in enumerate(probes) if number != left_out]
        other = others[[left_out]] + log_target[left_out]
        estimate = _rates(kept, np.delete(log_target, left_out), [op], other)
        errors[left_out] = estimate[0] - log_target[left_out]
    return errors


def adapt(
    ops: Sequence[OpSpec], log_start: FloatArray, at: NDArray[np.intp], log_target: FloatArray
) -> LogCosts:
    """Adapts a first guess of log costs to measured ones, by families of ops.

    Args:
        ops: the ops, (n,).
        log_start: the first guess, (n,).
        at: which ops were measured, (k,).
        log_target: their log cost, (k,).
    """
    log_ratio = log_target - log_start[at]
    kernel = OpKernel(ops, log_start)
    spread = Spread()
    if len(at) >= MIN_PROBES_TO_TUNE:
        spread = fit_spread(kernel, at, log_ratio)
    mean, deviation = condition(kernel, spread, at, log_ratio)
    error, expected = leave_one_out(kernel, spread, at, log_ratio)
    # Never surer than the probes allow when each is predicted from the others.
    surprise = max(1.0, float(np.sqrt(np.mean((error / expected) ** 2))))
    return LogCosts(log_start + mean, surprise * deviation, -error, -error)


def _mape(estimate: LogCosts) -> float:
    return float(np.abs(np.expm1(estimate.held_out)).mean())


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
    metadata["probes_held_out_mape"] = f"{_mape(estimate):.4f}"
    return LatencyTable(entries, metadata, f"{probes.name} from {source.name}")
