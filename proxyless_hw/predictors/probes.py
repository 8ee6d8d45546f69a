"""Which few ops to measure on a new device, so that the rest can be told from a known table."""

from __future__ import annotations

import numpy as np

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.device_map import OpKernel, Spread, log_values
from proxyless_hw.predictors.transfer import MIN_PROBES
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable


def choose_probes(source: LatencyTable, n: int = 15) -> list[OpSpec]:
    """Chooses ops one by one, each the one that leaves the least variance over all ops.

    The variance is that of the transfer's own model (`device_map`), which depends on what the
    ops are but on no measurement: the choice can be made before the device is at hand.

    Args:
        source: the table to transfer from later.
        n: how many ops.

    Returns:
        The probes, most informative first: a prefix is a good choice too.

    Raises:
        PredictorError: fewer than 3 probes, or more than the table has ops.
    """
    ops = list(source.entries)
    if n < MIN_PROBES:
        raise PredictorError(f"a transfer needs at least {MIN_PROBES} probes: received {n}.")
    if n > len(ops):
        raise PredictorError(
            f"{n} probes cannot be chosen from the {len(ops)} ops of '{source.name}'."
        )
    log_source = log_values([entry.value for entry in source.entries.values()])
    spread = Spread()
    covariance = OpKernel(ops, log_source).covariance(spread)
    chosen: list[int] = []
    for _ in range(n):
        variance = np.diag(covariance) + spread.noise**2
        gain = (covariance**2).sum(0) / variance
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        chosen.append(best)
        column = covariance[:, best].copy()
        covariance = covariance - np.outer(column, column) / variance[best]
    return [ops[number] for number in chosen]
