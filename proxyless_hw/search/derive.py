"""Deriving the final network: an exact integer program over one choice per slot.

maximise sum of log p  subject to  0.99 T <= latency <= T  (scipy's HiGHS), K best by cutting off
each solution found. Several constraints: every cost stays at or under its target, and at least
one lies in its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import ArrayLike

from proxyless_hw.errors import InfeasibleTargetError, SearchError
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.search.program import Array, Program
from proxyless_hw.storage.documents import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 0.99
"""The lower edge of the accepted window, as a fraction of the target."""

SLACK = 1e-9
"""How far, relatively, a target may miss a bound and still be taken for it."""

ROW_SUM_ERROR = 1e-3
"""How far the probabilities of a slot may be from a sum of 1 (float16 or float32 softmax)."""


class HasCosts(Protocol):
    """What holds a cost table; `ExpectedLatency` does."""

    costs: CostTable


@dataclass(frozen=True, slots=True)
class Derived:
    """One solution of the integer program.

    Attributes:
        choices: one candidate per slot.
        log_probability: sum of log p over the slots.
        costs: its cost under each constraint, in their order.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.Derived(choices=(0, 2), log_probability=-1.5, costs=(4.0,)).costs
        (4.0,)
    """

    choices: tuple[int, ...]
    log_probability: float
    costs: tuple[float, ...]

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        return {
            "choices": list(self.choices),
            "log_probability": self.log_probability,
            "costs": list(self.costs),
        }

    @classmethod
    def from_json(cls, read: ResultFields, cost: str) -> Derived:
        """Reads what `to_json` gave.

        Args:
            read: the mapping.
            cost: the name of the first cost in files of version 0.1, which hold no `costs`.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        costs = read.numbers("costs")
        return cls(
            choices=read.counts("choices"),
            costs=costs or (read.figure_required(cost),),
            log_probability=read.required("log_probability"),
        )


def feasible_target(costs: CostTable, target: float) -> float:
    """Checks that a target lies within the achievable range, before any training.

    Returns:
        The target; the bound itself where the target misses it by a rounding error (1e-9).

    Raises:
        InfeasibleTargetError: it lies outside; the message states the range, rounded inwards.
    """
    low, high = costs.range
    if not low * (1 - SLACK) <= target <= high * (1 + SLACK):
        raise InfeasibleTargetError(
            f"target {target:g} {costs.unit} lies outside what the space can reach on "
            f"'{costs.name}': {_rounded(low, ROUND_CEILING)} to {_rounded(high, ROUND_FLOOR)} "
            f"{costs.unit}. Choose a target in that range."
        )
    return min(max(target, low), high)


def _rounded(value: float, direction: str) -> str:
    """Four significant digits, towards the inside of a range, so that the figure lies in it."""
    return f"{float(Context(prec=4, rounding=direction).create_decimal(value)):.4g}"


def geometric_mean_target(costs: CostTable) -> float:
    """The default target: the geometric mean of the feasible range."""
    low, high = costs.range
    return float(np.sqrt(low * high))


def default_target(costs: CostTable) -> float:
    """The target that is taken when none is given: the geometric mean of the feasible range.

    Where no network costs so much to within the window, the nearest cost below it.
    """
    target = geometric_mean_target(costs)
    program = Program(np.zeros(costs.mask.shape), [costs])
    if program.solve([WINDOW * target], [target], []) is not None:
        return target
    return program.nearest(target)[0]


def _cost_table(pair: object) -> CostTable:
    """The costs of one pair of `derive`.

    Raises:
        SearchError: it is not a pair of a cost and a target.
    """
    cost = pair[0] if isinstance(pair, tuple | list) and len(pair) == 2 else None
    table = getattr(cost, "costs", cost)
    if not isinstance(table, CostTable):
        raise SearchError(
            "a constraint of derive is a pair (ExpectedLatency or CostTable, target): received "
            f"{str(pair)[:80]}."
        )
    return table


def derive(
    probabilities: ArrayLike | Tensor,
    constraints: Sequence[tuple[CostTable | HasCosts, float]],
    *,
    best: int = 1,
) -> list[Derived]:
    """Derives the most probable networks that meet their targets, by an exact integer program.

    With one constraint, 0.99 T <= cost <= T holds. With several, every cost stays at or under its
    target, and at least one lies in its window.

    Args:
        probabilities: path probabilities, (slots, max_candidates); each row sums to 1. An array,
            or a tensor as `SuperNet.probabilities` gives it.
        constraints: pairs of a cost and its target in the unit of the cost. A cost is an
            `ExpectedLatency` or a `CostTable`.
        best: how many networks at most; fewer where the window holds fewer.

    Returns:
        Networks in order of falling probability.

    Raises:
        SearchError: the probabilities have another shape or are no probabilities, or there is no
            constraint.
        InfeasibleTargetError: a target is out of range, or no network lies in the window (the
            nearest costs are named).

    Example:
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("imagenet")
        >>> latency = ph.ExpectedLatency(space, ph.fit_predictor(ph.LatencyTable.load("pixel1")))
        >>> network = ph.derive(ph.SuperNet(space, seed=0).probabilities, [(latency, 75.0)])[0]
        >>> 0.99 * 75 <= network.costs[0] <= 75
        True
    """
    if not constraints:
        raise SearchError("derive needs a constraint: received none. Give [(cost, target)].")
    if best < 1:
        raise SearchError(f"best is the number of networks, at least 1: received {best}.")
    costs = [_cost_table(pair) for pair in constraints]
    mask = costs[0].mask
    for table in costs[1:]:
        if table.mask.shape != mask.shape or (table.mask != mask).any():
            raise SearchError(
                f"costs of one space have the same candidates: '{costs[0].name}' and "
                f"'{table.name}' differ. Price both for the same space."
            )
    values = _as_array(probabilities)
    if values.shape != mask.shape:
        raise SearchError(
            f"probabilities must have shape {mask.shape} (slots, max_candidates): received "
            f"{values.shape}."
        )
    there = np.where(mask, values, 0.0)
    if not (there >= 0).all() or (abs(there.sum(1) - 1) > ROW_SUM_ERROR).any():
        raise SearchError(
            "probabilities are not negative and sum to 1 in every slot: received rows that sum to "
            f"{there.sum(1).min():g} to {there.sum(1).max():g}. Take SuperNet.probabilities, or "
            "the softmax of alpha over each slot's candidates."
        )
    with np.errstate(divide="ignore"):
        log_probability = np.log(there)
    targets = [float(target) for _, target in constraints]
    return most_probable_within(log_probability, costs, targets, best)


def _as_array(values: ArrayLike | Tensor) -> Array:
    """Float64 values of an array, or of a tensor on any device."""
    detach = getattr(values, "detach", None)
    return np.asarray(values if detach is None else detach().cpu().double(), dtype=np.float64)


def most_probable_within(
    log_probability: Array,
    costs: Sequence[CostTable],
    targets: Sequence[float],
    count: int = 1,
) -> list[Derived]:
    """The `count` most probable networks within the window, best first.

    Args:
        log_probability: log p, (slots, max_candidates).
        costs: one table per constraint.
        targets: one target per constraint, in its unit.
        count: how many networks at most; fewer when the window holds fewer.

    Raises:
        InfeasibleTargetError: a target is out of range, or the window is empty (nearest costs are
            named).
    """
    targets = [feasible_target(table, target) for table, target in zip(costs, targets, strict=True)]
    program = Program(log_probability, costs)
    found: dict[tuple[int, ...], Derived] = {}
    for window in range(len(costs)):
        lows = [
            WINDOW * target if index == window else -np.inf for index, target in enumerate(targets)
        ]
        cuts: list[tuple[int, ...]] = []
        while len(cuts) < count:
            choices = program.solve(lows, targets, cuts)
            if choices is None:
                break
            cuts.append(choices)
            found[choices] = _derived(program, choices)
    if not found:
        raise InfeasibleTargetError(_empty_window(program, costs, targets))
    ranked = sorted(found.values(), key=lambda item: (-item.log_probability, item.choices))
    return ranked[:count]


def most_probable(log_probability: Array, costs: Sequence[CostTable], count: int) -> list[Derived]:
    """The `count` most probable networks without any constraint, best first."""
    program = Program(log_probability, costs)
    free = [np.inf] * len(costs)
    cuts: list[tuple[int, ...]] = []
    while len(cuts) < count:
        choices = program.solve([-np.inf] * len(costs), free, cuts)
        if choices is None:
            break
        cuts.append(choices)
    return [_derived(program, choices) for choices in cuts]


def pareto(
    log_probability: Array, costs: CostTable, points: int = 50
) -> list[tuple[float, Derived]]:
    """The exact optimum at budgets spread evenly over the feasible range.

    Returns:
        (budget, most probable network that costs at most the budget), cheapest budget first.
    """
    low, high = costs.range
    program = Program(log_probability, [costs])
    front = []
    for budget in np.linspace(low, high, points):
        choices = program.solve([-np.inf], [float(budget)], [])
        if choices is None:  # the cheapest network itself, lost to the solver's tolerance
            choices = tuple(np.where(costs.mask, costs.slots, np.inf).argmin(1).tolist())
        front.append((float(budget), _derived(program, choices)))
    return front


def _derived(program: Program, choices: tuple[int, ...]) -> Derived:
    rows = np.arange(len(choices))
    return Derived(
        choices,
        float(program.log_p[rows, list(choices)].sum()),
        tuple(table.cost(choices) for table in program.costs),
    )


def _empty_window(program: Program, costs: Sequence[CostTable], targets: Sequence[float]) -> str:
    if len(costs) > 1:
        wanted = ", ".join(
            f"{table.name} <= {target:g} {table.unit}"
            for table, target in zip(costs, targets, strict=True)
        )
        return (
            f"no network of the space meets {wanted} together with one of them in its window "
            f"[{WINDOW} T, T]. Loosen the tightest constraint."
        )
    table, target = costs[0], targets[0]
    near = " and ".join(f"{value:.4g}" for value in program.nearest(target))
    return (
        f"no network costs between {WINDOW} T and T for T = {target:g} {table.unit} on "
        f"'{table.name}'; the nearest cost {near} {table.unit}. Use one of these as the target."
    )
