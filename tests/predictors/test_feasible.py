"""The range of costs that a space can reach by a table."""

from __future__ import annotations

import pytest

import proxyless_hw as ph
from proxyless_hw.errors import MissingEntryError


def test_names_and_objects_give_the_range_of_a_search() -> None:
    space, table = ph.SearchSpace.load("imagenet"), ph.LatencyTable.load("pixel1")
    low, high = ph.feasible_range(space, table)
    assert ph.feasible_range("imagenet", "pixel1") == (low, high)
    costs = ph.ExpectedLatency(space, ph.fit_predictor(table, kind="lookup")).costs
    slots = [slot[there] for slot, there in zip(costs.slots, costs.mask, strict=True)]
    assert low == pytest.approx(costs.fixed + sum(slot.min() for slot in slots))
    assert high == pytest.approx(costs.fixed + sum(slot.max() for slot in slots))


def test_ops_that_a_table_lacks_are_not_guessed() -> None:
    with pytest.raises(MissingEntryError, match="no entry for 52 ops"):
        ph.feasible_range("cifar-mbconv", "pixel1")
    low, high = ph.feasible_range("cifar-mbconv", "pixel1", kind="auto")
    assert 0 < low < high
