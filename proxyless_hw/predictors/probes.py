"""Which few ops to measure on a new device, so that the rest can be told from a known table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.adaptation import estimate_log_costs
from proxyless_hw.predictors.device_map import Hypothesis, hypotheses, log_values
from proxyless_hw.predictors.posterior import Measurements
from proxyless_hw.predictors.transfer import MIN_PROBES, check_probes, check_sources
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]

DRAWS: Final = 1500
"""Devices drawn from what the sources let expect, before anything is measured."""

NETWORK_WEIGHT: Final = 5.0
"""How much the variance of a whole network counts, relative to the mean variance of an op (half
of them all alike, half by their share of a network)."""

TYPICAL_SCATTER: Final = 0.08
"""Standard deviation of single ops, in log units, before anything is measured."""


def choose_probes(source: LatencyTable | str | Path, n: int = 15) -> list[OpSpec]:
    """Chooses ops one by one, each the one that leaves the least variance over ops and networks.

    The variance is that of the transfer's own hypotheses (`device_map`), over devices drawn from
    them: the choice can be made before the device is at hand.

    Args:
        source: the table to transfer from later; or its name or path.
        n: how many ops.

    Returns:
        The probes, most informative first: a prefix is a good choice too.

    Raises:
        PredictorError: fewer than 3 probes, or more than the table has ops.
        TableError: no such table.

    Example:
        >>> import proxyless_hw as ph
        >>> len(ph.choose_probes("note10", 5))
        5
    """
    source = table_of(source)
    if n < MIN_PROBES:
        raise PredictorError(f"a transfer needs at least {MIN_PROBES} probes: received {n}.")
    if n > len(source):
        raise PredictorError(
            f"{n} probes cannot be chosen from the {len(source)} ops of '{source.name}'."
        )
    return _before_measuring(source, n)


def next_probe(source: LatencyTable | str | Path, probes: LatencyTable | str | Path) -> OpSpec:
    """The one op to measure next, given what the probes measured so far say of the device.

    Args:
        source: the table to transfer from; or its name or path.
        probes: ops measured on the new device, likewise. If the table is empty, the
            first of `choose_probes` is next.

    Raises:
        PredictorError: a probe that the source lacks, different metrics, a table that is itself
            transferred, or all of the source's ops have been measured.
        TableError: no such table.

    Example:
        >>> import proxyless_hw as ph
        >>> table = ph.LatencyTable.load("note10")
        >>> none = ph.LatencyTable({}, {"metric": "latency", "unit": "ms"})
        >>> ph.next_probe(table, none) == ph.choose_probes(table)[0]
        True
    """
    source, probes = table_of(source), table_of(probes)
    check_sources([source])
    check_probes(source, probes)
    ops = list(source.entries)
    if len(probes) >= len(ops):
        raise PredictorError(
            f"all {len(ops)} ops of '{source.name}' are among the probes: nothing is left to "
            "measure. Transfer, or take the probes as the table."
        )
    if not len(probes):
        return _before_measuring(source, 1)[0]
    taken = np.array([ops.index(op) for op in probes.entries], dtype=np.intp)
    values = log_values([entry.value for entry in probes.entries.values()])
    costs = estimate_log_costs(ops, [source], Measurements.of_ops(taken, values, len(ops)))
    share = _network_shares(ops, costs.mean)
    return ops[_greedy(costs.covariance, costs.scatter, share, 1, taken.tolist())[0]]


def _before_measuring(source: LatencyTable, n: int) -> list[OpSpec]:
    ops = list(source.entries)
    log_source = log_values([entry.value for entry in source.entries.values()])
    covariance = _expected_covariance(hypotheses(ops, [source]))
    share = _network_shares(ops, log_source)
    return [ops[number] for number in _greedy(covariance, TYPICAL_SCATTER, share, n, [])]


def _expected_covariance(expected: Sequence[Hypothesis]) -> FloatArray:
    """Between the log costs of ops, over devices drawn from the hypotheses, (n, n)."""
    generator = np.random.default_rng(0)
    drawn = []
    residual = np.zeros_like(expected[0].prior.residual)
    for each in expected:
        prior, probability = each.prior, float(np.exp(each.log_weight))
        count = max(1, round(DRAWS * probability))
        factor = np.linalg.cholesky(prior.covariance)
        rates = prior.log_rates + generator.standard_normal((count, len(factor))) @ factor.T
        drawn.append(np.log(np.exp(rates) @ prior.amounts.T) + prior.offset)
        residual += probability * prior.residual
    result: FloatArray = np.atleast_2d(np.cov(np.concatenate(drawn).T)) + residual
    return result


def _network_shares(ops: Sequence[OpSpec], log_cost: FloatArray) -> FloatArray:
    """How much of a random network's cost each op is: its slot holds one of several alike, (n,)."""
    slots = [replace(op, kernel=1, expand=1.0) for op in ops]
    count = Counter(slots)
    cost = np.array([1 / count[slot] for slot in slots]) * np.exp(log_cost - log_cost.max())
    result: FloatArray = cost / cost.sum()
    return result


def _greedy(
    covariance: FloatArray, scatter: float, share: FloatArray, n: int, taken: Sequence[int]
) -> list[int]:
    """Ops one by one, each the one that takes away most variance; `taken` are not chosen again."""
    weights = (1 / len(share) + share) / 2
    closed = list(taken)
    chosen: list[int] = []
    for _ in range(n):
        variance = np.diag(covariance) + scatter**2
        gain = weights @ covariance**2 + NETWORK_WEIGHT * (share @ covariance) ** 2
        gain /= variance
        gain[closed] = -np.inf
        best = int(gain.argmax())
        closed.append(best)
        chosen.append(best)
        column = covariance[:, best].copy()
        covariance = covariance - np.outer(column, column) / variance[best]
    return chosen
