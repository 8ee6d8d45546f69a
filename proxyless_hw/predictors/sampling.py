"""Networks of a space drawn for measuring whole: uniformly, or evenly over the feasible range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.costs import CostTable
from proxyless_hw.space.search_space import SearchSpace

IntArray = NDArray[np.int64]


def uniform_choices(space: SearchSpace, networks: int, seed: int) -> IntArray:
    """(networks, slots) candidate indices, every candidate of a slot equally likely."""
    generator = np.random.default_rng(seed)
    sizes = [len(slot.candidates) for slot in space.slots]
    return generator.integers(0, sizes, size=(networks, len(sizes)))


def spread_choices(costs: CostTable, networks: int, seed: int) -> IntArray:
    """(networks, slots) candidate indices whose predicted costs are spread evenly.

    The feasible range is cut into as many equal parts, and one random network is drawn near the
    middle of each: candidates with probability proportional to exp(-beta cost), beta such that the
    expectation is right, then single slots changed while that brings the total nearer.
    """
    generator = np.random.default_rng(seed)
    slot_ms = np.where(costs.mask, costs.slots, np.nan)
    low = float(np.nanmin(slot_ms, 1).sum())
    high = float(np.nanmax(slot_ms, 1).sum())
    targets = low + (np.arange(networks) + 0.5) / networks * (high - low)
    drawn = [_near(costs, slot_ms, float(target), generator) for target in targets]
    return np.array(drawn, dtype=np.int64).reshape(networks, len(slot_ms))


def _near(
    costs: CostTable, slot_ms: NDArray[np.float64], target: float, generator: np.random.Generator
) -> IntArray:
    p = _tilted(costs, target)
    choices = np.array([generator.choice(len(row), p=row) for row in p], dtype=np.int64)
    rows = np.arange(len(slot_ms))
    for slot in generator.permutation(len(slot_ms)):
        rest = slot_ms[rows, choices].sum() - slot_ms[slot, choices[slot]]
        misses = np.abs(rest + slot_ms[slot] - target)
        choices[slot] = int(np.nanargmin(misses))
        if np.nanmin(misses) < 0.002 * target:
            break
    return choices


def _tilted(costs: CostTable, target: float) -> NDArray[np.float64]:
    """Probabilities proportional to exp(-beta cost) whose expected total is the target."""
    filled = np.where(costs.mask, costs.slots, 0.0)
    scale = max(float(np.ptp(filled)), 1e-12)
    low, high = -200.0, 200.0
    for _ in range(60):
        beta = (low + high) / 2
        exponent = np.where(costs.mask, -beta * filled / scale, -np.inf)
        p = np.exp(exponent - exponent.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        if float((p * filled).sum()) > target:
            low = beta
        else:
            high = beta
    return np.asarray(p)
