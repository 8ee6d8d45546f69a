"""Energy counters: a made-up powercap tree, a made-up NVML, a made-up clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_host import FakeClock, FakeSession

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.host.energy import EnergySession, NvmlCounter, RaplCounter, find_counter
from proxyless_hw.profilers.host.nvml import Nvml
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.registry import get_profiler

RANGE_UJ = 262_143_328_850


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, one with a part and shown twice, and a zone of the whole platform."""
    for zone, name, energy in (
        ("intel-rapl:0", "package-0", 1_000_000),
        ("intel-rapl:0:0", "core", 400_000),
        ("intel-rapl:1", "package-1", RANGE_UJ - 1000),
        ("intel-rapl:2", "psys", 5),
        ("intel-rapl-mmio:0", "package-0", 77),
    ):
        folder = tmp_path / zone
        folder.mkdir()
        (folder / "name").write_text(name + "\n", encoding="ascii")
        (folder / "energy_uj").write_text(f"{energy}\n", encoding="ascii")
        (folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n", encoding="ascii")
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def advance(powercap: Path, zone: str, micro_joules: int) -> None:
    path = powercap / zone / "energy_uj"
    path.write_text(str((int(path.read_text()) + micro_joules) % RANGE_UJ), encoding="ascii")


def test_packages_are_added_and_their_parts_are_not(powercap: Path) -> None:
    counter = RaplCounter(powercap)
    assert counter.name == "RAPL package-0 package-1"
    assert counter.read_mj() == 0
    advance(powercap, "intel-rapl:0", 7000)
    advance(powercap, "intel-rapl:0:0", 6000)
    advance(powercap, "intel-rapl:2", 9000)
    advance(powercap, "intel-rapl-mmio:0", 7000)
    assert counter.read_mj() == 7.0


def test_a_counter_that_starts_again_at_zero_goes_on(powercap: Path) -> None:
    counter = RaplCounter(powercap)
    advance(powercap, "intel-rapl:1", 3000)
    assert int((powercap / "intel-rapl:1/energy_uj").read_text()) == 2000
    assert counter.read_mj() == 3.0
    advance(powercap, "intel-rapl:1", RANGE_UJ - 1000)
    assert counter.read_mj() == pytest.approx(3.0 + (RANGE_UJ - 1000) / 1e3)


def test_a_machine_without_counters_gets_one_message(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BackendUnavailableError, match=r"shows no energy counters.*--metric"):
            RaplCounter(root)


def test_a_counter_for_root_only_says_how_to_allow_it(
    powercap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.read_text

    def guarded(self: Path, *args: Any, **kwargs: Any) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    with pytest.raises(BackendUnavailableError, match=r"root only.*chmod a\+r"):
        RaplCounter(powercap)


@pytest.mark.parametrize("content", ["", "-5", "1e9", "garbage"])
def test_a_counter_without_a_number_is_refused(powercap: Path, content: str) -> None:
    (powercap / "intel-rapl:0/energy_uj").write_text(content, encoding="ascii")
    with pytest.raises(BackendUnavailableError, match="must hold a whole number"):
        RaplCounter(powercap)


def test_a_counter_that_vanishes_is_one_message(powercap: Path) -> None:
    counter = RaplCounter(powercap)
    os.unlink(powercap / "intel-rapl:0/energy_uj")
    with pytest.raises(BackendUnavailableError, match="cannot be read: No such file"):
        counter.read_mj()


class FakeMachine:
    """A clock, and a counter that draws constant power and moves in steps of a millisecond."""

    block_s = 0.2
    name = "made-up"

    def __init__(self, watts: float) -> None:
        self.watts = watts
        self.now_s = 0.0

    def clock(self) -> float:
        self.now_s += 1e-5
        return self.now_s

    def read_mj(self) -> float:
        self.now_s += 1e-5
        return int(self.now_s * 1e3) * self.watts

    def work(self, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.now_s += seconds

        return call


class Inner:
    """A session in this process."""

    def __init__(self, *runners: Any) -> None:
        self.runners = runners
        self.waits = self.closed = 0

    def synchronise(self) -> None:
        self.waits += 1

    def close(self) -> None:
        self.closed += 1


def test_energy_is_power_times_the_time_of_a_call() -> None:
    machine = FakeMachine(watts=10)
    runners = [Runner("a", machine.work(0.002)), Runner("b", machine.work(0.004))]
    session = EnergySession(Inner(*runners), machine, machine.clock)
    visits = session.visit([0, 1, 0])
    # 10 W for 2 ms are 20 mJ; the loop itself costs the clock 10 µs a call.
    assert [visit.value for visit in visits] == pytest.approx([20, 40, 20], rel=0.02)
    assert visits[0].calls == pytest.approx(100, abs=2)


def test_a_session_that_runs_blocks_divides_by_their_calls() -> None:
    class Block:
        name = "a"
        calls = 50

        def __init__(self, machine: FakeMachine) -> None:
            self.block = machine.work(0.05)
            self.call = machine.work(99)

    machine = FakeMachine(watts=10)
    inner = Inner(Block(machine))
    visit = EnergySession(inner, machine, machine.clock).visit([0])[0]
    assert visit.value == pytest.approx(10, rel=0.02)
    assert inner.waits == visit.calls / 50 + 1  # each block has ended before the counter is read


def test_closing_an_energy_session_closes_the_inner_one() -> None:
    inner = Inner()
    machine = FakeMachine(1)
    with EnergySession(inner, machine, machine.clock):
        pass
    assert inner.closed == 1


class FakePynvml:
    """NVIDIA's library with one old and one new GPU."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.energy_mj = 123_456

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> bytes | str:
        return b"Old GPU" if handle == 0 else "New GPU"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if handle == 0:
            raise self.NVMLError
        return self.energy_mj


def test_a_gpu_that_counts_is_read_and_another_is_refused() -> None:
    nvml = Nvml(FakePynvml())
    counter = NvmlCounter(nvml, 1)
    assert counter.read_mj() == 123_456
    assert counter.name == "NVML New GPU"
    with pytest.raises(BackendUnavailableError, match=r"GPU 0 \(Old GPU\) does not count"):
        NvmlCounter(nvml, 0)


def test_kinds_without_counters_are_refused() -> None:
    with pytest.raises(BackendUnavailableError, match="'mobile' has no counter"):
        find_counter("mobile", ProfilerSettings())


def test_energy_of_the_cpu_is_measured_through_the_registry(powercap: Path) -> None:
    from small_ops import small_workloads

    settings = ProfilerSettings(metric="energy", options={"powercap": str(powercap)})
    profiler = get_profiler("cpu", settings)
    described = profiler.describe()
    assert (described["metric"], described["unit"]) == ("energy", "mJ")
    assert described["energy_counter"] == "RAPL package-0 package-1"
    assert described["runtime"] == "onnxruntime"
    with profiler.open(small_workloads()[:1]) as session:
        assert session.visit([0])[0].value == 0  # the made-up counters stand still


def test_energy_without_counters_is_one_message(tmp_path: Path) -> None:
    settings = ProfilerSettings(metric="energy", options={"powercap": str(tmp_path)})
    with pytest.raises(BackendUnavailableError, match="shows no energy counters"):
        get_profiler("cpu", settings).describe()


def test_sessions_outside_this_process_are_refused(powercap: Path) -> None:
    from proxyless_hw.profilers.host.energy import EnergyProfiler

    class Outside:
        settings = ProfilerSettings()

        def describe(self) -> dict[str, str]:
            return {}

        def open(self, workloads: Any) -> Any:
            return session

    session = FakeSession(FakeClock(), [])  # has no runners that could be called here
    closed: list[bool] = []
    session.close = lambda: closed.append(True)  # type: ignore[method-assign]
    profiler = EnergyProfiler(Outside(), ProfilerSettings(), lambda: RaplCounter(powercap))
    with pytest.raises(ProfilingError, match="in this process only"):
        profiler.open([])
    assert closed == [True]
