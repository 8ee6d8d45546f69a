"""Devices of one's own: registered at run time, measured, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_spaces import TO_PROFILE

import proxyless_hw as ph
from proxyless_hw.errors import InterruptedRunError, ProfilingError
from proxyless_hw.predictors.measured import measuring_for, settings_of
from proxyless_hw.profilers import own_profilers
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.networks import measure_in_fresh_process
from proxyless_hw.profilers.registry import BUILT_IN, get_profiler, profiler_settings
from proxyless_hw.space.search_space import SearchSpace


@dataclass(frozen=True, kw_only=True)
class BoardOptions:
    clock_mhz: int = 800


class BoardSession(ph.ProfilerSession):
    closed = 0

    def __init__(self, costs: Sequence[float]) -> None:
        self.costs = costs

    def visit(self, order: Sequence[int]) -> list[ph.Visit]:
        return [ph.Visit.of([self.costs[index]]) for index in order]

    def close(self) -> None:
        BoardSession.closed += 1


class Board:
    header: Mapping[str, object] = {"device": "board A"}

    def __init__(self, settings: ProfilerSettings) -> None:
        self.settings = settings

    def describe(self) -> Mapping[str, object]:
        return self.header

    def open(self, workloads: Sequence[Workload]) -> BoardSession:
        scale = 800 / self.settings.options.clock_mhz
        return BoardSession(
            [
                scale * (1.0 if one.op is None else 0.01 + ph.op_macs(one.op) / 1e6)
                for one in workloads
            ]
        )


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_profilers, "_AT_RUN_TIME", {})
    ph.register_profiler("board", options=BoardOptions)(Board)


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace.from_yaml(TO_PROFILE)


def test_the_table_holds_what_the_device_costs_and_a_complete_header(space: SearchSpace) -> None:
    table = ph.profile(space, device="board", goal=0.5, quiet=True, batch_size=2)
    for op, entry in table.entries.items():
        assert entry.value == pytest.approx(0.01 + ph.op_macs(op) / 1e6)
    header = table.metadata
    assert header["device"] == "board A"  # its own words win
    assert (header["device_kind"], header["runtime"]) == ("board", "board")
    assert (header["batch_size"], header["unit"], header["statistic"]) == ("2", "ms", "median")


def test_device_options_are_typed_and_part_of_the_tables_setting(
    space: SearchSpace, tmp_path: Path
) -> None:
    slow = ph.profile(space, device="board", goal=0.5, quiet=True, options={"clock_mhz": "400"})
    fast = ph.profile(space, device="board", goal=0.5, quiet=True, options=BoardOptions())
    slow.save(tmp_path / "slow.csv")
    loaded = ph.LatencyTable.load(tmp_path / "slow.csv")
    kind, settings = settings_of(loaded)
    assert profiler_settings(kind, settings).options == BoardOptions(clock_mhz=400)
    difference = loaded.diff(fast)
    assert set(difference.settings) == {"options"}
    assert difference.to_pandas()["change"].to_numpy() == pytest.approx(-0.5)
    with pytest.raises(ph.ProxylessHwError, match="options"):
        loaded.merge(fast)
    other = ProfilerSettings(options={"clock_mhz": 800})
    with pytest.raises(ph.ProxylessHwError, match="options"):
        measuring_for(loaded, device="board", settings=other)


def test_a_misspelt_option_names_the_nearest(space: SearchSpace) -> None:
    with pytest.raises(ProfilingError, match=r"no option 'clok_mhz'. Did you mean 'clock_mhz'"):
        ph.profile(space, device="board", options={"clok_mhz": 400}, quiet=True)


def test_a_device_without_options_takes_none(space: SearchSpace) -> None:
    ph.register_profiler("plain")(Board)
    with pytest.raises(ProfilingError, match="It takes no options"):
        ph.profile(space, device="plain", options={"clock_mhz": 400}, quiet=True)


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ({"metric": "speed"}, "a metric is one of"),
        ({"metric": "energy", "unit": "ms"}, "a metric is one of"),
        ({"De vice": "x"}, "header lines"),
        ({"device": "two\nlines"}, "header lines"),
    ],
)
def test_a_header_that_no_table_can_hold_is_refused(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch, header: dict[str, object], rule: str
) -> None:
    monkeypatch.setattr(Board, "header", header)
    with pytest.raises(ProfilingError, match=rule):
        ph.profile(space, device="board", quiet=True)


@pytest.mark.parametrize("kind", ["cpu", "gpu", "Board", "a b", ""])
def test_a_kind_that_is_built_in_or_no_name_is_refused(kind: str) -> None:
    with pytest.raises(ProfilingError):
        ph.register_profiler(kind)


def test_options_that_are_no_frozen_dataclass_of_plain_fields_are_refused() -> None:
    @dataclass
    class Loose:
        clock: int = 1

    @dataclass(frozen=True)
    class Listed:
        clocks: tuple[int, ...] = ()

    for options in (Loose, Listed, dict):
        with pytest.raises(ProfilingError):
            ph.register_profiler("other", options=options)  # type: ignore[arg-type]


def test_a_later_registration_replaces_an_earlier_one() -> None:
    class Newer(Board):
        pass

    ph.register_profiler("board", options=BoardOptions)(Newer)
    assert type(get_profiler("board", ProfilerSettings())) is Newer


def test_without_an_output_nothing_is_kept(
    space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    table = ph.profile(space, device="board", goal=0.5, quiet=True)
    assert table.name == "tiny on board"
    assert list((tmp_path / "proxyless-hw" / "profiles").iterdir()) == []

    def stopped(self: BoardSession, order: Sequence[int]) -> list[ph.Visit]:
        raise KeyboardInterrupt

    monkeypatch.setattr(BoardSession, "visit", stopped)
    with pytest.raises(InterruptedRunError, match="without output= no round is kept"):
        ph.profile(space, device="board", goal=0.5, quiet=True)
    assert list((tmp_path / "proxyless-hw" / "profiles").iterdir()) == []
    with pytest.raises(InterruptedRunError, match="resume"):
        ph.profile(space, device="board", goal=0.5, quiet=True, output=tmp_path / "t.csv")


def test_an_output_that_was_interrupted_is_gone_on_with(
    space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = 0
    whole = BoardSession.visit

    def stopped(self: BoardSession, order: Sequence[int]) -> list[ph.Visit]:
        nonlocal visits
        visits += 1
        if visits == 5:
            raise KeyboardInterrupt
        return whole(self, order)

    out = tmp_path / "t.csv"
    with monkeypatch.context() as patch:
        patch.setattr(BoardSession, "visit", stopped)
        with pytest.raises(InterruptedRunError):
            ph.profile(space, device="board", goal=0.5, quiet=True, output=out)
    ph.profile(space, device="board", goal=0.5, quiet=True, output=out, resume=True)
    assert ph.LatencyTable.load(out).missing(space.ops()) == []


def test_networks_are_measured_in_this_process_which_knows_the_device(space: SearchSpace) -> None:
    from proxyless_hw.profilers.protocol.measurement import Measuring

    arch = ph.Architecture.from_choices(space, [0] * len(space.slots))
    (found,) = measure_in_fresh_process(archs=[arch], how=Measuring(device="board"))
    assert found.median == pytest.approx(1.0)


def test_sessions_are_closed(space: SearchSpace) -> None:
    before = BoardSession.closed
    ph.profile(space, device="board", goal=0.5, quiet=True)
    assert BoardSession.closed > before


@pytest.mark.parametrize("samples", [[], [0.0], [-1.0], [float("nan")], [[1.0, 2.0]]])
def test_samples_that_are_no_costs_are_refused(samples: list[float]) -> None:
    with pytest.raises(ProfilingError, match="at least one sample"):
        ph.Visit.of(samples)


def test_a_visit_of_samples_has_their_median_minimum_and_tail() -> None:
    visit = ph.Visit.of(range(1, 12))
    assert (visit.value, visit.min, visit.p90, visit.calls) == (6.0, 1.0, 10.0, 11)


def test_every_built_in_kind_is_reserved() -> None:
    assert set(own_profilers.BUILT_IN_KINDS) == set(BUILT_IN)
