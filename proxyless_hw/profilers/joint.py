"""Several runtimes of one device as one profiler: their workloads are measured interleaved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import (
    PreparingProfiler,
    Profiler,
    ProfilerSession,
    ProfilerSettings,
    Session,
    Visit,
    Workload,
)
from proxyless_hw.profilers.file_forms import CPU_RUNTIMES, form_of_file
from proxyless_hw.profilers.registry import get_profiler

_EACH_ITS_OWN: Final = ("runtime", "runtime_version")


def assigned(
    workloads: Sequence[Workload],
    settings: ProfilerSettings,
    device: str,
    runtimes: Sequence[str] = (),
) -> tuple[list[Workload], dict[str, ProfilerSettings]]:
    """Which runtime measures what.

    Args:
        workloads: networks and files.
        settings: how to measure.
        device: the kind of device; only a CPU compares runtimes.
        runtimes: those that were named. A file is measured by those of them that run its form, a
            network by each.

    Returns:
        The workloads, one for each runtime that measures it, named after the runtime where there
        are several; and the settings of each by name.

    Raises:
        ProfilingError: a file's form is unknown, none of the runtimes runs it, or another device
            is to compare runtimes.
    """
    if len(runtimes) > 1 and device != "cpu":
        raise ProfilingError(
            f"runtimes are compared on a CPU: received {', '.join(runtimes)} on --device {device}. "
            "Measure them in several runs."
        )
    if device != "cpu" or settings.runtime is not None:
        return list(workloads), {workload.name: settings for workload in workloads}
    if not runtimes and not any(workload.file for workload in workloads):
        return list(workloads), {workload.name: settings for workload in workloads}
    needed = {_of_file(workload.file, runtimes)[0] for workload in workloads if workload.file}
    # A network beside files of one runtime is measured by that one.
    of_networks = tuple(runtimes) or (tuple(needed) if len(needed) == 1 else ("onnxruntime",))
    found: list[Workload] = []
    settings_of: dict[str, ProfilerSettings] = {}
    for workload in workloads:
        chosen = _of_file(workload.file, runtimes) if workload.file else of_networks
        for runtime in chosen:
            name = f"{workload.name} ({runtime})" if len(chosen) > 1 else workload.name
            found.append(replace(workload, name=name))
            settings_of[name] = replace(settings, runtime=runtime)
    return found, settings_of


def _of_file(file: Path, named: Sequence[str]) -> tuple[str, ...]:
    """The runtimes that measure a file."""
    known = CPU_RUNTIMES[form_of_file(file)]
    if not named:
        return known[:1]
    fitting = tuple(runtime for runtime in named if runtime in known)
    if not fitting:
        raise ProfilingError(
            f"{file} is run by {' or '.join(known)}: received --runtime {', '.join(named)}."
        )
    return fitting


def joint_profiler(
    settings_of: Mapping[str, ProfilerSettings], device: str
) -> JointProfiler | None:
    """A profiler over the runtimes of workloads; None where they have one in common."""
    by_runtime = {str(settings.runtime): settings for settings in settings_of.values()}
    if len(by_runtime) == 1:
        return None
    return JointProfiler(
        {runtime: get_profiler(device, settings) for runtime, settings in by_runtime.items()},
        {name: str(settings.runtime) for name, settings in settings_of.items()},
    )


class JointProfiler:
    """Measures each workload by the profiler of its runtime; the reference op by the first one.

    Args:
        profilers: runtime to profiler, all of one device.
        runtime_of: name of a workload to its runtime.

    Attributes:
        settings: those of the first profiler.
    """

    def __init__(self, profilers: Mapping[str, Profiler], runtime_of: Mapping[str, str]) -> None:
        self.profilers = dict(profilers)
        self.runtime_of = dict(runtime_of)
        self.first = next(iter(self.profilers))
        self.settings = self.profilers[self.first].settings

    def describe(self) -> Mapping[str, str]:
        """What the profilers have in common; runtimes and their versions are joined."""
        described = [dict(profiler.describe()) for profiler in self.profilers.values()]
        common = {
            key: value
            for key, value in described[0].items()
            if all(other.get(key) == value for other in described)
        }
        for key in _EACH_ITS_OWN:
            common[key] = " + ".join(item.get(key, "") for item in described)
        return common

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        """Makes the models that are not kept yet, for each runtime that needs any."""
        made = False
        for runtime, profiler in self.profilers.items():
            if isinstance(profiler, PreparingProfiler):
                own = [workload for workload in workloads if self._runtime(workload) == runtime]
                made |= profiler.prepare(own, say)
        return made

    def open(self, workloads: Sequence[Workload]) -> Session:
        """Opens a session of each runtime, all at once."""
        with ExitStack() as stack:
            parts: dict[int, tuple[Session, int]] = {}
            for runtime, profiler in self.profilers.items():
                places = [
                    place
                    for place, workload in enumerate(workloads)
                    if self._runtime(workload) == runtime
                ]
                if not places:
                    continue
                session = stack.enter_context(profiler.open([workloads[p] for p in places]))
                for number, place in enumerate(places):
                    parts[place] = session, number
            return _JointSession(parts, stack.pop_all())

    def _runtime(self, workload: Workload) -> str:
        return self.runtime_of.get(workload.name, self.first)


class _JointSession(ProfilerSession):
    """Sessions of several runtimes; each visit goes to the session that holds the workload."""

    def __init__(self, parts: Mapping[int, tuple[Session, int]], resources: ExitStack) -> None:
        self.parts = parts
        self.resources = resources

    def visit(self, order: Sequence[int]) -> list[Visit]:
        visits = []
        for place in order:
            session, number = self.parts[place]
            visits += session.visit([number])
        return visits

    def close(self) -> None:
        self.resources.close()
