"""An op's cost is what it costs with its surroundings, less what these cost."""

from __future__ import annotations

import pytest

from proxyless_hw.profilers.base import Visit, Workload
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.host.surrounded import LEAST_SHARE, SurroundedSession, without
from proxyless_hw.profilers.models.surroundings import (
    Surroundings,
    only_surroundings,
    surrounded_op,
    surroundings_of,
)
from proxyless_hw.space.specs import OpSpec


class Clock:
    """A clock that moves by what runs, in ms."""

    def __init__(self) -> None:
        self.now = 0.0

    def runner(self, name: str, ms: float) -> Runner:
        def call() -> None:
            self.now += ms

        return Runner(name, call)


@pytest.mark.parametrize("idle_ms", [0.5, 4.0])
def test_an_op_is_what_is_left_of_a_call_without_its_surroundings(idle_ms: float) -> None:
    clock = Clock()
    opened = SurroundedSession(
        [clock.runner("op", 10.0), clock.runner("network", 7.0)],
        {0: clock.runner("around", 4.0)},
        clock.runner("idle", idle_ms),
        worked=lambda: clock.now,
    )
    opened.meter = lambda: clock.now
    op, network = opened.visit([0, 1])
    # The cost of a call stays in both: the framework takes it off where that is due.
    assert op.value == pytest.approx(10.0 - (4.0 - idle_ms))
    assert network.value == pytest.approx(7.0)


def test_a_cost_that_is_taken_off_leaves_every_sample_smaller_by_it() -> None:
    left = without(Visit.of([1.0, 1.2, 1.4]), 0.3)
    assert left.samples == pytest.approx((0.7, 0.9, 1.1))
    assert (left.value, left.min) == pytest.approx((0.9, 0.7))
    assert not left.preempted
    assert without(Visit.of([1.0]), 0.1, disturbed=True).preempted


def test_a_cost_as_large_as_the_op_leaves_a_positive_value() -> None:
    left = without(Visit.of([1.0, 2.0]), 5.0)
    assert left.min == pytest.approx(LEAST_SHARE)
    assert left.value > 0


MBCONV = OpSpec("mbconv", 8, 8, 16, 4, 4, 24, kernel=3, stride=2, expand=3)
STEM = OpSpec("conv", 32, 32, 3, 16, 16, 16, kernel=3, stride=2)
CLASSIFIER = OpSpec("classifier", 4, 4, 32, 1, 1, 10, act="none")


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (MBCONV, Surroundings(16, 8, 8)),
        (STEM, Surroundings(16, 2, 2, before=False)),
        (CLASSIFIER, Surroundings(32, 4, 4)),
        (OpSpec("zero", 8, 8, 8, 8, 8, 8, skip=True), None),
    ],
)
def test_what_surrounds_an_op(op: OpSpec, expected: Surroundings | None) -> None:
    assert surroundings_of(Workload(op.key, op=op)) == expected


@pytest.mark.parametrize("op", [MBCONV, STEM, CLASSIFIER])
def test_the_surroundings_add_their_own_convolutions_alone(op: OpSpec) -> None:
    import torch

    from proxyless_hw.profilers.models.building import build_module

    workload = Workload(op.key, op=op)
    bare, _ = build_module(workload, 1)
    module, shape = surrounded_op(workload, 1)
    around = surroundings_of(workload)
    assert around is not None
    alone, alone_shape = only_surroundings(around, 1)

    def weights(part: torch.nn.Module) -> int:
        return sum(value.numel() for value in part.parameters())

    assert module(torch.zeros(shape)).shape[0] == 1
    assert alone(torch.zeros(alone_shape)).shape[1] == around.channels
    added = weights(module) - weights(bare)
    before = 2 * op.in_c if around.before else 0  # 1x1 from one channel, with its bias
    assert before <= added <= before + 5 * op.out_c  # 2x2 depthwise, with its bias
