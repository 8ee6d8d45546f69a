"""What an op's cost consists of: launches, channels and work, each at a rate of the device.

cost = sum over kinds of amount x rate. A device that is bound by arithmetic has high rates of work;
a GPU that runs small kernels pays for every launch, whatever the kernel does; a runtime that
handles channels one by one pays for each channel, however small the map. Rates are kept as
logarithms: they are positive, and devices differ by factors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.predictors.features import Part, activation_sizes, op_parts
from proxyless_hw.predictors.posterior import Measurements, Prior, condition
from proxyless_hw.space.specs import OpSpec, op_variant

FloatArray = NDArray[np.float64]

TYPICAL_RATES: Final[dict[str, float]] = {
    "calls": 0.1,
    "layers": 0.1,
    "squeezes": 0.1,
    "activations": 0.1,
    "additions": 0.1,
    "poolings": 0.1,
    "pointwise": 1.0,
    "depthwise_3": 3.0,
    "depthwise_5": 3.0,
    "depthwise_7": 3.0,
    "dense": 1.0,
    "linear": 2.0,
    "moved": 4.0,
    "weights": 4.0,
    "squeeze_moved": 4.0,
    "activation_moved": 4.0,
    "addition_moved": 4.0,
    "channels": 0.1,
}
"""Kinds of cost, with what a typical device asks for each relative to a million
multiply-accumulates of a 1x1 convolution.

The first six are launches (kernels that an op becomes): per op, layer with weights,
squeeze-and-excite (each counts as `SQUEEZE_LAUNCHES`), activation that runs on its own, residual
addition, pooling (or channel shuffle). Then multiply-accumulates in
millions: 1x1, depthwise by kernel size, dense, linear; elements in millions: read and written by
layers, weights, and those of squeeze-and-excite, activations and additions. At last thousands of
normalised channels.
"""

KINDS: Final = tuple(TYPICAL_RATES)
LAUNCHES: Final = ("calls", "layers", "squeezes", "activations", "additions", "poolings")
IS_LAUNCH: Final = np.array([float(kind in LAUNCHES) for kind in KINDS])
"""1 for the kinds that are launches, 0 for the others, (kinds,)."""

SQUEEZE_LAUNCHES: Final = 5
"""Pooling, two layers, a gate and a product."""


def cost_amounts(ops: Sequence[OpSpec]) -> FloatArray:
    """How much of each kind every op has, (n, kinds).

    Raises:
        ArchitectureError: a third party's op that does not count itself.
    """
    at = {kind: column for column, kind in enumerate(KINDS)}
    rows = np.zeros((len(ops), len(KINDS)))
    for row, op in zip(rows, ops, strict=True):
        row[at["calls"]] = 1.0
        for kind, amount in _amounts(op):
            row[at[kind]] += amount
    return rows


def _amounts(op: OpSpec) -> Iterator[tuple[str, float]]:
    for part in op_parts(op):
        match part.kind:
            case "pointwise" | "depthwise" | "dense" | "linear":
                yield from _layer(op, part)
            case "addition":
                yield "additions", 1.0
                yield "addition_moved", part.moved / 1e6
            case "squeeze":
                yield "squeezes", float(SQUEEZE_LAUNCHES)
                yield "squeeze_moved", part.moved / 1e6
                yield "weights", part.weights / 1e6
            case _:
                yield "poolings", 1.0
                yield "moved", part.moved / 1e6
                yield "pointwise", part.macs / 1e6
    for size in activation_sizes(op):
        yield "activations", 1.0
        yield "activation_moved", size / 1e6


def _layer(op: OpSpec, part: Part) -> Iterator[tuple[str, float]]:
    yield "layers", 1.0
    yield "moved", part.moved / 1e6
    yield "weights", part.weights / 1e6
    kind: str = part.kind
    if part.kind == "depthwise":
        size = 3 if part.kernel <= 3 else 5 if part.kernel <= 5 else 7
        kind = f"depthwise_{size}"
    yield kind, part.macs / 1e6
    if part.kind != "linear" and not op_variant(op.op).no_norm:
        yield "channels", part.out_c / 1e3


@dataclass(frozen=True)
class Freedom:
    """How far rates may differ from what is expected of them: standard deviations in log units.

    Attributes:
        scale: all alike.
        launches: launches together.
        launch: each kind of launch.
        work: each kind of work.
        depthwise: depthwise kinds together.
        kernel: each depthwise kernel size.
        large_kernel: 7x7 on top: some runtimes have no fast routine for it.
        memory: what moves data, together.
        channels: the channels.
    """

    scale: float
    launches: float
    launch: float
    work: float
    depthwise: float
    kernel: float
    large_kernel: float
    memory: float
    channels: float

    def covariance(self) -> FloatArray:
        """(kinds, kinds)."""
        work = 1 - IS_LAUNCH
        depthwise = np.array([float(kind.startswith("depthwise")) for kind in KINDS])
        memory = np.array([float("moved" in kind or kind == "weights") for kind in KINDS])
        own = self.launch**2 * IS_LAUNCH + self.work**2 * work
        own += (self.kernel**2 - self.work**2) * depthwise
        own[KINDS.index("depthwise_7")] += self.large_kernel**2
        own[KINDS.index("channels")] += self.channels**2
        result: FloatArray = np.diag(own)
        result += self.scale**2 + self.launches**2 * np.outer(IS_LAUNCH, IS_LAUNCH)
        result += self.depthwise**2 * np.outer(depthwise, depthwise)
        result += self.memory**2 * np.outer(memory, memory)
        return result


AMONG_DEVICES: Final = Freedom(
    scale=5.0, launches=3.0, launch=0.5, work=1.0, depthwise=1.0, kernel=1.0,
    large_kernel=1.0, memory=0.7, channels=2.5,
)  # fmt: skip
"""Of a device that nothing is known of."""

MISFIT: Final = 0.06
"""Standard deviation, in log units, of what rates leave of a whole table."""


@dataclass(frozen=True)
class Rates:
    """Rates of a device, read from its whole table.

    Attributes:
        log: logarithms of the rates, (kinds,), in the table's unit per amount.
        covariance: how uncertain the table leaves them, (kinds, kinds).
        misfit: log cost of every op minus what the rates say, (n,).
    """

    log: FloatArray
    covariance: FloatArray
    misfit: FloatArray

    def launch_share(self, amounts: FloatArray) -> float:
        """Log of what all ops spend on launches over what they spend on work."""
        spent = amounts * np.exp(self.log)
        launches = float((spent @ IS_LAUNCH).sum())
        return float(np.log(launches / (float(spent.sum()) - launches)))


def typical_log_rates() -> FloatArray:
    """Of a typical device, up to its speed, (kinds,)."""
    logs: FloatArray = np.log(np.array(list(TYPICAL_RATES.values())))
    return logs


def fit_rates(amounts: FloatArray, log_cost: FloatArray) -> Rates:
    """Reads a device's rates from a whole table.

    Args:
        amounts: (n, kinds).
        log_cost: (n,).
    """
    size = len(amounts)
    prior = Prior(
        amounts=amounts,
        log_rates=typical_log_rates(),
        covariance=AMONG_DEVICES.covariance(),
        offset=np.zeros(size),
        residual=np.zeros((size, size)),
    )
    every = Measurements.of_ops(np.arange(size), log_cost)
    found = condition(prior.at_level_of(every), every, np.full(size, MISFIT**2))
    return Rates(found.log_rates, found.rate_covariance(), log_cost - found.log_cost)
