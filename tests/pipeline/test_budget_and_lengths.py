"""The time of `specialize`: how the stages share it, and how long a search and a training are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyless_hw.pipeline.budget import FILES_S, SHARES, TimeBudget
from proxyless_hw.pipeline.lengths import SearchLength, TrainLength, decided
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.train.config import TrainConfig


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spend(budget: TimeBudget, clock: Clock, factor: float = 1.0) -> dict[str, float]:
    """Lets every stage take `factor` times what it is given; says what it was given."""
    given = {}
    for name in SHARES:
        given[name] = budget.allot(name)
        clock.now += factor * given[name]
    return given


@settings(deadline=None)
@given(st.floats(400, 1e5))
def test_stages_that_keep_to_their_time_leave_what_the_files_take(total: float) -> None:
    clock = Clock()
    given_s = spend(budget := TimeBudget(total, clock=clock), clock)
    assert sum(given_s.values()) <= total - FILES_S + 1e-6
    assert budget.left_s >= FILES_S - 1e-6
    for name, seconds in given_s.items():
        assert SHARES[name].least <= seconds <= SHARES[name].most


def test_most_of_a_long_budget_is_training_and_searching() -> None:
    clock = Clock()
    given_s = spend(TimeBudget(2 * 3600, clock=clock), clock)
    assert given_s["search"] + given_s["train"] > 0.6 * 2 * 3600


def test_stages_that_take_too_long_leave_less_to_those_that_come() -> None:
    clocks = Clock(), Clock()
    usual = spend(TimeBudget(600, clock=clocks[0]), clocks[0])
    slow = spend(TimeBudget(600, clock=clocks[1]), clocks[1], factor=1.5)
    assert slow["train"] < usual["train"]
    assert slow["verify"] >= SHARES["verify"].least


def test_time_of_earlier_processes_counts() -> None:
    clock = Clock()
    budget = TimeBudget(600, spent_s=500, clock=clock)
    assert budget.left_s == 100
    clock.now += 200
    assert budget.left_s == 0
    assert budget.allot("train") == SHARES["train"].least


def heard() -> list[str]:
    return []


SIDES = (64, 96, 128, 160)


def test_the_largest_images_are_taken_that_leave_time_for_enough_epochs() -> None:
    length = SearchLength(seconds=240.0, resolutions=SIDES, enough=24)
    config = length.to_try(SearchConfig(train_resolution=160))
    assert config.train_resolution == 64
    said = heard()
    # 24 epochs in 240 s: an epoch may take 10 s. 4 s at 64 px are 9 s at 96 and 16 s at 128.
    chosen = length.fitted(config, 4.0, said.append)
    assert chosen.train_resolution == 96
    assert "96 px instead of 160" in said[0]
    assert "about 9.0 s here" in said[-1]
    quick = length.fitted(config, 0.1, heard().append)
    assert quick.train_resolution == 160
    slow = length.fitted(config, 100.0, heard().append)
    assert slow.train_resolution == 64


def test_images_are_left_out_only_where_the_least_epochs_do_not_fit() -> None:
    length = SearchLength(seconds=100.0, least=(2, 3), most=(10, 20), images=10_000)
    said = heard()
    chosen = length.fitted(SearchConfig(batch_size=16), 40.0, said.append)
    assert chosen.limit == 5000  # five epochs in 100 s: 20 s each, half of 40 s
    assert "5000 of 10000 training images" in said[0]
    assert (chosen.warmup_epochs, chosen.epochs) == (2, 3)
    assert length.fitted(SearchConfig(), 20.0, heard().append).limit is None
    hopeless = length.fitted(SearchConfig(batch_size=16), 1e9, heard().append)
    assert hopeless.limit == 8 * 16
    whole = SearchLength(seconds=100.0, least=(2, 3), most=(10, 20))
    assert whole.fitted(SearchConfig(), 1e9, heard().append).limit is None


@pytest.mark.parametrize(("seconds", "finalists"), [(0.1, 8), (10.0, 3), (100.0, 2)])
def test_there_are_as_many_finalists_as_the_epochs_pay_for(seconds: float, finalists: int) -> None:
    length = SearchLength(seconds=100.0, least=(2, 4), most=(10, 20), finalists=8)
    assert length.fitted(SearchConfig(), seconds, heard().append).finalists == finalists
    plain = SearchLength(seconds=100.0)
    assert plain.fitted(SearchConfig(finalists=4), seconds, heard().append).finalists == 4


def test_a_training_takes_its_time_within_bounds() -> None:
    length = TrainLength(seconds=100.0, least=3, most=50, images=1000)
    config, said = TrainConfig(arch="x", batch_size=16), heard()
    assert length.fitted(config, 10.0, said.append).epochs == 10
    assert "10 epochs, about 100 s" in said[-1]
    assert length.fitted(config, 0.1, heard().append).epochs == 50
    slow = length.fitted(config, 100.0, said.append)
    assert (slow.epochs, slow.limit) == (3, 333)
    assert "333 are used. A larger --budget uses more." in said[-2]


def test_going_on_keeps_to_what_the_first_start_decided() -> None:
    settings_of_run = {"epochs": 7, "limit": 99, "lr": 0.5}
    assert decided(TrainLength(seconds=1.0), settings_of_run) == {"epochs": 7, "limit": 99}
    assert "train_resolution" in SearchLength(seconds=1.0).decided
