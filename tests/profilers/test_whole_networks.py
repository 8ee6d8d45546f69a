"""Networks and files by the protocol, in this process and in a fresh one."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_host import FakeClock, FakeSession
from tiny_spaces import TO_PROFILE

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.inspection import peak_memory_mb
from proxyless_hw.profilers.models.building import build_module
from proxyless_hw.profilers.networks import (
    measure_files,
    measure_in_fresh_process,
    measure_networks,
    measure_workloads,
    settings_for_files,
)
from proxyless_hw.profilers.per_op import node_times
from proxyless_hw.profilers.protocol.measurement import Measuring
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec

SPACE = TO_PROFILE.replace("kernel: 5", "kernel: 7")
QUICK = Measuring(timing=TimingConfig(min_rounds=3, max_rounds=3, goal=0.5), sessions=1)


@pytest.fixture(scope="module")
def archs() -> list[Architecture]:
    space = SearchSpace.from_yaml(SPACE)
    return [
        Architecture.from_choices(space, choices, resolution=96)
        for choices in ([0, 2, 2], [1, 1, 1])
    ]


@pytest.fixture(scope="module")
def files(archs: list[Architecture], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for index, arch in enumerate(archs):
        module, shape = build_module(Workload("x", arch=arch), 1)
        path = folder / f"{index}.onnx"
        path.write_bytes(onnx_bytes(module, shape))
        paths.append(path)
    return paths


def test_networks_are_measured_in_the_order_given(archs: list[Architecture]) -> None:
    small, large = measure_networks(archs, QUICK, names=["small", "large"])
    assert (small.name, large.name) == ("small", "large")
    assert 0 < small.min < large.min
    for item in (small, large):
        assert (item.unit, item.cache, item.table_speed) == ("ms", "network", None)
        assert item.min <= item.median
        assert item.ci_low <= item.median <= item.ci_high
        assert item.rounds == 3


def test_files_choose_their_runtime_and_cost_what_their_network_costs(files: list[Path]) -> None:
    small, large = measure_files(files, QUICK)
    assert small.name == str(files[0])
    assert small.min < large.min


def test_a_fresh_process_gives_the_same_fields(
    files: list[Path], archs: list[Architecture]
) -> None:
    measured = measure_in_fresh_process(paths=files[:1], archs=archs[1:], how=QUICK)
    assert [item.name for item in measured] == [str(files[0]), "network 0"]
    assert 0 < measured[0].min < measured[1].min


def test_an_error_in_a_fresh_process_comes_back_as_itself(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ProfilingError, match=r"broken\.onnx is not an ONNX model"):
        measure_in_fresh_process(paths=[broken], how=QUICK)
    with pytest.raises(BackendUnavailableError, match="fp16"):
        measure_in_fresh_process(
            paths=[broken], how=replace(QUICK, settings=ProfilerSettings(precision="fp16"))
        )


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, files: list[Path]) -> None:
    def hang(*arguments: Any, **settings: Any) -> None:
        raise subprocess.TimeoutExpired(arguments, settings["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(ProfilingError, match="more than 5 s"):
        measure_in_fresh_process(paths=files, timeout_s=5)


def test_a_process_that_dies_gives_its_last_words(
    monkeypatch: pytest.MonkeyPatch, files: list[Path]
) -> None:
    def die(*arguments: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(arguments, -9, "half a li", "line\nKilled here")

    monkeypatch.setattr(subprocess, "run", die)
    with pytest.raises(ProfilingError, match=r"code -9: Killed here"):
        measure_in_fresh_process(paths=files)


@pytest.mark.parametrize(
    ("names", "match"),
    [(["a.onnx", "b.tflite"], "several runs"), (["a.pt"], r"end in \.onnx, \.tflite or \.pte")],
)
def test_files_that_need_two_runtimes_or_none_are_refused(names: list[str], match: str) -> None:
    with pytest.raises(ProfilingError, match=match):
        settings_for_files([Path(name) for name in names], ProfilerSettings(), "cpu")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfilingError, match=r"no model file .*gone\.onnx"):
        measure_files([tmp_path / "gone.onnx"])


class _Counting:
    """Opens made-up sessions and notes how many workloads each holds."""

    def __init__(self, clock: FakeClock, visit_s: float = 0.01) -> None:
        self.clock = clock
        self.visit_s = visit_s
        self.settings = ProfilerSettings()
        self.opened: list[int] = []

    def describe(self) -> dict[str, str]:
        return {}

    def open(self, workloads: Sequence[Workload]) -> FakeSession:
        self.opened.append(len(workloads))
        return FakeSession(self.clock, [1.0] * len(workloads), visit_s=self.visit_s)


def test_many_networks_are_held_in_memory_a_few_at_a_time(archs: list[Architecture]) -> None:
    clock = FakeClock()
    profiler = _Counting(clock)
    workloads = [Workload(f"n{index}", arch=archs[0]) for index in range(90)]
    measured = measure_workloads(workloads, Measuring(), profiler=profiler, clock=clock)
    assert profiler.opened == [41, 41, 11]
    assert [item.name for item in measured] == [workload.name for workload in workloads]


def test_many_networks_share_one_budget(archs: list[Architecture]) -> None:
    clock = FakeClock()
    profiler = _Counting(clock)
    workloads = [Workload(f"n{index}", arch=archs[0]) for index in range(90)]
    timing = TimingConfig(goal=0.001, budget_s=60.0, spend=False)
    measured = measure_workloads(
        workloads, Measuring(timing=timing), profiler=profiler, clock=clock
    )
    assert len(measured) == 90
    assert clock.now <= 60.1


def test_a_budget_too_short_for_every_network_names_a_way_on_that_exists(
    archs: list[Architecture],
) -> None:
    """Nothing of it is kept, so --resume is not offered."""
    clock = FakeClock()
    workloads = [Workload(f"n{index}", arch=archs[0]) for index in range(30)]
    how = Measuring(timing=TimingConfig(budget_s=0.2, spend=False))
    with pytest.raises(
        ProfilingError, match=r"not measured yet.*--budget, or measure fewer"
    ) as caught:
        measure_workloads(workloads, how, profiler=_Counting(clock, 9.0), clock=clock)
    assert "--resume" not in str(caught.value)


def test_names_must_tell_networks_apart(archs: list[Architecture]) -> None:
    with pytest.raises(ProfilingError, match="distinct names"):
        measure_networks(archs, names=["x", "x"])


def test_node_times_add_up_and_name_the_nodes(files: list[Path]) -> None:
    nodes = node_times(Workload("n", file=files[1]), ProfilerSettings(), "cpu")
    assert sum(node.share for node in nodes) == pytest.approx(1.0)
    assert {"Conv", "Gemm"} <= {node.op_type for node in nodes}
    assert all(node.ms >= 0 for node in nodes)


def test_peak_memory_holds_at_least_the_weights(tmp_path: Path) -> None:
    op = OpSpec("conv", 4, 4, 1024, 4, 4, 2048, kernel=1)
    module, shape = build_module(Workload("x", op=op), 1)
    path = tmp_path / "wide.onnx"
    path.write_bytes(onnx_bytes(module, shape))
    weights_mb = 1024 * 2048 * 4 / 2**20
    assert weights_mb <= peak_memory_mb(path, ProfilerSettings()) < 12 * weights_mb


def test_memory_of_a_broken_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ProfilingError, match="is not an ONNX model"):
        peak_memory_mb(path, ProfilerSettings())
