"""The network that runs before each call of an op."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.profilers.models.passing_network import passing_network
from proxyless_hw.profilers.models.surroundings import Surroundings
from proxyless_hw.profilers.runtimes.surrounded import open_surrounded


@pytest.mark.parametrize("megabytes", [2.5, 8.0, 22.0])
def test_its_weights_take_the_memory_that_was_asked_for(megabytes: float) -> None:
    module, _ = passing_network(megabytes, 1)
    weights = sum(item.numel() for item in module.parameters())
    assert weights * 4 / 2**20 == pytest.approx(megabytes, rel=0.15)


def test_it_runs_at_the_batch_asked_for_and_its_convolutions_have_many_shapes() -> None:
    module, shape = passing_network(2.5, 3)
    with torch.no_grad():
        assert module(torch.randn(shape)).shape[0] == shape[0] == 3
    convolutions = [item for item in module.modules() if isinstance(item, torch.nn.Conv2d)]
    shapes = [(*item.weight.shape, *item.stride) for item in convolutions]
    assert len(convolutions) == 48
    assert len(set(shapes)) >= 0.5 * len(shapes)


@pytest.mark.parametrize(("cache", "runs"), [("network", True), ("hot", False)])
def test_it_runs_before_a_call_of_an_op_in_the_caches_of_a_network_only(
    cache: str, runs: bool
) -> None:
    asked: list[float] = []
    passed: list[str] = []

    def named(name: str) -> Callable[[], None]:
        return lambda: passed.append(name)

    def runner(item: Workload | Surroundings) -> Runner:
        return Runner(item.name, named(item.name))

    def passing(megabytes: float) -> Runner:
        asked.append(megabytes)
        return Runner("passing", named("passing"))

    options = {"cache": cache} | ({"cache_mb": "3"} if runs else {})
    settings = ProfilerSettings(options=options)
    with open_surrounded(settings, [IDENTITY], runner, passing) as session:
        passed.clear()
        session.visit([0])
    assert asked == ([3.0] if runs else [])
    assert ("passing" in passed) == runs
    if runs:
        assert passed[0::2].count("passing") == len(passed) / 2
