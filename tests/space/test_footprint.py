"""Flash and memory against networks that run in torch, and the exact limit against enumeration."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from live_tensors import folded, peak_of_live_tensors, stored_values
from tiny_spaces import TO_SEARCH

from proxyless_hw.errors import (
    InfeasibleTargetError,
    PredictorError,
    ProxylessHwError,
    SpaceError,
)
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.predictors.costs import counted_costs
from proxyless_hw.predictors.feasible import feasible_range
from proxyless_hw.space import op_registry
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import flash_bytes, memory_bytes, within_memory
from proxyless_hw.space.op_registry import register_op
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec
from proxyless_hw.tables.table import Entry, LatencyTable
from proxyless_hw.units import format_bytes, parse_bytes

# Residual convolutions, layers that are not folded, separable and grouped ones, pooling.
VARIED = """
schema: proxyless-hw-space/1
id: varied
resolution: 20
num_classes: 7
stem: {op: conv, kernel: 3, stride: 2, width: 8, act: relu}
candidates:
  - {op: mbconv, kernel: 3, expand: 1, act: relu6}
  - {op: mbconv, kernel: 5, expand: 4, act: hswish, se: 1}
  - {op: mbconv, kernel: 3, expand: 2, act: swish, se: 3}
  - {op: conv, kernel: 3, act: relu}
  - {op: conv_pre, kernel: 3, act: relu}
  - {op: sepconv, kernel: 3, act: relu}
  - {op: sepconv_pre_d2, kernel: 3, act: relu}
  - {op: conv_nobn_bias, kernel: 1, act: hswish}
  - {op: conv_g2_shuffle, kernel: 1, act: relu}
  - {op: mbconv_pw, kernel: 3, act: relu}
  - {op: mbconv_g2_shuffle, kernel: 3, expand: 3, act: relu}
stages:
  - {width: 8, depth: 2, stride: 1}
  - {width: 16, depth: 2, stride: 2}
head: [{op: conv, kernel: 1, width: 40, act: hswish}, {op: classifier}]
"""


def varied(seed: int) -> Architecture:
    space, draw = SearchSpace.from_yaml(VARIED), random.Random(seed)
    choices = [draw.randrange(len(slot.candidates)) for slot in space.slots]
    return Architecture.from_choices(space, choices)


def of_zoo(name: str, resolution: int) -> Architecture:
    return zoo_architecture(name).with_shape(resolution=resolution)


NETWORKS = [
    *(pytest.param(varied(seed), id=f"varied-{seed}") for seed in range(16)),
    *(
        pytest.param(of_zoo(name, 64), id=name)
        for name in ("proxyless-cpu", "mobilenet-v2", "mobilenet-v3-small", "mnasnet-b1")
    ),
]


@pytest.mark.parametrize("arch", NETWORKS)
def test_both_are_those_of_the_network_that_runs(arch: Architecture) -> None:
    network = folded(arch)
    weights, biases = stored_values(network)
    assert flash_bytes(arch) == 4 * (weights + biases)
    assert flash_bytes(arch, "fp16") == 2 * (weights + biases)
    assert flash_bytes(arch, "int8") == weights + 4 * biases
    peak = peak_of_live_tensors(network, arch.in_channels, arch.resolution)
    assert memory_bytes(arch) == peak
    assert memory_bytes(arch, "int8") == peak // 4


def test_the_input_of_a_residual_block_is_alive_until_the_addition() -> None:
    block = LayerSpec("mbconv", 8, 8, kernel=3, expand=4, skip=True)
    plain = LayerSpec("mbconv", 8, 8, kernel=3, expand=4)
    arch = varied(0)
    # 8 channels at 10x10: expand 800 + 3200, depthwise 3200 + 3200, and the input beside it.
    for layer, most in ((block, 3200 + 3200 + 800), (plain, 3200 + 3200)):
        chain = Architecture(
            "one", 20, 7, arch.stem, (layer,), (LayerSpec("classifier", 8, 7),), arch.batch_norm
        )
        assert memory_bytes(chain, "int8") == most


def test_exactly_the_networks_within_the_limit_are_left() -> None:
    space = SearchSpace.from_yaml(TO_SEARCH)
    options = itertools.product(*(range(len(slot.candidates)) for slot in space.slots))
    needs = {}
    for choices in options:
        arch = Architecture.from_choices(space, choices)
        needs[arch.blocks] = peak_of_live_tensors(folded(arch), 3, 32)
    levels = sorted(set(needs.values()))
    assert len(levels) > 3
    for limit in (value + step for value in levels[1:] for step in (0, -1)):
        wanted = {blocks for blocks, need in needs.items() if need <= limit}
        if len(wanted) == 1:
            continue
        left = within_memory(space, limit)
        kept = {
            left.layers(choices)
            for choices in itertools.product(*(range(len(slot.candidates)) for slot in left.slots))
        }
        assert kept == wanted, limit


def test_a_limit_that_no_network_keeps_names_the_smallest() -> None:
    space = SearchSpace.from_yaml(TO_SEARCH)
    every = itertools.product(*(range(len(slot.candidates)) for slot in space.slots))
    least = min(memory_bytes(Architecture.from_choices(space, one), "int8") or 0 for one in every)
    with pytest.raises(InfeasibleTargetError, match=rf"the smallest needs .*\({least} bytes\)"):
        within_memory(space, least - 1, "int8")
    assert within_memory(space, 1e9).positions == space.positions


def test_one_network_leaves_nothing_to_search() -> None:
    space = SearchSpace.from_dict(
        {
            "schema": "proxyless-hw-space/1",
            "id": "two",
            "resolution": 16,
            "num_classes": 4,
            "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 8},
            "candidates": [{"op": "mbconv", "kernel": 3, "expand": e} for e in (3, 6)],
            "stages": [{"width": 8, "depth": 1, "stride": 1}],
            "head": [{"op": "classifier"}],
        }
    )
    # At 8x8x8 with expansion 3: two maps of 24 channels and the input.
    with pytest.raises(InfeasibleTargetError, match="only one network"):
        within_memory(space, 64 * (24 + 24 + 8), "int8")


def test_trees_and_own_ops_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = SearchSpace.load("cifar-tree")
    with pytest.raises(SpaceError, match="a memory limit needs a chain"):
        within_memory(tree, 1e9)
    arch = Architecture.from_choices(tree, [0] * len(tree.slots))
    assert memory_bytes(arch) is None
    assert flash_bytes(arch) > 0
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})

    @register_op("pointwise")
    def build(layer: LayerSpec, batch_norm: object) -> object:
        from torch import nn

        return nn.Conv2d(layer.in_c, layer.out_c, 1, layer.stride)

    own = SearchSpace.from_yaml(
        TO_SEARCH.replace("{op: mbconv, kernel: 5, expand: 3, act: relu6}", "{op: pointwise}")
    )
    with pytest.raises(SpaceError, match="your own op 'pointwise'"):
        within_memory(own, 1e9)
    arch = Architecture.from_choices(own, [1] * len(own.slots))
    assert memory_bytes(arch) is None
    weights, biases = stored_values(folded(arch))
    assert flash_bytes(arch, "int8") == weights + 4 * biases


def test_flash_is_a_sum_and_memory_is_none() -> None:
    space = SearchSpace.from_yaml(TO_SEARCH)
    costs = counted_costs("flash", space, precision="int8")
    for choices in ([0, 0, 0], [1, 1, 1], [2, 0, 2], [2, 1, 2]):
        arch = Architecture.from_choices(space, choices)
        assert costs.cost(choices) * 1e6 == pytest.approx(flash_bytes(arch, "int8"))
    with pytest.raises(PredictorError, match=r"peak of one of its ops, and no sum.*within_memory"):
        counted_costs("memory", space)


def test_a_range_of_costs_is_that_of_the_networks_left() -> None:
    space = SearchSpace.from_yaml(TO_SEARCH)
    values = {op: 1.0 + 0.3 * index for index, op in enumerate(space.ops())}
    entries = {op: Entry(value, value, value) for op, value in values.items()}
    table = LatencyTable(entries, {"metric": "latency", "unit": "ms"})
    left = within_memory(space, 10_000, "int8")
    assert left.num_candidates < space.num_candidates
    every = itertools.product(*(range(len(slot.candidates)) for slot in space.slots))
    archs = [Architecture.from_choices(space, choices) for choices in every]
    costs = [
        sum(values[op] for op in arch.ops())
        for arch in archs
        if (memory_bytes(arch, "int8") or 0) <= 10_000
    ]
    assert feasible_range(left, table) == pytest.approx((min(costs), max(costs)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("320000", 320_000),
        ("1MB", 1_000_000),
        ("512KB", 512_000),
        ("320kB", 320_000),
        ("1M", 1_000_000),
        ("1.5 MB", 1_500_000),
        ("320KiB", 327_680),
        ("2Mi", 2_097_152),
        ("1e6", 1_000_000),
        ("12B", 12),
    ],
)
def test_bytes_are_decimal_unless_they_say_i(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1TB", "1 MBit", "nan", "1iB", "1,5MB"])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of bytes"):
        parse_bytes(text)


def test_bytes_for_people() -> None:
    shown = [format_bytes(value) for value in (12, 327_680, 4_118_008)]
    assert shown == ["12 B", "327.68 kB", "4.12 MB"]


def test_wrong_kinds_are_refused_in_a_sentence() -> None:
    network, space = zoo_architecture("proxyless-mobile"), SearchSpace.load("imagenet")
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: flash_bytes("mobilenet-v2"), "received str"),  # type: ignore[arg-type]
        (lambda: memory_bytes(3), "received int"),  # type: ignore[arg-type]
        (lambda: flash_bytes(network, "int9"), "Did you mean 'int8'"),  # type: ignore[arg-type]
        (lambda: within_memory("imagenet", 1e6), "must be a SearchSpace"),  # type: ignore[arg-type]
        (lambda: within_memory(space, "1MB"), "a number of bytes"),  # type: ignore[arg-type]
        (lambda: within_memory(space, float("nan")), "a number of bytes"),
    ]
    for call, message in calls:
        with pytest.raises(ProxylessHwError, match=message):
            call()
