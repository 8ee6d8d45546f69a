"""The ranges of a space are those of its networks, counted one by one."""

from __future__ import annotations

import itertools
import json

import pytest
from click.testing import CliRunner
from tiny_spaces import MADE_UP_HEADER, TO_PROFILE

from proxyless_hw.cli import cli
from proxyless_hw.predictors.feasible import feasible_range
from proxyless_hw.predictors.space_ranges import space_ranges
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.space.footprint import memory_bytes
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.table import LatencyTable


def test_every_range_is_that_of_all_networks_of_a_small_space() -> None:
    space = SearchSpace.from_yaml(TO_PROFILE)
    choices = itertools.product(*(range(len(slot.candidates)) for slot in space.slots))
    networks = [Architecture.from_choices(space, choice) for choice in choices]
    ranges = space_ranges(space)
    assert ranges.networks == len(networks)
    for found, count in (
        (ranges.macs, count_macs),
        (ranges.parameters, count_parameters),
        (ranges.memory, memory_bytes),
    ):
        counts = [count(network) for network in networks]
        assert found == (min(counts), max(counts))


def test_a_table_adds_the_range_of_the_predicted_cost_or_what_it_lacks() -> None:
    table = LatencyTable.load("pixel1")
    cost = space_ranges("imagenet", table).cost
    assert cost is not None
    assert cost.range == feasible_range("imagenet", table)
    cost = space_ranges("imagenet", table, resolution=192).cost
    assert cost is not None
    assert cost.range is None
    assert cost.missing > 0
    space = SearchSpace.from_yaml(TO_PROFILE)
    made_up = LatencyTable({op: Entry(2.0) for op in space.ops(64, 5)}, MADE_UP_HEADER)
    ranges = space_ranges(space, made_up)
    assert ranges.resolution == 64  # where nothing else is asked for, the table's shape holds


def test_trees_have_no_peak_of_memory() -> None:
    assert space_ranges("cifar-tree").memory is None


@pytest.mark.parametrize("words", [[], ["imagenet", "imagenet-w1.2"]])
def test_space_list_shows_the_spaces_asked_for(words: list[str]) -> None:
    result = CliRunner().invoke(cli, ["space", "list", *words, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)["spaces"]
    assert [row["name"] for row in rows][: len(words)] == words
    imagenet = next(row for row in rows if row["name"] == "imagenet")
    ranges = space_ranges("imagenet")
    assert imagenet["macs"] == list(ranges.macs)
    text = CliRunner().invoke(cli, ["space", "list", *words]).output
    assert "102.53 M to 606.59 M" in next(
        line for line in text.splitlines() if line.startswith("imagenet ")
    )
