"""Deriving the final network: an exact integer program over one choice per slot.

maximise sum of log p  subject to  0.99 T <= latency <= T  (scipy's HiGHS), K best by cutting off
each solution found. Several constraints: every cost stays at or under its target, and at least
one lies in its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from proxyless_hw.errors import InfeasibleTargetError
from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.storage.documents import JsonObject

WINDOW = 0.99
"""The lower edge of the accepted window, as a fraction of the target."""

SLACK = 1e-9
"""How far, relatively, a target may miss a bound and still be taken for it."""

MAX_REJECTED = 20
"""Solutions that violate a bound by less than the solver notices, cut off one by one."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Derived:
    """One solution of the integer program.

    Attributes:
        choices: one candidate per slot.
        log_probability: sum of log p over the slots.
        costs: its cost under each constraint, in their order.
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
    program = _Program(np.zeros(costs.mask.shape), [costs])
    if program.solve([WINDOW * target], [target], []) is not None:
        return target
    return program.nearest(target)[0]


def derive(
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
    program = _Program(log_probability, costs)
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
            found[choices] = program.derived(choices)
    if not found:
        raise InfeasibleTargetError(_empty_window(program, costs, targets))
    ranked = sorted(found.values(), key=lambda item: (-item.log_probability, item.choices))
    return ranked[:count]


def most_probable(log_probability: Array, costs: Sequence[CostTable], count: int) -> list[Derived]:
    """The `count` most probable networks without any constraint, best first."""
    program = _Program(log_probability, costs)
    free = [np.inf] * len(costs)
    cuts: list[tuple[int, ...]] = []
    while len(cuts) < count:
        choices = program.solve([-np.inf] * len(costs), free, cuts)
        if choices is None:
            break
        cuts.append(choices)
    return [program.derived(choices) for choices in cuts]


def pareto(
    log_probability: Array, costs: CostTable, points: int = 50
) -> list[tuple[float, Derived]]:
    """The exact optimum at budgets spread evenly over the feasible range.

    Returns:
        (budget, most probable network that costs at most the budget), cheapest budget first.
    """
    low, high = costs.range
    program = _Program(log_probability, [costs])
    front = []
    for budget in np.linspace(low, high, points):
        choices = program.solve([-np.inf], [float(budget)], [])
        if choices is None:  # the cheapest network itself, lost to the solver's tolerance
            choices = tuple(np.where(costs.mask, costs.slots, np.inf).argmin(1).tolist())
        front.append((float(budget), program.derived(choices)))
    return front


class _Program:
    """The integer program over x[slot, candidate] in {0, 1}, rows scaled to the target."""

    def __init__(self, log_probability: Array, costs: Sequence[CostTable]) -> None:
        self.costs = list(costs)
        self.mask = costs[0].mask
        self.rows, self.columns = np.nonzero(self.mask)
        floor = np.log(1e-30)
        self.log_p = np.maximum(np.where(self.mask, log_probability, 0.0), floor)
        size = len(self.rows)
        self.one_each = sparse.csr_matrix(
            (np.ones(size), (self.rows, np.arange(size))), shape=(len(self.mask), size)
        )
        self.weights = [table.slots[self.rows, self.columns] for table in self.costs]

    def derived(self, choices: tuple[int, ...]) -> Derived:
        rows = np.arange(len(choices))
        return Derived(
            choices,
            float(self.log_p[rows, list(choices)].sum()),
            tuple(table.cost(choices) for table in self.costs),
        )

    def solve(
        self,
        lows: Sequence[float],
        highs: Sequence[float],
        cuts: Sequence[tuple[int, ...]],
        objective: Array | None = None,
    ) -> tuple[int, ...] | None:
        """The best choices within the bounds, or None when there are none.

        The solver's feasibility tolerance is 1e-6 of a row. The answer is therefore checked in
        exact sums; one that violates a bound is cut off and the next best is asked for. Where very
        many lie that close to a bound, the bounds are pulled in instead. At the lower end of the
        range only the cheapest network is left, and that one needs no solver.
        """
        value = self.log_p[self.rows, self.columns] if objective is None else objective
        rejected = list(cuts)
        for margin in (*[0.0] * MAX_REJECTED, 2e-6, 1e-5):
            choices = self._solve_once(value, lows, highs, cuts if margin else rejected, margin)
            if choices is None:
                break
            if self._within(choices, lows, highs):
                return choices
            rejected.append(choices)
        choices = self._cheapest()
        return choices if choices not in cuts and self._within(choices, lows, highs) else None

    def _cheapest(self) -> tuple[int, ...]:
        """The cheapest network by the first constraint; of equal candidates the most probable."""
        slots = np.where(self.mask, self.costs[0].slots, np.inf)
        least = slots <= slots.min(1, keepdims=True)
        return tuple(np.where(least, self.log_p, -np.inf).argmax(1).tolist())

    def _solve_once(
        self,
        value: Array,
        lows: Sequence[float],
        highs: Sequence[float],
        cuts: Sequence[tuple[int, ...]],
        margin: float,
    ) -> tuple[int, ...] | None:
        constraints = [optimize.LinearConstraint(self.one_each, 1, 1)]
        for table, weights, low, high in zip(self.costs, self.weights, lows, highs, strict=True):
            if np.isinf(low) and np.isinf(high):
                continue
            scale = max(abs(bound) for bound in (low, high) if np.isfinite(bound)) or 1.0
            constraints.append(
                optimize.LinearConstraint(
                    weights[None] / scale,
                    (low - table.fixed) / scale + margin,
                    (high - table.fixed) / scale - margin,
                )
            )
        for cut in cuts:
            chosen = self.columns == np.asarray(cut)[self.rows]
            constraints.append(
                optimize.LinearConstraint(chosen[None].astype(float), -np.inf, len(cut) - 1)
            )
        result = optimize.milp(
            -value,
            integrality=np.ones(len(value)),
            bounds=optimize.Bounds(0, 1),
            constraints=constraints,
            options={"mip_rel_gap": 0.0},
        )
        if result.x is None:
            return None
        choices = np.zeros(len(self.mask), dtype=int)
        picked = result.x > 0.5
        choices[self.rows[picked]] = self.columns[picked]
        return tuple(choices.tolist())

    def _within(
        self, choices: tuple[int, ...], lows: Sequence[float], highs: Sequence[float]
    ) -> bool:
        costs = [table.cost(choices) for table in self.costs]
        return all(
            low <= cost <= high * (1 + 1e-12)
            for low, cost, high in zip(lows, costs, highs, strict=True)
        )

    def nearest(self, target: float) -> list[float]:
        """Costs nearest to the first constraint's target, from below and above."""
        weights = self.weights[0]
        below = self.solve([-np.inf], [target], [], objective=weights)
        above = self.solve([target], [np.inf], [], objective=-weights)
        return [self.costs[0].cost(item) for item in (below, above) if item is not None]


def _empty_window(program: _Program, costs: Sequence[CostTable], targets: Sequence[float]) -> str:
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
