"""Tables of made-up devices whose costs follow a known rule, for tests of predictors."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable

HEADER = {
    "metric": "latency",
    "unit": "ms",
    "device": "made-up",
    "device_kind": "cpu",
    "runtime": "none",
    "threads": "1",
    "batch_size": "1",
    "precision": "fp32",
    "statistic": "median",
    "num_classes": "1000",
}


def published_ops(*resolutions: int) -> list[OpSpec]:
    """Ops of the published space at some resolutions (224 when none is given)."""
    space = SearchSpace.load("imagenet")
    ops = (op for resolution in resolutions or (224,) for op in space.ops(resolution))
    return list(dict.fromkeys(ops))


def plain_cost(op: OpSpec) -> float:
    """ms of an op on a device with three rates and a per-call overhead, worked out by hand.

    0.1 ms a call, 0.2 ms per million dense multiply-accumulates, 0.5 per depthwise million, and
    4 ms per million outputs of 1x1 convolutions.
    """
    if op.op != "mbconv":
        return 0.1 + 0.2e-6 * op.kernel**2 * op.in_c * op.out_c * op.out_h * op.out_w
    wide = op.in_c * op.expand
    area_in, area_out = op.in_h * op.in_w, op.out_h * op.out_w
    expands = op.expand != 1
    dense = expands * area_in * op.in_c * wide + area_out * wide * op.out_c
    depthwise = area_out * wide * op.kernel**2
    outputs = expands * area_in * wide + area_out * op.out_c
    return 0.1 + (0.2 * dense + 0.5 * depthwise + 4.0 * outputs) / 1e6


def table_of(
    ops: Iterable[OpSpec],
    cost: Callable[[OpSpec], float] = plain_cost,
    noise: float = 0.0,
    seed: int = 0,
    name: str = "made-up",
    **header: str,
) -> LatencyTable:
    """A table of ops priced by a rule, with multiplicative noise."""
    draw = np.random.default_rng(seed)
    entries = {
        op: Entry(cost(op) * float(np.exp(noise * draw.standard_normal())), samples=20)
        for op in ops
    }
    return LatencyTable(entries, {**HEADER, **header}, name)
