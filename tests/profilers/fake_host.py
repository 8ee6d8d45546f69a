"""A made-up device with its own clock, drift and noise, for tests of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np

from proxyless_hw.profilers.base import ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.space.specs import OpSpec


class FakeClock:
    """Seconds that pass only when something takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Unsteady:
    """A machine beside which other work comes and goes: its slowdown as a function of the clock.

    Quiet stretches last a second on average and disturbed ones one and a half, exponentially
    distributed; while it is disturbed the machine is 1 to 2 times slower.
    """

    def __init__(self, seed: int, stretches: int = 4000) -> None:
        generator = np.random.default_rng(seed)
        lengths = generator.exponential(1.0, stretches)
        lengths[1::2] *= 1.5
        self.ends = np.cumsum(lengths)
        factors = generator.uniform(1.0, 2.0, stretches)
        factors[::2] = 1.0
        self.factors = factors

    def __call__(self, now: float) -> float:
        return float(self.factors[np.searchsorted(self.ends, now)])


class FakeSession:
    """Visits cost what `costs_ms` says, times the machine's slowdown, times noise.

    Args:
        clock: advanced by `visit_s` a visit.
        costs_ms: true cost of each workload.
        slowdown: factor on every cost as a function of the clock.
        noise: standard deviation of the log of a visit; one number or one per workload.
        visit_s: seconds a visit takes.
        sensitivity: power to which the slowdown acts on each workload; one number or one each.
        jumps: visits, counted from 0 over the session, before which the clock jumps by 100 s.
    """

    def __init__(
        self,
        clock: FakeClock,
        costs_ms: Sequence[float],
        *,
        slowdown: Callable[[float], float] = lambda _: 1.0,
        noise: float | Sequence[float] = 0.0,
        visit_s: float = 0.01,
        sensitivity: float | Sequence[float] = 1.0,
        jumps: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.costs_ms = list(costs_ms)
        self.slowdown = slowdown
        self.noise = np.broadcast_to(noise, len(self.costs_ms))
        self.visit_s = visit_s
        self.sensitivity = np.broadcast_to(sensitivity, len(self.costs_ms))
        self.jumps = jumps
        self.generator = np.random.default_rng(seed)
        self.orders: list[list[int]] = []
        self.visited = 0

    def visit(self, order: Sequence[int]) -> list[Visit]:
        self.orders.append(list(order))
        return [self._visit(index) for index in order]

    def _visit(self, index: int) -> Visit:
        self.clock.now += self.visit_s
        slept_ms = 0.0
        if self.visited in self.jumps:
            self.clock.now += 100.0
            slept_ms = 100e3
        self.visited += 1
        spread = float(self.generator.normal(0.0, 1.0) * self.noise[index])
        slowdown = self.slowdown(self.clock.now) ** float(self.sensitivity[index])
        value = self.costs_ms[index] * slowdown * float(np.exp(spread)) + slept_ms
        return Visit(value, value * 0.99, value * 1.02, 3, (value * 0.99, value, value * 1.02))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class FakeProfiler:
    """A device whose ops cost a microsecond per output value; made for `profile`.

    Args:
        clock: the made-up clock.
        noise: as `FakeSession`.
        visit_s: as `FakeSession`.
        build_s: seconds that building one workload takes.
        slowdown: as `FakeSession`.
        offset: standard deviation of the log of what building anew changes, each workload for
            itself and all of them together.
        header: what `describe` says otherwise than by default.
    """

    def __init__(
        self,
        clock: FakeClock,
        noise: float = 0.003,
        visit_s: float = 0.002,
        *,
        build_s: float = 0.0,
        slowdown: Callable[[float], float] = lambda _: 1.0,
        offset: float = 0.0,
        header: Mapping[str, str] | None = None,
        settings: ProfilerSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = settings or ProfilerSettings()
        self.clock = clock
        self.noise = noise
        self.visit_s = visit_s
        self.build_s = build_s
        self.slowdown = slowdown
        self.offset = offset
        self.header = dict(header or {})
        self.seed = seed
        self.opened: list[list[str]] = []
        self.sessions: list[FakeSession] = []

    def describe(self) -> Mapping[str, str]:
        return {
            "device": "made-up device",
            "device_kind": "cpu",
            "runtime": "made-up",
            "runtime_version": "1",
            "threads": "1",
            "batch_size": "1",
            "precision": "fp32",
            "metric": "latency",
            "unit": "ms",
            "statistic": "median",
            "fingerprint": "none",
            **self.header,
        }

    def open(self, workloads: Sequence[Workload]) -> FakeSession:
        self.opened.append([workload.name for workload in workloads])
        self.clock.now += self.build_s * len(workloads)
        seed = self.seed + len(self.opened)
        moved = np.random.default_rng(1000 + seed)
        shared = moved.normal(0.0, self.offset)
        costs = [
            self.cost_ms(workload) * float(np.exp(shared + moved.normal(0.0, self.offset)))
            for workload in workloads
        ]
        session = FakeSession(
            self.clock,
            costs,
            noise=self.noise,
            visit_s=self.visit_s,
            slowdown=self.slowdown,
            seed=seed,
        )
        self.sessions.append(session)
        return session

    def cost_ms(self, workload: Workload) -> float:
        """True cost of a workload that is called by itself."""
        return called_ms(workload)


CALL_MS = 0.05
"""What a call of the made-up runtime costs, whatever it runs."""


def called_ms(workload: Workload) -> float:
    """True cost of calling an op, a network or a file on the made-up device."""
    return CALL_MS + (0.0 if workload == IDENTITY else cost_ms(workload))


def cost_ms(workload: Workload) -> float:
    """True cost of an op inside a network, or of all ops of a network."""
    if workload.arch is not None:
        return sum(cost_ms(Workload("x", op=op)) for op in workload.arch.ops())
    op = workload.op
    if op is None:
        return 1.0
    return 1e-3 * (op.out_h * op.out_w * op.out_c * op.kernel + op.mid_c)


def row_ms(op: OpSpec) -> float:
    """What a table of the made-up device says of an op: the classifier keeps the call."""
    return cost_ms(Workload("x", op=op)) + (CALL_MS if op.op == "classifier" else 0.0)
