"""The closed loop: measure finalists on the device, correct, derive again, measure the winner.

Target, prediction and measurement are compared at the speed that the machine had when the table
was made. Several finalists together correct the prediction; a single one does not. A large
correction is not made, because the table then does not fit whole networks and has to be calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.measured import (
    at_table_speed,
    measure_for,
    measuring_for,
)
from proxyless_hw.predictors.verdict import Verification, verification_of
from proxyless_hw.predictors.verify import VERIFY_GOAL
from proxyless_hw.profilers.protocol.measurement import Measurement
from proxyless_hw.profilers.protocol.statistics import middle_of
from proxyless_hw.search.calibrate import FINALISTS_SHARE, WINNER_SHARE
from proxyless_hw.search.context import Context
from proxyless_hw.search.derive import Derived
from proxyless_hw.search.finalists import (
    LEAST_FINALISTS,
    MEASURED_FINALISTS,
    Finalist,
    derive_finalists,
    log_p,
    rank,
)
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.search.prepare import Problem
from proxyless_hw.search.state import SearchState
from proxyless_hw.search.verification import (
    MeasuredNetwork,
    SearchVerification,
    VerificationRound,
)

CLOSE_ENOUGH: Final = 0.01
"""A correction smaller than this is not worth deriving again for."""
LARGEST_CORRECTION: Final = 0.10
"""A correction larger than this says that the table does not fit whole networks."""
AIM: Final = 0.995
"""The middle of the window that the derivation fills, as a fraction of the target."""
KEPT_SHARE: Final = 0.5
"""Share of the slots at their most probable choice that deriving again has to keep."""


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
        # An interval that begins at 0 is of a single visit: nothing is known of its width.
        half_widths = np.array(
            [np.log(high / low) / 2 if low > 0 else np.inf for _, low, high in triples]
        )
        middle, half_width = middle_of(logs, half_widths)
        # All were measured beside the same anchors, whose error the median keeps.
        half_width = max(half_width, float(np.min(half_widths)) / 2)
        low, high = middle - half_width, middle + half_width
        return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))

    def record(self) -> VerificationRound:
        """What result.json keeps of it."""
        networks = []
        for predicted, item in zip(self.predicted, self.measured, strict=True):
            value, low, high = at_table_speed(item)
            networks.append(
                MeasuredNetwork(
                    predicted=predicted, measured=value, interval=(low, high), unit=item.unit
                )
            )
        return VerificationRound(correction=self.correction, networks=tuple(networks))


def verify_search(
    state: SearchState,
    finalists: list[Finalist],
    context: Context,
    observer: SearchObserver,
) -> tuple[list[Finalist], SearchVerification]:
    """Measures finalists, corrects the prediction, derives again and measures the winner.

    Returns:
        The finalists of the last derivation, the winner first, and the verification.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
    """
    problem = context.problem
    some = _several(state, finalists, context)
    title = f"measuring {len(some)} derived networks"
    measured = _measure(some, FINALISTS_SHARE, title, context, observer)
    first = _Round(1.0, [item.derived.costs[0] for item in some], measured)
    correction, low, high = first.ratio
    certain = len(some) >= LEAST_FINALISTS and (low > 1 or high < 1)
    failure = _failure(correction, low, high, problem) if certain else None
    if failure is None and certain and abs(correction - 1) > CLOSE_ENOUGH:
        observer.note(f"whole networks cost {correction:.3f} of the table's sum: deriving again")
        again, failure = _derive_again(state, finalists, context, correction)
        finalists = finalists if failure else again
    if failure is not None or not certain:
        correction = 1.0
    final = _measure(finalists[:1], WINNER_SHARE, "measuring the winner", context, observer)[0]
    table_sum = finalists[0].derived.costs[0]
    verification = verification_of(problem.target, table_sum * correction, final)
    return finalists, _found(
        verification,
        problem,
        table_sum=table_sum,
        correction=correction,
        failure=failure,
        rounds=(first.record(),),
    )


def _measure(
    networks: Sequence[Finalist],
    share: float,
    title: str,
    context: Context,
    observer: SearchObserver,
) -> list[Measurement]:
    """Measures networks within a share of the budget.

    It does so in a fresh process: one that holds a supernet and torch's threads measures a percent
    or two slower.
    """
    table, budget_s = context.problem.table, share * context.config.verify_budget
    title = f"{title}, up to {budget_s:.0f} s"
    observer.note(title)
    with observer.phase(title):
        return measure_for(
            table,
            measuring_for(table, budget_s=budget_s, goal=VERIFY_GOAL),
            archs=[item.arch for item in networks],
            fresh=True,
        )


def _several(state: SearchState, finalists: list[Finalist], context: Context) -> list[Finalist]:
    """The finalists to measure; more are derived where the search asked for fewer than three."""
    if len(finalists) >= LEAST_FINALISTS:
        return finalists[:MEASURED_FINALISTS]
    costs = [constraint.costs for constraint in context.constraints]
    targets = [constraint.target for constraint in context.constraints]
    found = derive_finalists(state.supernet, costs, targets, LEAST_FINALISTS, context.constrained)
    return rank(state.supernet, found, context.problem, context.data, context.device, context.task)


def _failure(ratio: float, at_least: float, at_most: float, problem: Problem) -> str | None:
    """Why a correction is not made; None where it may be, or where the noise decides nothing."""
    low, high = problem.constraints[0].costs.range
    unit, in_ms = problem.unit, problem.unit == "ms"
    if at_least > 1 + LARGEST_CORRECTION or at_most < 1 / (1 + LARGEST_CORRECTION):
        below, above = ("fast", "slow") if in_ms else ("low", "high")
        word, factor = (below, ratio) if ratio > 1 else (above, 1 / ratio)
        way_on = (
            f"calibrate it (proxyless-hw validate --table {problem.table.name} --space "
            f"{problem.space.id} --calibrate)"
            if in_ms
            else f"profile it again (proxyless-hw profile --metric {problem.table.metric})"
        )
        return (
            f"the table is {factor:.3g} times too {word} for whole networks: {way_on} and search "
            "again."
        )
    if (at_least > 1 or at_most < 1) and not low <= problem.target * AIM / ratio <= high:
        return (
            f"corrected by the measured factor {ratio:.3f}, the target leaves what the space can "
            f"reach ({low:.4g} to {high:.4g} {unit} by the table). Choose another "
            f"{'--target-ms' if in_ms else '--target'}."
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
        f"slots instead of {learned:.0%}: the search was for another range of costs. Search "
        "again: with a calibrated table, or for a target divided by the factor."
    )


def _derive_again(
    state: SearchState, finalists: list[Finalist], context: Context, correction: float
) -> tuple[list[Finalist], str | None]:
    """Finalists for the corrected target, and why they are not taken; None where they are."""
    try:
        again = _derive_corrected(state, context, correction)
    except SearchError as error:  # the run is trained and keeps what it has found
        return [], f"corrected by the measured factor {correction:.3f}, {error}"
    return again, _forgets(state, finalists[0].derived, again[0].derived)


def _derive_corrected(state: SearchState, context: Context, correction: float) -> list[Finalist]:
    """Derives for the target divided by the correction, as if every cost were multiplied by it.

    Raises:
        SearchError: the corrected window is empty.
    """
    problem = context.problem
    costs = [constraint.costs for constraint in problem.constraints]
    targets = [problem.target / correction]
    targets += [constraint.target for constraint in problem.constraints[1:]]
    low, high = costs[0].range
    targets[0] = min(max(targets[0], low), high / AIM)
    found = derive_finalists(state.supernet, costs, targets, context.config.finalists)
    return rank(state.supernet, found, problem, context.data, context.device, context.task)


def _found(
    verification: Verification,
    problem: Problem,
    *,
    table_sum: float,
    correction: float,
    failure: str | None,
    rounds: tuple[VerificationRound, ...],
) -> SearchVerification:
    """The verification of the winner with what led to it."""
    measured = verification.measured
    speed = measured.table_speed
    value, low, high = verification.decisive
    return SearchVerification(
        name=verification.name,
        unit=verification.unit,
        target=verification.target,
        predicted=verification.predicted,
        measured=value,
        interval=(low, high),
        raw_measured=measured.median,
        raw_interval=(measured.ci_low, measured.ci_high),
        table_speed=None if speed is None else speed.median,
        table_speed_interval=None if speed is None else (speed.ci_low, speed.ci_high),
        machine_speed=None if speed is None else speed.machine_speed,
        table_sum=table_sum,
        correction=correction,
        verdict="missed" if failure else verification.verdict,
        sentence=verification.sentence(),
        failure=failure,
        rounds=rounds,
        device=problem.table.metadata.get("device", ""),
        resolution=problem.resolution,
        num_classes=problem.num_classes,
    )
