"""The closed loop: measure finalists on the device, correct, derive again, measure the winner.

Target T, predicted P, measured M with intervals, all at the speed that the machine had when its
table was made. The prediction is corrected by what several finalists show together, never by one.
A correction that is large is not made: then the table does not fit whole networks, and the way on
is to calibrate it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.calibration import fit_calibration, save_calibration
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.measured import (
    at_table_speed,
    measure_calibration_networks,
    measure_for,
    measuring_for,
    settings_of,
)
from proxyless_hw.predictors.verdict import TOLERANCE, Verification, verification_of
from proxyless_hw.predictors.verify import VERIFY_GOAL
from proxyless_hw.profilers.command_recorded import tell_command
from proxyless_hw.profilers.environment import host_device
from proxyless_hw.profilers.measurement import Measurement
from proxyless_hw.profilers.statistics import middle_of
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.data import DataSplits
from proxyless_hw.search.derive import Derived
from proxyless_hw.search.finish import Finalist, derive_finalists, log_p, rank
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.state import SearchState
from proxyless_hw.search.steps import Context
from proxyless_hw.space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

CLOSE_ENOUGH: Final = 0.01
"""A correction smaller than this is not worth deriving again for."""
LARGEST_CORRECTION: Final = 0.10
"""A correction larger than this says that the table does not fit whole networks."""
MEASURED_FINALISTS: Final = 6
LEAST_FINALISTS: Final = 3
AIM: Final = 0.995
"""The middle of the window that the derivation fills, as a fraction of the target."""
KEPT_SHARE: Final = 0.5
"""Share of the slots at their most probable choice that deriving again has to keep."""
CALIBRATION_NETWORKS: Final = 16
CALIBRATION_SHARE: Final = 0.4
FINALISTS_SHARE: Final = 0.4
WINNER_SHARE: Final = 0.2
"""Shares of the budget of a verification."""


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
        tell_command(table.metadata, table.name)
        return
    raise SearchError(
        f"--verify measures on the table's device, and '{table.name}' was measured on '{device}' "
        f"({kind or 'unknown kind'}), not on this machine ({host_device()}). Profile this one: "
        "proxyless-hw profile --device cpu; or search without --verify, export, and measure there."
    )


def calibrate_first(config: SearchConfig, observer: SearchObserver) -> bool:
    """Calibrates a table for whole networks of the space before a search that will be verified.

    A calibration that is there already is used; so is one that was tried and failed, by going on
    without.

    Returns:
        Whether a calibration was made; the problem then has to be prepared again.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
    """
    table = LatencyTable.load(config.table)
    if not Path(config.table).is_file() or fit_predictor(table).calibration is not None:
        return False
    observer.note(
        f"the table has no calibration: measuring {CALIBRATION_NETWORKS} networks of the space, "
        f"up to {config.verify_budget * CALIBRATION_SHARE:.0f} s"
    )
    networks = measure_calibration_networks(
        table,
        SearchSpace.load(config.space),
        measuring_for(table, budget_s=config.verify_budget * CALIBRATION_SHARE),
        networks=CALIBRATION_NETWORKS,
        seed=config.seed,
        resolution=config.resolution,
        fresh=True,
    )
    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    path = save_calibration(config.table, calibration)
    observer.note(
        f"calibration kept: {path}; error on whole networks {calibration.loo_mape or 0:.1%}, each "
        "predicted from the others"
    )
    return True


@dataclass(frozen=True)
class _Round:
    """One derivation whose finalists were measured."""

    correction: float
    predicted: Sequence[float]
    measured: Sequence[Measurement]

    @property
    def ratio(self) -> tuple[float, float, float]:
        """What whole networks cost over what the table says of them, with its 95% interval."""
        triples = [at_table_speed(item) for item in self.measured]
        logs = np.log([triple[0] for triple in triples]) - np.log(self.predicted)
        half_widths = np.array([np.log(high / low) / 2 for _, low, high in triples])
        middle, half_width = middle_of(logs, half_widths)
        # All were measured beside the same anchors, whose error the median keeps.
        half_width = max(half_width, float(np.min(half_widths)) / 2)
        low, high = middle - half_width, middle + half_width
        return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))

    def to_dict(self) -> dict[str, Any]:
        return {
            "correction": self.correction,
            "networks": [
                {
                    "predicted_ms": value,
                    "measured_ms": at_table_speed(item)[0],
                    "interval_ms": list(at_table_speed(item)[1:]),
                }
                for value, item in zip(self.predicted, self.measured, strict=True)
            ],
        }


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
    """
    table, target, whole_s = problem.table, problem.target_ms, context.config.verify_budget
    some = _several(state, finalists, problem, context, data)
    observer.note(
        f"measuring {len(some)} derived networks, up to {whole_s * FINALISTS_SHARE:.0f} s"
    )
    # A process that holds a supernet and torch's threads measures a percent or two slower.
    measured = measure_for(
        table,
        measuring_for(table, budget_s=whole_s * FINALISTS_SHARE, goal=VERIFY_GOAL),
        archs=[item.arch for item in some],
        fresh=True,
    )
    first = _Round(1.0, [item.derived.costs[0] for item in some], measured)
    correction, low, high = first.ratio
    certain = len(some) >= LEAST_FINALISTS and (low > 1 or high < 1)
    failure = _failure(correction, low, high, problem) if certain else None
    if failure is None and certain and abs(correction - 1) > CLOSE_ENOUGH:
        observer.note(f"whole networks cost {correction:.3f} of the table's sum: deriving again")
        again, failure = _derive_again(state, finalists, problem, context, data, correction)
        finalists = finalists if failure else again
    if failure is not None or not certain:
        correction = 1.0
    observer.note(f"measuring the winner, up to {whole_s * WINNER_SHARE:.0f} s")
    final = measure_for(
        table,
        measuring_for(table, budget_s=whole_s * WINNER_SHARE, goal=VERIFY_GOAL),
        archs=[finalists[0].arch],
        fresh=True,
    )[0]
    table_ms = finalists[0].derived.costs[0]
    verification = verification_of(target, table_ms * correction, final)
    return finalists, _document(verification, table_ms, [first], correction, failure, problem)


def _several(
    state: SearchState,
    finalists: list[Finalist],
    problem: Problem,
    context: Context,
    data: DataSplits,
) -> list[Finalist]:
    """The finalists to measure; more are derived where the search asked for fewer than three."""
    if len(finalists) >= LEAST_FINALISTS:
        return finalists[:MEASURED_FINALISTS]
    costs = [constraint.costs for constraint in problem.constraints]
    targets = [constraint.target for constraint in problem.constraints]
    found = derive_finalists(
        state.supernet, costs, targets, LEAST_FINALISTS, context.config.objective != "none"
    )
    return rank(state.supernet, found, problem, context.config, data, context.device)


def _failure(ratio: float, at_least: float, at_most: float, problem: Problem) -> str | None:
    """Why a correction is not made; None where it may be, or where the noise decides nothing."""
    low, high = problem.constraints[0].costs.range
    if at_least > 1 + LARGEST_CORRECTION or at_most < 1 / (1 + LARGEST_CORRECTION):
        word, factor = ("fast", ratio) if ratio > 1 else ("slow", 1 / ratio)
        return (
            f"the table is {factor:.3g} times too {word} for whole networks: calibrate it "
            f"(proxyless-hw validate --table {problem.table.name} --space {problem.space.id} "
            "--calibrate) and search again."
        )
    if (at_least > 1 or at_most < 1) and not low <= problem.target_ms * AIM / ratio <= high:
        return (
            f"corrected by the measured factor {ratio:.3f}, the target leaves what the space can "
            f"reach ({low:.4g} to {high:.4g} ms by the table). Choose another --target-ms."
        )
    return None


def _forgets(state: SearchState, before: Derived, after: Derived) -> str | None:
    """Why a network derived again is not taken: it gives up what the search has learned."""
    best = np.argmax(log_p(state.supernet), axis=1)
    learned = float(np.mean(np.array(before.choices) == best))
    kept = float(np.mean(np.array(after.choices) == best))
    if kept >= KEPT_SHARE * learned:
        return None
    return (
        f"deriving for the corrected target keeps the most probable choice in {kept:.0%} of the "
        f"slots instead of {learned:.0%}: the search was for another range of latency. Search "
        "again now that the table is calibrated."
    )


def _derive_again(
    state: SearchState,
    finalists: list[Finalist],
    problem: Problem,
    context: Context,
    data: DataSplits,
    correction: float,
) -> tuple[list[Finalist], str | None]:
    """Finalists for the corrected target, and why they are not taken; None where they are."""
    try:
        again = _derive_corrected(state, problem, context, data, correction)
    except SearchError as error:  # the run is trained and keeps what it has found
        return [], f"corrected by the measured factor {correction:.3f}, {error}"
    return again, _forgets(state, finalists[0].derived, again[0].derived)


def _derive_corrected(
    state: SearchState, problem: Problem, context: Context, data: DataSplits, correction: float
) -> list[Finalist]:
    """Derives with every latency multiplied by the correction: the target divided by it.

    Raises:
        SearchError: the corrected window is empty.
    """
    costs = [constraint.costs for constraint in problem.constraints]
    targets = [problem.target_ms / correction]
    targets += [constraint.target for constraint in problem.constraints[1:]]
    low, high = costs[0].range
    targets[0] = min(max(targets[0], low), high / AIM)
    config = context.config
    found = derive_finalists(state.supernet, costs, targets, config.finalists)
    return rank(state.supernet, found, problem, config, data, context.device)


def _document(
    verification: Verification,
    table_ms: float,
    rounds: Sequence[_Round],
    correction: float,
    failure: str | None,
    problem: Problem,
) -> dict[str, Any]:
    value, low, high = verification.decisive
    document = verification.to_dict()
    document |= {
        "table_ms": table_ms,
        "correction": correction,
        "measured_ms": value,
        "interval_ms": [low, high],
        "raw_measured_ms": verification.measured.median,
        "verdict": "missed" if failure else verification.verdict,
        "agrees": verification.verdict == "agrees" and failure is None,
        "sentence": verification.sentence(),
        "failure": failure,
        "tolerance": TOLERANCE,
        "rounds": [item.to_dict() for item in rounds],
        "device": problem.table.metadata.get("device", ""),
        "resolution": problem.resolution,
        "num_classes": problem.num_classes,
    }
    return document


def disagreement(document: dict[str, Any]) -> str:
    """The message for a search whose measurement misses its target, or decides nothing."""
    return str(document.get("failure") or document["sentence"])


__all__ = [
    "SearchError",
    "calibrate_first",
    "check_device_is_here",
    "disagreement",
    "verify_search",
]
