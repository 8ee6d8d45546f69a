"""Which profiler serves a device kind: built-in ones and those that third parties register.

A third party's package names its profiler in the entry-point group ``proxyless_hw.profilers``;
see `proxyless_hw.profilers.base`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, did_you_mean
from proxyless_hw.profilers.base import PROFILER_GROUP, Profiler, ProfilerSettings


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a built-in profiler lives, and what it measures by itself; imported when used."""

    module: str
    name: str
    metrics: tuple[str, ...] = ("latency",)


BUILT_IN: Final[Mapping[str, Mapping[str, _Home]]] = {
    # device kind: runtime: its class; the first runtime is the default
    "cpu": {
        "onnxruntime": _Home("onnxruntime", "OnnxRuntimeProfiler"),
        "litert": _Home("litert", "LiteRtProfiler"),
        "torch": _Home("torch_cpu", "TorchCpuProfiler"),
    },
    "gpu": {
        "onnxruntime": _Home("gpu_onnxruntime", "CudaOnnxRuntimeProfiler"),
        "tensorrt": _Home("gpu_onnxruntime", "TensorRtProfiler"),
        "torch": _Home("torch_cuda", "TorchCudaProfiler", ("latency", "memory")),
    },
    "mobile": {"tflite": _Home("adb", "AdbProfiler", ("latency", "memory"))},
    "command": {"command": _Home("command", "CommandProfiler")},
}


def third_party_profilers() -> dict[str, EntryPoint]:
    """Registered profilers by device kind; a built-in kind cannot be taken over."""
    return {
        entry.name: entry
        for entry in entry_points(group=PROFILER_GROUP)
        if entry.name not in BUILT_IN
    }


def known_kinds() -> list[str]:
    """Every device kind that can be asked for here."""
    return [*BUILT_IN, *sorted(third_party_profilers())]


def runtimes(kind: str) -> list[str]:
    """The runtimes of a built-in device kind, its default first; none for other kinds."""
    return list(BUILT_IN.get(kind, ()))


def get_profiler(kind: str, settings: ProfilerSettings) -> Profiler:
    """Makes the profiler of a device kind. Does no measuring; `Profiler.open` does.

    Args:
        kind: ``cpu``, ``gpu``, ``mobile``, ``command``, or a registered third-party kind.
        settings: how ops are run; its `runtime` picks among the kind's runtimes.

    Raises:
        ProfilingError: no such kind or runtime (the nearest and the list are named), or the
            settings do not suit it.
        BackendUnavailableError: a registered profiler cannot be loaded.
    """
    if kind not in BUILT_IN:
        return _third_party(kind)(settings)
    factory, home = _built_in(kind, settings.runtime)
    if settings.metric in home.metrics:
        return factory(settings)
    if settings.metric == "memory":
        raise BackendUnavailableError(
            f"{settings.runtime or 'this runtime'} on '{kind}' does not tell its memory. These do: "
            "--device gpu --runtime torch, and --device mobile."
        )
    from proxyless_hw.profilers.energy import EnergyProfiler, find_counter

    inner = factory(replace(settings, metric="latency"))
    return EnergyProfiler(inner, settings, lambda: find_counter(kind, settings))


def _built_in(
    kind: str, runtime: str | None
) -> tuple[Callable[[ProfilerSettings], Profiler], _Home]:
    homes = BUILT_IN[kind]
    name = next(iter(homes)) if runtime is None else runtime
    if name not in homes:
        raise ProfilingError(
            f"device '{kind}' has no runtime '{name[:60]}'.{did_you_mean(name, homes)} "
            f"Known: {', '.join(homes)}."
        )
    home = homes[name]
    module = importlib.import_module(f"proxyless_hw.profilers.{home.module}")
    factory: Callable[[ProfilerSettings], Profiler] = getattr(module, home.name)
    return factory, home


def _third_party(kind: str) -> Callable[[ProfilerSettings], Profiler]:
    registered = third_party_profilers()
    if kind not in registered:
        known = known_kinds()
        raise ProfilingError(
            f"no device kind '{kind[:60]}'.{did_you_mean(kind, known)} Known: {', '.join(known)}. "
            f"Others come with packages that register '{PROFILER_GROUP}'."
        )
    entry = registered[kind]
    try:
        factory: Callable[[ProfilerSettings], Profiler] = entry.load()
    except (ImportError, AttributeError) as cause:
        raise BackendUnavailableError(
            f"device kind '{kind}' is registered as {entry.value} but cannot be loaded: {cause}."
        ) from cause
    return factory
