"""Energy per inference: the counters of processors (RAPL) and GPUs (NVML), in millijoule.

The counters cover the whole package or board, so a value holds what the rest of it used while
the workload ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import Profiler, ProfilerSession, ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.device_options import CpuOptions, CudaOptions
from proxyless_hw.profilers.host.nvml import Nvml
from proxyless_hw.profilers.options import parse_options

POWERCAP: Final = Path("/sys/class/powercap")
RAPL_BLOCK_S: Final = 0.2
NVML_BLOCK_S: Final = 1.0
EDGE_S: Final = 0.2


class EnergyCounter(Protocol):
    """Something that counts energy."""

    name: str
    """What the counters cover, for a table's header."""
    block_s: float
    """Least seconds between two readings, so that the steps of a counter do not matter."""

    def read_mj(self) -> float:
        """Energy used since some fixed moment, in mJ."""
        ...


@dataclass
class _Zone:
    """One package's counter, which starts again at 0 when it reaches its range."""

    name: str
    path: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0

    def advance(self) -> int:
        now = _read_integer(self.path)
        step = now - self.last_uj
        self.total_uj += step if step >= 0 else step + self.range_uj
        self.last_uj = now
        return self.total_uj


class RaplCounter:
    """The energy of all processor packages, from the kernel's powercap tree.

    Args:
        root: the tree; a parameter so that another one can be read.

    Raises:
        BackendUnavailableError: there are no counters, or they may not be read.
    """

    block_s = RAPL_BLOCK_S

    def __init__(self, root: Path = POWERCAP) -> None:
        self.zones = [_open_zone(path) for path in _package_zones(root)]
        if not self.zones:
            raise BackendUnavailableError(
                f"this machine shows no energy counters (no packages in {root}). Virtual machines "
                "and many ARM boards have none. Measure latency: --metric latency, or energy on "
                "an NVIDIA GPU: --device gpu --metric energy"
            )
        self.name = "RAPL " + " ".join(zone.name for zone in self.zones)

    def read_mj(self) -> float:
        """Energy since the counter was made, in mJ; readings must be less than a range apart.

        Raises:
            BackendUnavailableError: a counter cannot be read any more.
        """
        return sum(zone.advance() for zone in self.zones) / 1e3


def _package_zones(root: Path) -> list[Path]:
    """One zone per package; cores and memory are parts of them.

    Some processors show a package twice, in the ``intel-rapl`` and the ``intel-rapl-mmio`` tree.
    """
    found: dict[str, Path] = {}
    if root.is_dir():
        for path in sorted(root.iterdir(), key=lambda path: ("mmio" in path.name, path.name)):
            name = path / "name"
            if path.name.count(":") == 1 and name.is_file():
                text = name.read_text(encoding="ascii", errors="replace").strip()
                if text.startswith("package"):
                    found.setdefault(text, path)
    return list(found.values())


def _open_zone(path: Path) -> _Zone:
    name = (path / "name").read_text(encoding="ascii", errors="replace").strip()
    counter = path / "energy_uj"
    return _Zone(
        name=name,
        path=counter,
        range_uj=_read_integer(path / "max_energy_range_uj"),
        last_uj=_read_integer(counter),
    )


def _read_integer(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except PermissionError as cause:
        raise BackendUnavailableError(
            f"the energy counter {path} may be read by root only. Allow it: "
            f"sudo chmod a+r {path.parent}/energy_uj"
        ) from cause
    except OSError as cause:
        raise BackendUnavailableError(
            f"the energy counter {path} cannot be read: {cause.strerror or cause}."
        ) from cause
    if not text.isdecimal():
        raise BackendUnavailableError(
            f"the energy counter {path} must hold a whole number: received {text[:40]!r}."
        )
    return int(text)


class NvmlCounter:
    """The energy of one NVIDIA GPU's board.

    Args:
        nvml: the management library.
        index: which GPU.

    Raises:
        BackendUnavailableError: the GPU does not count its energy.
    """

    block_s = NVML_BLOCK_S

    def __init__(self, nvml: Nvml, index: int) -> None:
        if not nvml.has_energy(index):
            raise BackendUnavailableError(
                f"GPU {index} ({nvml.name(index)}) does not count its energy; NVIDIA's do from "
                "Volta on. Measure latency: --metric latency"
            )
        self.nvml = nvml
        self.index = index
        self.name = f"NVML {nvml.name(index)}"

    def read_mj(self) -> float:
        """Energy since the driver was loaded, in mJ."""
        return self.nvml.energy_mj(self.index)


def find_counter(kind: str, settings: ProfilerSettings) -> EnergyCounter:
    """The counter that shows what a device kind uses.

    Raises:
        BackendUnavailableError: this kind, or this machine, has none.
    """
    if kind == "cpu":
        return RaplCounter(parse_options(CpuOptions, settings.options).powercap)
    if kind == "gpu":
        nvml = Nvml.find()
        if nvml is None:
            raise BackendUnavailableError(
                "a GPU's energy needs NVIDIA's driver and its Python library. Install it: "
                "pip install 'proxyless-hw[gpu]'"
            )
        return NvmlCounter(nvml, parse_options(CudaOptions, settings.options).gpu)
    raise BackendUnavailableError(
        f"--metric energy is for --device cpu (RAPL) and gpu (NVML): '{kind}' has no counter."
    )


class RepeatedWork(Protocol):
    """A workload that can be run again and again in this process."""

    @property
    def block(self) -> Callable[[], object]:
        """Runs, or enqueues, `calls` inferences."""
        ...

    @property
    def calls(self) -> int:
        """Inferences in a block."""
        ...


@runtime_checkable
class InProcessSession(Protocol):
    """A session whose workloads run in this process, so that a counter shows their energy."""

    @property
    def runners(self) -> Sequence[RepeatedWork]:
        """The workloads, in the order they were given."""
        ...

    def synchronise(self) -> None:
        """Waits for everything that was enqueued."""
        ...

    def close(self) -> None:
        """Releases the device. May be called twice."""
        ...


class EnergyProfiler:
    """Any profiler whose sessions are `InProcessSession`s, measured in energy.

    Args:
        inner: builds the runners; its own settings measure latency.
        settings: the same settings with the metric energy.
        counter: finds the counter; called when a session is opened.
    """

    def __init__(
        self, inner: Profiler, settings: ProfilerSettings, counter: Callable[[], EnergyCounter]
    ) -> None:
        self.inner = inner
        self.settings = settings
        self.counter = counter

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: the runtime or the counter is not there.
        """
        counter = self.counter()
        described = dict(self.inner.describe())
        if "cache" in described:
            described["cache"] = "hot: calls follow each other, as a counter's steps are long"
        return {**described, "metric": "energy", "unit": "mJ", "energy_counter": counter.name}

    def open(self, workloads: Sequence[Workload]) -> EnergySession:
        """Builds the runners as the inner profiler does.

        Raises:
            BackendUnavailableError: the runtime or the counter is not there.
            ProfilingError: the inner profiler's workloads do not run in this process.
        """
        counter = self.counter()
        session = self.inner.open(workloads)
        if not isinstance(session, InProcessSession):
            session.close()
            raise ProfilingError("energy is measured for runtimes that run in this process only.")
        return EnergySession(session, counter)


class EnergySession(ProfilerSession):
    """Runners of a session, visited for the energy that they use.

    Args:
        session: the runners; closed with this one.
        counter: the energy counter.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        session: InProcessSession,
        counter: EnergyCounter,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.session = session
        self.counter = counter
        self.clock = clock

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Runs each workload for a block and divides the energy by the number of inferences."""
        return [self._visit(self.session.runners[index]) for index in order]

    def _visit(self, runner: RepeatedWork) -> Visit:
        runner.block()
        self.session.synchronise()
        start_mj = self._at_step()
        begin = self.clock()
        calls = 0
        while self.clock() - begin < self.counter.block_s:
            runner.block()
            self.session.synchronise()
            calls += runner.calls
        value = (self.counter.read_mj() - start_mj) / calls
        return Visit(value=value, min=value, p90=value, calls=calls, samples=(value,))

    def _at_step(self) -> float:
        """Waits until the counter moves, since it moves in steps, and returns that reading."""
        limit = self.clock() + EDGE_S
        before = self.counter.read_mj()
        now = before
        while now == before and self.clock() < limit:
            now = self.counter.read_mj()
        return now

    def close(self) -> None:
        """Closes the inner session."""
        self.session.close()
