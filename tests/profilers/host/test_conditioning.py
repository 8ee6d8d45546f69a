"""The state of the caches: how much memory fits a space, and how the header says it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_ops import TINY_SPACE

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.host import conditioning
from proxyless_hw.profilers.host.conditioning import (
    DEFAULT_MEGABYTES,
    LEAST_COLD_MEGABYTES,
    LEAST_MEGABYTES,
    cache_line,
    cache_options,
    cache_state,
    cold_megabytes,
    network_conditioning,
    space_megabytes,
    with_caches_for,
    with_caches_of,
)
from proxyless_hw.profilers.options import given_options
from proxyless_hw.space.search_space import SearchSpace


def test_a_tiny_space_against_a_count_by_hand() -> None:
    """Stem 16x16x3 to 8x8x8, one slot (3x3 or 5x5, expansion 3, or nothing), a classifier.

    Weights: stem 3*3*3*8, BatchNorm included 2*8; candidates 8*24 + k*k*24 + 24*8 with BatchNorms
    2*(24 + 24 + 8); classifier 8*10 + 10. A random network has each candidate in a third.
    Largest maps at once: the input 8x8x8 of the slot and its expanded 8x8x24.
    """
    space = SearchSpace.from_yaml(TINY_SPACE)
    stem = 3 * 3 * 3 * 8 + 2 * 8
    block = 8 * 24 + 24 * 8 + 2 * (24 + 24 + 8)
    slot = ((block + 9 * 24) + (block + 25 * 24)) / 3
    weights = stem + slot + 8 * 10 + 10
    maps = 8 * 8 * 8 + 8 * 8 * 24
    assert maps > 16 * 16 * 3 + 8 * 8 * 8
    wide = 64  # images, so that the smallest size that can be asked for plays no part
    expected = (weights + wide * maps) * 4 / 2**20
    assert space_megabytes(space, 16, None, "fp32", wide) == pytest.approx(expected)
    assert space_megabytes(space, 16, None, "int8", 4 * wide) == pytest.approx(
        (weights + 4 * wide * maps) / 2**20
    )
    more_classes = space_megabytes(space, 16, 1010, "fp32", wide) - expected
    assert more_classes == pytest.approx(9 * 1000 * 4 / 2**20)


def test_the_smallest_spaces_take_the_smallest_size_that_can_be_asked_for() -> None:
    tiny = """
schema: proxyless-hw-space/1
id: minute
resolution: 4
num_classes: 2
stem: {op: conv, kernel: 1, stride: 2, width: 2}
candidates: [{op: mbconv, kernel: 3, expand: 1}]
zero: true
stages: [{width: 2, depth: 1, stride: 1}]
head: [{op: classifier}]
"""
    found = space_megabytes(SearchSpace.from_yaml(tiny), 4, None, "fp32", 1)
    assert found == LEAST_MEGABYTES
    assert network_conditioning(ProfilerSettings(options={"cache_mb": f"{found:.4g}"})) is not None


def test_a_large_space_moves_more_than_a_small_one() -> None:
    imagenet = space_megabytes(SearchSpace.load("imagenet"), 224, None, "fp32", 1)
    cifar = space_megabytes(SearchSpace.load("cifar-mbconv"), 32, None, "fp32", 1)
    assert 15 < imagenet < 35
    assert cifar < 0.8 * imagenet


OPTIONS = st.one_of(
    st.just({"cache": "hot"}),
    st.fixed_dictionaries(
        {"cache": st.sampled_from(["network", "cold"])},
        optional={"cache_mb": st.floats(0.01, 4096).map(lambda size: f"{size:.4g}")},
    ),
)


@settings(deadline=None, max_examples=40)
@given(OPTIONS)
def test_the_header_line_brings_the_state_back(options: dict[str, str]) -> None:
    asked = ProfilerSettings(options=options)
    line = cache_line(asked)
    again = ProfilerSettings(options=cache_options(line))
    assert cache_line(again) == line
    mode, size = cache_state(asked)
    assert cache_state(again)[0] == mode
    assert cache_state(again)[1] == pytest.approx(size, rel=1e-3)


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("hot", {"cache": "hot"}),
        ("network 22 MB", {"cache": "network", "cache_mb": "22"}),
        ("cold 1234 MB", {"cache": "cold", "cache_mb": "1234"}),
        ("network", {"cache": "network"}),
        ("", {}),
        ("lukewarm 3 MB", {}),
    ],
)
def test_what_a_header_line_means(line: str, options: dict[str, str]) -> None:
    assert cache_options(line) == options


def test_without_a_space_it_is_what_a_mobile_network_moves() -> None:
    assert cache_state(ProfilerSettings()) == ("network", DEFAULT_MEGABYTES)


@pytest.mark.parametrize(
    ("sizes", "megabytes"),
    [
        ({"index0": "32K", "index2": "1024K", "index3": "260M"}, 512.0),
        ({"index0": "32K", "index3": "99M"}, 198.0),
        ({"index0": "32K"}, LEAST_COLD_MEGABYTES),
        ({"index0": "what", "index1": ""}, LEAST_COLD_MEGABYTES),
        ({}, LEAST_COLD_MEGABYTES),
    ],
)
def test_cold_is_twice_the_last_cache(
    tmp_path: Path, sizes: dict[str, str], megabytes: float
) -> None:
    for name, text in sizes.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "size").write_text(text + "\n")
    assert cold_megabytes(tmp_path) == megabytes


def asked_for(**options: str) -> dict[str, str]:
    """What the caches of the tiny space become for a user's options."""
    space = SearchSpace.from_yaml(TINY_SPACE)
    return given_options(
        with_caches_for(space, 16, None, ProfilerSettings(options=options), print).options
    )


def test_the_size_fits_the_space_unless_the_user_says_otherwise() -> None:
    size = space_megabytes(SearchSpace.from_yaml(TINY_SPACE), 16, None, "fp32", 1)
    assert asked_for() == {"cache_mb": f"{size:.4g}"}
    assert asked_for(cache="network") == {"cache": "network", "cache_mb": f"{size:.4g}"}
    assert asked_for(cache="hot") == {"cache": "hot"}
    assert asked_for(cache="cold") == {"cache": "cold"}
    assert asked_for(cache_mb="3") == {"cache_mb": "3"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"cache": "network", "cache_mb": "0.5"}),
        ({"cache": "network"}, {"cache": "network", "cache_mb": "0.5"}),
        ({"cache": "hot"}, {"cache": "hot"}),
        ({"cache_mb": "22"}, {"cache_mb": "22"}),
    ],
)
def test_what_is_compared_with_a_table_has_its_caches_unless_another_state_is_asked_for(
    given: dict[str, str], wanted: dict[str, str]
) -> None:
    found = with_caches_of("network 0.5 MB", ProfilerSettings(options=given))
    assert given_options(found.options) == wanted
    assert with_caches_of("", ProfilerSettings(options=given)).options == given


def test_a_custom_op_that_does_not_count_itself_is_said_and_profiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: object) -> float:
        raise ArchitectureError("the parameters of custom op 'mine' are not known.")

    monkeypatch.setattr(conditioning, "space_megabytes", unknown)
    said: list[str] = []
    space = SearchSpace.from_yaml(TINY_SPACE)
    found = with_caches_for(space, 16, None, ProfilerSettings(), said.append)
    assert cache_line(found) == "network 22 MB"
    assert len(said) == 1
    assert "'mine'" in said[0]
    assert "22 MB" in said[0]
    assert "--option cache_mb=N" in said[0]
