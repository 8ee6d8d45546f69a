"""A finished measurement of ops as a latency table with its header."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from proxyless_hw._version import __version__
from proxyless_hw.profilers.host.environment import affinity, load, package_version
from proxyless_hw.profilers.models.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.protocol.drift import Round
from proxyless_hw.profilers.protocol.quality import quality_block, repeat_agreement
from proxyless_hw.profilers.protocol.sessions import MeasurementJob
from proxyless_hw.profilers.protocol.statistics import middle_of
from proxyless_hw.profilers.protocol.timing import Estimate, TimingConfig, estimates
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.anchors import ANCHORS_KEY, anchors_of, choose_anchors, format_anchors
from proxyless_hw.tables.table import Entry, LatencyTable

OVERHEAD_KEY: Final = "call_overhead_ms"
"""Header: the runtime's cost of a call, as a model that does nothing shows it."""

LEAST_SHARE: Final = 0.1
"""Share of an op's time that stays whatever a call costs."""

if TYPE_CHECKING:
    from proxyless_hw.profilers.profile import ProfileConfig


def profiled_table(
    config: ProfileConfig,
    space: SearchSpace,
    job: MeasurementJob,
    description: Mapping[str, str],
    rounds: Sequence[Round],
    ops: Sequence[OpSpec],
    base: LatencyTable | None,
) -> LatencyTable:
    """Makes the table of a finished measurement.

    Args:
        config: what was asked for.
        space: the search space.
        job: what was measured, and how.
        description: what the device says of itself.
        rounds: the raw record.
        ops: the ops that become rows; the other targets are anchors of `base`.
        base: the table whose gaps are filled; None for a new one.
    """
    timing = job.timing
    found = {item.name: item for item in estimates(rounds, job.targets, timing)}
    measured = [found[op.key] for op in ops]
    repeats = repeat_agreement(rounds, [op.key for op in ops], timing, job.parts)
    resolutions = config.resolutions or (space.resolution,)
    called = {op: entry_of(item) for op, item in zip(ops, measured, strict=True)}
    overhead = _call_overhead(found.get(IDENTITY.name), base)
    entries = {op: _within_network(op, entry, overhead) for op, entry in called.items()}
    metadata = {} if base is None else dict(base.metadata)
    metadata.update(description)
    metadata.update(
        {
            "space": space.id,
            "resolutions": " ".join(map(str, resolutions)),
            **({} if space.in_channels == 3 else {"input_channels": str(space.in_channels)}),
            "num_classes": str(config.num_classes or space.num_classes),
            "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "protocol": protocol_line(timing),
            **({} if timing.exact else {"reference_op": REFERENCE_OP.key}),
            # A phone or a tool's board is elsewhere: this machine's state says nothing of it.
            **({"affinity": affinity(), "load": load()} if in_process(description) else {}),
            "versions": f"torch {package_version('torch')}, onnx {package_version('onnx')}, "
            f"numpy {package_version('numpy')}",
            "source": f"{'estimated through' if timing.exact else 'measured by'} proxyless-hw "
            f"{__version__}",
            **quality_block(measured, rounds, found.get(IDENTITY.name), repeats, timing),
        }
    )
    if timing.exact:  # no machine has a speed here: there is nothing to anchor
        rows = {**(base.entries if base else {}), **entries}
        return LatencyTable(rows, metadata, str(config.output))
    if overhead and base is None:
        metadata[OVERHEAD_KEY] = f"{overhead:.6f} taken off every op but the classifier"
    if base is None:
        metadata[ANCHORS_KEY] = format_anchors(choose_anchors(called))
        return LatencyTable(entries, metadata, str(config.output))
    then = anchors_of(base) or choose_anchors(base.entries)
    level, half_width = _level_of(then, found)
    added = {op: _at_speed(entry, -level, half_width) for op, entry in entries.items()}
    joined = {**base.entries, **added}
    metadata.setdefault(ANCHORS_KEY, format_anchors(then))
    metadata["filled"] = (
        f"{len(added)} ops added at the table's speed, measured when the machine ran at "
        f"{np.exp(-level):.3f} of it; the quality block is theirs"
    )
    return LatencyTable(joined, metadata, str(config.output))


def in_process(description: Mapping[str, str]) -> bool:
    """Whether runners are built in this process (and not on a phone or by a command)."""
    return description.get("device_kind") in ("cpu", "gpu")


def _level_of(then: Mapping[OpSpec, float], found: Mapping[str, Estimate]) -> tuple[float, float]:
    """Log of what the anchors of a table cost now to what they cost then, with its half-width."""
    items = [found[op.key] for op in then]
    now = np.array([np.log(item.interval.estimate) for item in items])
    return middle_of(now - np.log(list(then.values())), np.array([item.own for item in items]))


def _call_overhead(identity: Estimate | None, base: LatencyTable | None) -> float:
    """What a call of the runtime costs, where it is taken off: 0 where a base table keeps it."""
    if identity is None or (base is not None and OVERHEAD_KEY not in base.metadata):
        return 0.0
    return identity.interval.estimate


def _within_network(op: OpSpec, entry: Entry, overhead: float) -> Entry:
    """A row as the op adds to a network, which is called once: its last layer keeps the call."""
    if op.op == "classifier":
        return entry
    taken = min(overhead, (1 - LEAST_SHARE) * min(entry.value, entry.min or entry.value))
    names = ("value", "ci_low", "ci_high", "p90", "min")
    values = {name: getattr(entry, name) for name in names}
    shifted = {name: max(0.0, value - taken) for name, value in values.items() if value is not None}
    return replace(entry, **shifted)


def _at_speed(entry: Entry, log_factor: float, half_width: float) -> Entry:
    """A row at another speed of the machine.

    Args:
        entry: the row.
        log_factor: log of the cost there to the cost here.
        half_width: its 95% half-width, which the row's interval then contains.
    """
    names = ("value", "ci_low", "ci_high", "p90", "min")
    values = {name: getattr(entry, name) for name in names}
    scaled = {
        name: value * math.exp(log_factor) for name, value in values.items() if value is not None
    }
    value = scaled["value"]
    if "ci_high" in scaled:
        upper = math.hypot(math.log(scaled["ci_high"] / value), half_width)
        scaled["ci_high"] = value * math.exp(upper)
    if scaled.get("ci_low", 0.0) > 0:
        lower = math.hypot(math.log(value / scaled["ci_low"]), half_width)
        scaled["ci_low"] = value * math.exp(-lower)
    return replace(entry, **scaled)


def protocol_line(timing: TimingConfig) -> str:
    """The protocol in one header line."""
    if timing.exact:
        return (
            "a compiler's estimate, the same each time: one compilation per op, intervals of zero "
            f"width, seed {timing.seed}"
        )
    correction = "at undisturbed speed" if timing.correct_drift else "not corrected"
    return (
        f"interleaved passes in random order, reference every {timing.segment} ops, {correction}, "
        f"two-way fit of session medians, 95% intervals over visits and sessions, "
        f"goal {timing.goal:g}, seed {timing.seed}"
    )


def entry_of(estimate: Estimate) -> Entry:
    """The table row of an estimate."""
    value = estimate.interval
    counts = {"rounds": estimate.rounds, "samples": estimate.samples}
    return Entry(value.estimate, value.low, value.high, estimate.p90, estimate.min, **counts)
