"""A made-up device with its own clock, drift and noise, for tests of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import numpy as np

from proxyless_hw.profilers.base import ProfilerSettings, Visit, Workload


class FakeClock:
    """Seconds that pass only when something takes time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeSession:
    """Visits cost what `costs_ms` says, times the machine's speed, times noise.

    Args:
        clock: advanced by `visit_s` a visit.
        costs_ms: true cost of each workload.
        slowdown: factor on every cost as a function of the clock.
        noise: standard deviation of the log of a visit; one number or one per workload.
        visit_s: seconds a visit takes.
    """

    def __init__(
        self,
        clock: FakeClock,
        costs_ms: Sequence[float],
        *,
        slowdown: Callable[[float], float] = lambda _: 1.0,
        noise: float | Sequence[float] = 0.0,
        visit_s: float = 0.01,
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.costs_ms = list(costs_ms)
        self.slowdown = slowdown
        self.noise = np.broadcast_to(noise, len(self.costs_ms))
        self.visit_s = visit_s
        self.generator = np.random.default_rng(seed)
        self.orders: list[list[int]] = []

    def visit(self, order: Sequence[int]) -> list[Visit]:
        self.orders.append(list(order))
        return [self._visit(index) for index in order]

    def _visit(self, index: int) -> Visit:
        self.clock.now += self.visit_s
        spread = float(self.generator.normal(0.0, 1.0) * self.noise[index])
        value = self.costs_ms[index] * self.slowdown(self.clock.now) * float(np.exp(spread))
        return Visit(value, value * 0.99, value * 1.02, 3, (value * 0.99, value, value * 1.02))

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class FakeProfiler:
    """A device whose ops cost a microsecond per output value; made for `profile`."""

    def __init__(self, clock: FakeClock, noise: float = 0.003, visit_s: float = 0.002) -> None:
        self.settings = ProfilerSettings()
        self.clock = clock
        self.noise = noise
        self.visit_s = visit_s
        self.opened: list[list[str]] = []

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
        }

    def open(self, workloads: Sequence[Workload]) -> FakeSession:
        self.opened.append([workload.name for workload in workloads])
        return FakeSession(
            self.clock,
            [cost_ms(workload) for workload in workloads],
            noise=self.noise,
            visit_s=self.visit_s,
            seed=len(self.opened),
        )


def cost_ms(workload: Workload) -> float:
    """True cost of an op on the made-up device."""
    op = workload.op
    assert op is not None
    return 1e-3 * (op.out_h * op.out_w * op.out_c * op.kernel + op.mid_c)
