"""Settings compared key by key: each difference is named and visible."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.profilers.protocol.setting_differences import setting_differences

LONG = "x" * 300


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"s": {"threads": "1"}}, {"s": {"threads": "2"}}, "s.threads: 1, now 2"),
        ({"s": {"o": {}}}, {"s": {"o": {"cache": "hot"}}}, "s.o.cache: absent, now hot"),
        ({"s": {"o": {"cache": "hot"}}}, {"s": {"o": {}}}, "s.o.cache: hot, now absent"),
        ({"cpus": None}, {"cpus": [0, 2]}, "cpus: not given, now [0, 2]"),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, "a: 1, now 2; b: 2, now 3"),
        ({"threads": 1}, {"threads": "1"}, 'threads: 1, now "1"'),
        ({"name": ""}, {"name": "x"}, 'name: "", now x'),
        ({"o": {}}, {"o": "hot"}, "o: {}, now hot"),
    ],
)
def test_each_difference_is_named_with_both_values(
    before: dict[str, Any], now: dict[str, Any], said: str
) -> None:
    assert setting_differences(before, now) == said


def test_long_values_are_shown_where_they_differ() -> None:
    said = setting_differences({"k": f"{LONG}1{LONG}"}, {"k": f"{LONG}2{LONG}"})
    assert "x1x" in said
    assert "x2x" in said
    assert len(said) < 250


def test_long_lists_are_shown_by_what_joined_and_left() -> None:
    names = [f"mbconv-{number}" for number in range(70)]
    said = setting_differences({"w": names}, {"w": [*names[1:], "conv-a", "conv-b"]})
    assert said == "w: 70 entries, now 71 (gone: mbconv-0, new: conv-a, conv-b)"
    assert "another order" in setting_differences({"w": names}, {"w": names[::-1]})


def test_many_differences_are_counted() -> None:
    before = {f"k{number}": 1 for number in range(30)}
    said = setting_differences(before, dict.fromkeys(before, 2))
    assert said.endswith("; and 22 more")


values = st.recursive(
    st.none() | st.integers() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
settings = st.dictionaries(st.text(max_size=5), values, max_size=4)


@given(settings, settings)
def test_only_equal_settings_have_no_difference(
    before: dict[str, Any], now: dict[str, Any]
) -> None:
    assert (setting_differences(before, now) == "") == (before == now)


def test_both_values_stay_apart_however_long_the_part_they_share() -> None:
    for shared in range(0, 400, 7):
        said = setting_differences({"k": "y" * shared + "1"}, {"k": "y" * shared + "22"})
        first, second = said.removeprefix("k: ").split(", now ")
        assert first != second
