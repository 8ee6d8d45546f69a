"""The integer program over one choice per slot, solved exactly by scipy's HiGHS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse

from proxyless_hw.predictors.costs import CostTable

MAX_REJECTED = 20
"""Solutions that violate a bound by less than the solver notices, cut off one by one."""

Array = NDArray[np.float64]


class Program:
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

    def solve(
        self,
        lows: Sequence[float],
        highs: Sequence[float],
        cuts: Sequence[tuple[int, ...]],
        objective: Array | None = None,
    ) -> tuple[int, ...] | None:
        """The best choices within the bounds, or None if no choices satisfy them.

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
