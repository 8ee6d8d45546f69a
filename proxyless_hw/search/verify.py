"""The closed loop: measure finalists on the device, correct, derive again, measure the winner.

Target T, predicted P, measured M with intervals; the search fails when M's interval misses T by
more than 3%.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from proxyless_hw.errors import SearchError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.command_recorded import recorded_options
from proxyless_hw.profilers.environment import host_device
from proxyless_hw.profilers.networks import Measured, measure_in_fresh_process
from proxyless_hw.profilers.timing import TimingConfig
from proxyless_hw.search.data import DataSplits
from proxyless_hw.search.derive import Derived
from proxyless_hw.search.finish import Finalist, derive_finalists, rank
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.state import SearchState
from proxyless_hw.search.steps import Context
from proxyless_hw.tables.table import LatencyTable

TOLERANCE = 0.03
"""How far the measured interval may miss the target."""
CLOSE_ENOUGH = 0.005
"""A correction smaller than this is not worth deriving again for."""
MAX_CORRECTIONS = 3
MEASURED_FINALISTS = 6
FINAL_SESSIONS = 3
"""Times the winner is built: its interval then contains what building it again changes."""


def settings_of(table: LatencyTable) -> tuple[str, ProfilerSettings]:
    """Device kind and settings under which a table was measured.

    Raises:
        SearchError: the table's device cannot be measured from here.
    """
    header = table.metadata
    kind = header.get("device_kind", "")
    settings = ProfilerSettings(
        runtime=header.get("runtime"),
        threads=int(header.get("threads", "1")),
        batch_size=int(header.get("batch_size", "1")),
        precision=header.get("precision", "fp32"),  # type: ignore[arg-type]
        options=recorded_options(header),
    )
    return kind, settings


def check_device_is_here(table: LatencyTable) -> None:
    """Checks, before any training, that the table's device is this one.

    Raises:
        SearchError: it is another; the message says what to do instead.
        BackendUnavailableError: its device or runtime cannot be reached from here.
    """
    kind, device = table.metadata.get("device_kind", ""), table.metadata.get("device", "")
    if kind == "cpu" and device == host_device():
        return
    if kind in ("gpu", "mobile", "command"):
        from proxyless_hw.profilers.registry import get_profiler

        get_profiler(*settings_of(table)).describe()
        return
    raise SearchError(
        f"--verify measures on the table's device, and '{table.name}' was measured on '{device}' "
        f"({kind or 'unknown kind'}), not on this machine ({host_device()}). Profile this one: "
        "proxyless-hw profile --device cpu; or search without --verify, export, and measure there."
    )


def verify_search(
    state: SearchState,
    finalists: list[Finalist],
    problem: Problem,
    context: Context,
    data: DataSplits,
    observer: SearchObserver,
) -> tuple[list[Finalist], dict[str, Any]]:
    """Measures finalists, corrects the prediction by what they show, derives again, measures.

    Returns:
        The finalists of the last derivation, the winner first, and the verification for
        result.json.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
        SearchError: the corrected window is empty.
    """
    kind, settings = settings_of(problem.table)
    target = problem.target_ms
    rounds: list[dict[str, Any]] = []
    correction = 1.0
    for attempt in range(MAX_CORRECTIONS):
        some = finalists[:MEASURED_FINALISTS] if attempt == 0 else finalists[:1]
        observer.note(f"measuring {len(some)} derived network(s) on {kind}")
        # A process that holds a supernet and torch's threads measures a percent or two slower.
        measured = measure_in_fresh_process(
            archs=[item.arch for item in some],
            settings=settings,
            device=kind,
            timing=TimingConfig(goal=0.005),
        )
        predicted = [item.derived.costs[0] for item in some]
        rounds.append(_round(predicted, measured, correction))
        winner = measured[0].median_ms
        ratio = statistics.median(
            item.median_ms / value for item, value in zip(measured, predicted, strict=True)
        )
        if abs(winner / target - 1) <= CLOSE_ENOUGH:
            break
        correction = ratio if attempt == 0 else correction * winner / (target * AIM)
        finalists = _derive_corrected(state, problem, context, data, correction)
    final = measure_in_fresh_process(
        archs=[finalists[0].arch],
        settings=settings,
        device=kind,
        timing=TimingConfig(goal=0.005),
        sessions=FINAL_SESSIONS,
    )[0]
    return finalists, _document(final, finalists[0].derived, target, rounds, correction, problem)


AIM = 0.995
"""The middle of the window that the derivation fills, as a fraction of the target."""


def _derive_corrected(
    state: SearchState, problem: Problem, context: Context, data: DataSplits, correction: float
) -> list[Finalist]:
    """Derives with every latency multiplied by the correction: the target divided by it."""
    costs = [constraint.costs for constraint in problem.constraints]
    targets = [problem.target_ms / correction]
    targets += [constraint.target for constraint in problem.constraints[1:]]
    low, high = costs[0].range
    targets[0] = min(max(targets[0], low), high)
    config = context.config
    found = derive_finalists(state.supernet, costs, targets, config.finalists)
    return rank(state.supernet, found, problem, config, data, context.device)


def _round(
    predicted: Sequence[float], measured: Sequence[Measured], correction: float
) -> dict[str, Any]:
    return {
        "correction": correction,
        "networks": [
            {
                "predicted_ms": value,
                "measured_ms": item.median_ms,
                "interval_ms": [item.ci_low_ms, item.ci_high_ms],
            }
            for value, item in zip(predicted, measured, strict=True)
        ],
    }


def _document(
    final: Measured,
    derived: Derived,
    target: float,
    rounds: list[dict[str, Any]],
    correction: float,
    problem: Problem,
) -> dict[str, Any]:
    low, high = final.ci_low_ms, final.ci_high_ms
    return {
        "target_ms": target,
        "table_ms": derived.costs[0],
        "predicted_ms": derived.costs[0] * correction,
        "correction": correction,
        "measured_ms": final.median_ms,
        "interval_ms": [low, high],
        "agrees": agrees(target, low, high),
        "tolerance": TOLERANCE,
        "rounds": rounds,
        "device": problem.table.metadata.get("device", ""),
        "resolution": problem.resolution,
        "num_classes": problem.num_classes,
    }


def agrees(target: float, low: float, high: float) -> bool:
    """Whether a measured interval comes within 3% of the target."""
    return low <= target * (1 + TOLERANCE) and high >= target * (1 - TOLERANCE)


def disagreement(document: dict[str, Any]) -> str:
    """The message for a search whose measurement misses its target."""
    low, high = document["interval_ms"]
    return (
        f"target {document['target_ms']:.4g} ms, predicted {document['predicted_ms']:.4g} ms, "
        f"measured {document['measured_ms']:.4g} ms (95% interval {low:.4g} to {high:.4g} ms): "
        f"the measured interval misses the target by more than {TOLERANCE:.0%}. The machine may "
        "have been busy, or the table is stale: profile again, then search with --verify again."
    )
