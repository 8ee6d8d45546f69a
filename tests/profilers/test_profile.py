"""Profiling a space: coverage, resume, gaps, repeats, and what stands in the header."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fake_host import CALL_MS, FakeClock, FakeProfiler, called_ms, row_ms
from tiny_profiles import config_for, run

from proxyless_hw.errors import ProfilingError
from proxyless_hw.predictors.judgement import judge_intervals
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models.building import IDENTITY, REFERENCE_OP
from proxyless_hw.profilers.profile import ProfileConfig, needed_ops, profile
from proxyless_hw.profilers.profiled_table import OVERHEAD_KEY
from proxyless_hw.profilers.protocol.journal import Journal, journal_path
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.anchors import anchors_of
from proxyless_hw.tables.table import LatencyTable


def test_exactly_the_ops_the_space_needs_are_in_the_table(tiny: Path) -> None:
    table, profiler, _ = run(config_for(tiny))
    ops = SearchSpace.load(tiny).ops(32)
    assert list(table.entries) == ops
    assert len(profiler.opened) == 1
    assert set(profiler.opened[0]) == {op.key for op in ops} | {REFERENCE_OP.key, IDENTITY.name}
    assert LatencyTable.load(tiny.parent / "out" / "t.csv").entries == table.entries


def test_values_are_the_measured_ones(tiny: Path) -> None:
    table, _, _ = run(config_for(tiny))
    for op, entry in table.entries.items():
        assert entry.value == pytest.approx(row_ms(op), rel=0.02)
        assert entry.ci_low is not None
        assert entry.ci_high is not None
        assert entry.ci_low <= entry.value <= entry.ci_high
        assert entry.rounds is not None
        assert entry.rounds >= 5


def test_the_header_says_how_the_table_was_made_and_how_good_it_is(tiny: Path) -> None:
    table, _, _ = run(config_for(tiny))
    header = table.metadata
    assert (header["space"], header["num_classes"], header["resolutions"]) == ("tiny", "10", "32")
    assert header["statistic"] == "median"
    assert 0 < float(header["quality_median_half_width"]) < 0.02
    assert float(header["quality_within_2_percent"]) > 0.5
    assert float(header["session_overhead_ms"]) > 0
    assert header["reference_op"] == REFERENCE_OP.key
    assert header["created"].endswith("Z")
    assert "visits and sessions" in header["protocol"]
    assert header["quality_sessions"] == "1"
    assert 0 <= float(header["quality_disturbed"]) <= 1


def test_a_call_of_the_runtime_is_paid_once_by_a_network(tiny: Path) -> None:
    """The sum of rows is what the network costs when it is called; anchors are as measured."""
    table, _, _ = run(config_for(tiny, sessions=3))
    space = SearchSpace.load(tiny)
    arch = Architecture.from_choices(space, [0] * len(space.slots))
    whole = called_ms(Workload("net", arch=arch))
    assert table.latency_ms(arch) == pytest.approx(whole, rel=0.01)
    assert float(table.metadata[OVERHEAD_KEY].split()[0]) == pytest.approx(CALL_MS, rel=0.02)
    for op, value in anchors_of(table).items():
        assert value == pytest.approx(called_ms(Workload("x", op=op)), rel=0.01)


def test_several_resolutions_and_classes_stand_in_one_table(tiny: Path) -> None:
    table, _, _ = run(config_for(tiny, resolutions=(32, 48), num_classes=7))
    space = SearchSpace.load(tiny)
    assert table.missing(space.ops(32, 7)) == table.missing(space.ops(48, 7)) == []
    assert table.num_classes == 7
    assert table.resolutions == (32, 48)


def test_uses_count_how_often_a_random_network_has_an_op(tiny: Path) -> None:
    space = SearchSpace.load(tiny)
    uses = needed_ops(space, config_for(tiny))
    fixed = space.fixed_ops(32)
    assert all(uses[op] == 1.0 for op in fixed)
    strided, repeated = space.slot_ops(32)[0][0], space.slot_ops(32)[1][0]
    assert strided is not None
    assert repeated is not None
    assert uses[strided] == pytest.approx(1 / 2)
    assert uses[repeated] == pytest.approx(2 / 3)


def test_an_existing_table_is_refused_and_left_as_it_is(tiny: Path) -> None:
    config = config_for(tiny)
    run(config)
    before = config.output.read_bytes()
    with pytest.raises(ProfilingError, match=r"t\.csv is there already"):
        run(config)
    assert config.output.read_bytes() == before


def test_resuming_a_finished_table_measures_nothing(tiny: Path) -> None:
    config = config_for(tiny)
    table, _, _ = run(config)
    again, profiler, _ = run(replace(config, resume=True))
    assert profiler.opened == []
    assert again.entries == table.entries


def test_an_unwritable_output_is_refused_before_measuring(tiny: Path) -> None:
    blocked = tiny.parent / "a-file"
    blocked.write_text("x")
    clock = FakeClock()
    profiler = FakeProfiler(clock)
    config = config_for(tiny, output=blocked / "t.csv")
    with pytest.raises(ProfilingError, match="cannot write"):
        profile(config, profiler=profiler, clock=clock)
    assert profiler.opened == []


def test_a_folder_as_output_is_refused(tiny: Path) -> None:
    with pytest.raises(ProfilingError, match="is a folder"):
        run(config_for(tiny, output=tiny.parent))


class _Interrupted(Exception):
    pass


def test_an_interrupted_measurement_goes_on_and_keeps_its_rounds(tiny: Path) -> None:
    config = config_for(tiny, timing=TimingConfig(min_rounds=16, max_rounds=16))
    rounds = 0

    def interrupt(progress: object) -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 4:
            raise _Interrupted

    clock = FakeClock()
    with pytest.raises(_Interrupted):
        profile(config, interrupt, profiler=FakeProfiler(clock, visit_s=0.1), clock=clock)
    assert not config.output.exists()
    written = journal_path(config.output).read_text().splitlines()
    assert len(written) == 1 + 4
    table, _, _ = run(replace(config, resume=True))
    lines = journal_path(config.output).read_text().splitlines()
    assert lines[:5] == written
    assert len(lines) > 5
    assert {entry.rounds for entry in table.entries.values()} == {16}


def test_resuming_under_another_setting_is_refused(tiny: Path) -> None:
    config = config_for(tiny)

    def interrupt(progress: object) -> None:
        raise _Interrupted

    with pytest.raises(_Interrupted):
        run(config, progress=interrupt)
    with pytest.raises(ProfilingError, match="another setting: workloads: "):
        run(replace(config, resume=True, num_classes=3))


def test_repeats_use_fresh_sessions_and_give_a_score(tiny: Path) -> None:
    table, profiler, _ = run(config_for(tiny, repeat=2))
    assert len(profiler.opened) == 2
    assert float(table.metadata["quality_repeat_spearman"]) > 0.95
    assert float(table.metadata["quality_repeat_median_change"]) < 0.02
    assert 0 <= float(table.metadata["quality_repeat_overlap"]) <= 1


def test_runners_are_built_anew_within_a_measurement(tiny: Path) -> None:
    table, profiler, _ = run(config_for(tiny, sessions=3))
    assert len(profiler.opened) == 3
    again, profiler, _ = run(
        config_for(tiny, sessions=2, repeat=2, output=tiny.parent / "again.csv")
    )
    assert len(profiler.opened) == 4
    assert "quality_repeat_spearman" in again.metadata
    assert "quality_repeat_spearman" not in table.metadata


def test_sessions_share_a_budget(tiny: Path) -> None:
    clock = FakeClock()
    timing = TimingConfig(budget_s=40.0, max_rounds=100_000)
    profiler = FakeProfiler(clock, visit_s=0.02)
    config = config_for(tiny, sessions=4, timing=timing)
    profile(config, profiler=profiler, clock=clock)
    assert len(profiler.opened) == 4
    assert 35.0 < clock.now <= 40.0
    with Journal(journal_path(config.output), _header(config), resume=True) as journal:
        parts = [record.part for record in journal.rounds]
    assert min(parts.count(part) for part in range(4)) > 0.7 * len(parts) / 4


def _header(config: ProfileConfig) -> dict[str, object]:
    line = journal_path(config.output).read_text().splitlines()[0]
    header: dict[str, object] = json.loads(line)["record"]
    del header["schema"]
    return header


def test_a_budget_covers_everything_from_the_start(tiny: Path) -> None:
    clock = FakeClock()
    clock.now = 3.0
    config = config_for(tiny, started=0.0, timing=TimingConfig(budget_s=12.0, max_rounds=10_000))
    profiler = FakeProfiler(clock, visit_s=0.02)
    profile(config, profiler=profiler, clock=clock)
    assert 8.0 < clock.now <= 12.0


def test_a_budget_that_is_over_before_it_begins_says_so(tiny: Path) -> None:
    clock = FakeClock()
    clock.now = 30.0
    config = config_for(tiny, started=0.0, timing=TimingConfig(budget_s=12.0))
    with pytest.raises(ProfilingError, match="is over before measuring starts"):
        profile(config, profiler=FakeProfiler(clock), clock=clock)


def test_a_budget_too_short_for_every_op_keeps_what_was_measured_and_resume_finishes(
    tiny: Path,
) -> None:
    clock = FakeClock()
    slow = FakeProfiler(clock, visit_s=4.0)
    config = config_for(tiny, sessions=8, timing=TimingConfig(budget_s=40.0))
    with pytest.raises(ProfilingError, match=r"not measured yet.*about \d+ s.*--resume"):
        profile(config, profiler=slow, clock=clock)
    assert clock.now <= 41
    assert not config.output.exists()
    written = journal_path(config.output).read_text().splitlines()
    assert len(written) > 1
    clock = FakeClock()
    resumed = replace(config, resume=True)
    table = profile(resumed, profiler=FakeProfiler(clock, visit_s=0.02), clock=clock)
    assert clock.now <= 41
    assert journal_path(config.output).read_text().splitlines()[: len(written)] == written
    assert list(table.entries) == SearchSpace.load(tiny).ops(32)


def test_ops_visited_once_are_known_from_zero_to_twice_and_the_table_is_poor(tiny: Path) -> None:
    """Less time gives wider intervals, not a failure."""
    table, _, _ = run(config_for(tiny, timing=TimingConfig(min_rounds=1, max_rounds=1)))
    assert {entry.rounds for entry in table.entries.values()} == {1}
    assert float(table.metadata["quality_median_half_width"]) > 0.5
    assert judge_intervals(table).grade == "poor"


class _Converting(FakeProfiler):
    """Makes models for 30 s before anything can be opened, the first time."""

    def __init__(self, clock: FakeClock, kept: bool) -> None:
        super().__init__(clock, visit_s=0.02)
        self.kept = kept

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        if self.kept:
            self.clock.now += 0.1
            return False
        say(f"converting {len(workloads)} models, about 30 s")
        self.clock.now += 30.0
        return True


@pytest.mark.parametrize("kept", [False, True])
def test_conversion_comes_on_top_of_the_budget_and_is_announced(tiny: Path, kept: bool) -> None:
    clock = FakeClock()
    said: list[str] = []
    config = config_for(tiny, sessions=4, started=0.0, timing=TimingConfig(budget_s=20.0))
    table = profile(config, profiler=_Converting(clock, kept), clock=clock, say=said.append)
    limit = 20.0 if kept else 50.0
    assert limit - 8 < clock.now <= limit
    assert said == ([] if kept else [f"converting {len(table) + 2} models, about 30 s"])


def test_a_killed_profile_loses_at_most_the_round_in_flight(tiny: Path) -> None:
    """A real process, a real runtime, a real SIGKILL."""
    output = tiny.parent / "killed.csv"
    journal = journal_path(output)
    script = """
import os, signal, sys
from proxyless_hw.cli import main
from proxyless_hw.profilers.protocol.journal import Journal

append = Journal.append
def append_and_die_at_the_fourth(self, record):
    append(self, record)
    self.count = getattr(self, "count", 0) + 1
    if self.count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.append = append_and_die_at_the_fourth
main(sys.argv[1:])
"""
    arguments = ["profile", "--space", str(tiny), "--quiet", "--output", str(output)]
    process = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--goal", "0.000001"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    complete = journal.read_bytes().count(b"\n")
    assert not output.exists()
    kept = journal.read_bytes().split(b"\n")[:complete]
    table = profile(
        ProfileConfig(
            output=output,
            space=tiny,
            settings=ProfilerSettings(),
            timing=TimingConfig(goal=0.9, goal_absolute=10.0, max_rounds=complete + 2),
            resume=True,
        )
    )
    assert journal.read_bytes().split(b"\n")[:complete] == kept
    assert table.missing(SearchSpace.load(tiny).ops(32)) == []
    assert min(entry.rounds or 0 for entry in table.entries.values()) >= complete - 1
