"""The footprint of a space's networks, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from proxyless_hw.architecture import Architecture
from proxyless_hw.network.counting import count_parameters
from proxyless_hw.profilers.conditioning import NETWORK_MEGABYTES
from proxyless_hw.profilers.footprint import expected_uses, network_megabytes
from proxyless_hw.space import SearchSpace

SPACE = SearchSpace.load("imagenet")


def test_expected_uses_are_those_of_random_networks() -> None:
    uses = expected_uses(SPACE, 224, None)
    generator = np.random.default_rng(0)
    counts = dict.fromkeys(uses, 0.0)
    networks = 2000
    for _ in range(networks):
        choices = [int(generator.integers(len(slot.candidates))) for slot in SPACE.slots]
        for op in Architecture.from_choices(SPACE, choices).ops():
            counts[op] += 1 / networks
    for op, count in counts.items():
        assert uses[op] == pytest.approx(count, abs=0.08)


def test_the_footprint_is_the_mean_weights_and_the_largest_maps() -> None:
    generator = np.random.default_rng(1)
    weights = []
    for _ in range(500):
        choices = [int(generator.integers(len(slot.candidates))) for slot in SPACE.slots]
        weights.append(count_parameters(Architecture.from_choices(SPACE, choices)))
    largest = 112 * 112 * (16 + 96) + 56 * 56 * (24 + 96)
    expected = (np.mean(weights) + largest) * 4 / 2**20
    assert network_megabytes(SPACE, (224,), None) == pytest.approx(expected, abs=1.5)


def test_the_default_is_that_of_the_imagenet_space() -> None:
    assert network_megabytes(SPACE, (224,), None) == NETWORK_MEGABYTES


def test_smaller_images_and_fewer_classes_need_less_and_the_largest_counts() -> None:
    small = network_megabytes(SPACE, (96,), 10)
    assert small < NETWORK_MEGABYTES
    assert network_megabytes(SPACE, (96, 224), None) == NETWORK_MEGABYTES
