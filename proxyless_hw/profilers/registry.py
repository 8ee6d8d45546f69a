"""Which profiler serves a device kind: built-in ones and those in `own_profilers`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, did_you_mean
from proxyless_hw.profilers.base import PROFILER_GROUP, Precision, Profiler, ProfilerSettings
from proxyless_hw.profilers.device_options import (
    CommandOptions,
    CpuOptions,
    CudaOptions,
    LiteRtOptions,
    MobileOptions,
    OnnxRuntimeOptions,
    OpenVinoOptions,
    TorchCudaOptions,
    VelaOptions,
)
from proxyless_hw.profilers.options import (
    DeviceOptions,
    Option,
    described_options,
    parse_options,
)
from proxyless_hw.profilers.own_profilers import (
    OwnProfiler,
    completed_header,
    own_kinds,
    own_profiler,
)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a built-in profiler lives, its options, and what it measures by itself."""

    module: str  # imported when used
    name: str
    options: type[DeviceOptions]
    metrics: tuple[str, ...] = ("latency",)
    precision: Precision = "fp32"  # where none is named


BUILT_IN: Final[Mapping[str, Mapping[str, _Home]]] = {
    # device kind: runtime: its class; the first runtime is the default
    "cpu": {
        "onnxruntime": _Home(
            "runtimes.onnxruntime_provider", "onnxruntime_profiler", OnnxRuntimeOptions
        ),
        "litert": _Home("runtimes.litert", "LiteRtProfiler", LiteRtOptions),
        "torch": _Home("runtimes.torch_cpu", "TorchCpuProfiler", CpuOptions),
        "openvino": _Home("runtimes.openvino", "OpenVinoProfiler", OpenVinoOptions),
        "executorch": _Home("runtimes.executorch", "ExecuTorchProfiler", CpuOptions),
    },
    "gpu": {
        "onnxruntime": _Home("gpu.cuda_onnxruntime", "CudaOnnxRuntimeProfiler", CudaOptions),
        "tensorrt": _Home("gpu.cuda_onnxruntime", "TensorRtProfiler", CudaOptions),
        "torch": _Home(
            "gpu.torch_cuda", "TorchCudaProfiler", TorchCudaOptions, ("latency", "memory")
        ),
    },
    "mobile": {"tflite": _Home("android.adb", "AdbProfiler", MobileOptions, ("latency", "memory"))},
    "npu": {
        "vela": _Home(
            "npu.profiler", "VelaProfiler", VelaOptions, ("latency", "flash", "sram"), "int8"
        )
    },
    "command": {
        "command": _Home(
            "command.profiler", "CommandProfiler", CommandOptions, ("latency", "memory")
        )
    },
}

_PINNING: Final = ("cpu", "mobile")
"""Device kinds whose profilers apply `ProfilerSettings.cpus`."""


def known_kinds() -> list[str]:
    """Every device kind that can be asked for here."""
    return [*BUILT_IN, *own_kinds()]


def runtimes(kind: str) -> list[str]:
    """The runtimes of a built-in device kind, its default first; none for other kinds."""
    return list(BUILT_IN.get(kind, ()))


def default_precision(kind: str, runtime: str | None = None) -> Precision:
    """The precision of a device kind where none is named: int8 on an NPU, else fp32."""
    homes = BUILT_IN.get(kind, {})
    home = homes.get(runtime or next(iter(homes), ""))
    return "fp32" if home is None else home.precision


def get_profiler(kind: str, settings: ProfilerSettings) -> Profiler:
    """Makes the profiler of a device kind. Does no measuring; `Profiler.open` does.

    Args:
        kind: ``cpu``, ``gpu``, ``mobile``, ``npu``, ``command``, or a registered kind.
        settings: how ops are run; its `runtime` picks among the kind's runtimes.

    Raises:
        ProfilingError: no such kind or runtime (the nearest and the list are named), or the
            settings or options do not suit it.
        BackendUnavailableError: a registered profiler cannot be loaded.
    """
    if kind not in BUILT_IN:
        return _own(kind).factory(profiler_settings(kind, settings))
    home = _home(kind, settings.runtime)
    settings = profiler_settings(kind, settings)
    module = importlib.import_module(f"proxyless_hw.profilers.{home.module}")
    factory: Callable[[ProfilerSettings], Profiler] = getattr(module, home.name)
    if settings.metric in home.metrics:
        return factory(settings)
    if settings.metric == "memory":
        raise BackendUnavailableError(
            f"{settings.runtime or 'this runtime'} on '{kind}' does not tell its memory. These do: "
            "--device gpu --runtime torch, --device mobile and --device command."
        )
    if settings.metric in ("flash", "sram"):
        raise BackendUnavailableError(
            f"--metric {settings.metric} is what a compiler for an NPU says: received --device "
            f"{kind}. Choose --device npu."
        )
    from proxyless_hw.profilers.host.energy import EnergyProfiler, find_counter

    inner = factory(replace(settings, metric="latency"))
    return EnergyProfiler(inner, settings, lambda: find_counter(kind, settings))


def profiler_settings(kind: str, settings: ProfilerSettings) -> ProfilerSettings:
    """The settings with their options as the profiler's own dataclass, checked.

    Args:
        kind: device kind.
        settings: its options by name, or parsed already.

    Raises:
        ProfilingError: no such kind or runtime; an option that is unknown, does not apply to this
            device, runtime or metric, or has a wrong value; processors where none are pinned.
    """
    if kind not in BUILT_IN:
        own = _own(kind).options
        return replace(settings, options=parse_options(own, settings.options, f"device '{kind}'"))
    if settings.cpus is not None and kind not in _PINNING:
        raise ProfilingError(
            f"--cpus pins to processors, which --device {kind} does not do: it is for --device "
            f"{' and '.join(_PINNING)}. Leave it out."
        )
    home = _home(kind, settings.runtime)
    place = _place(kind, settings.runtime or next(iter(BUILT_IN[kind])))
    options = parse_options(home.options, settings.options, place, _elsewhere)
    given = settings.options if isinstance(settings.options, Mapping) else {}
    for option in described_options(home.options):
        changed = option.name in given or getattr(options, option.name) != option.default
        if changed and option.metrics is not None and settings.metric not in option.metrics:
            raise ProfilingError(
                f"option '{option.name}' has a meaning for --metric {' and '.join(option.metrics)} "
                f"only: received --metric {settings.metric}. Leave it out."
            )
    return replace(settings, options=options)


def built_in_options() -> dict[str, list[Option]]:
    """Every built-in profiler's options, by ``--device KIND --runtime NAME``."""
    return {
        _place(kind, runtime): described_options(home.options)
        for kind, homes in BUILT_IN.items()
        for runtime, home in homes.items()
    }


def _place(kind: str, runtime: str) -> str:
    """A profiler as people ask for it; a kind's only runtime goes without saying."""
    only = len(BUILT_IN[kind]) == 1
    return f"--device {kind}" if only else f"--device {kind} --runtime {runtime}"


def _elsewhere(name: str) -> str:
    """What to say of an option that is not this profiler's; empty where nobody knows it."""
    if name in _SETTINGS:
        return f"it is set by --{name.replace('_', '-')}."
    places = [
        place
        for place, options in built_in_options().items()
        if any(option.name == name for option in options)
    ]
    return f"it is for {', or '.join(places)}." if places else ""


_SETTINGS: Final = frozenset(item.name for item in fields(ProfilerSettings)) - {"options"}


def _home(kind: str, runtime: str | None) -> _Home:
    homes = BUILT_IN[kind]
    name = next(iter(homes)) if runtime is None else runtime
    if name not in homes:
        raise ProfilingError(
            f"device '{kind}' has no runtime '{name[:60]}'.{did_you_mean(name, homes)} "
            f"Known: {', '.join(homes)}."
        )
    return homes[name]


def _own(kind: str) -> OwnProfiler:
    found = own_profiler(kind)
    if found is None:
        known = known_kinds()
        raise ProfilingError(
            f"no device kind '{kind[:60]}'.{did_you_mean(kind, known)} Known: {', '.join(known)}. "
            f"Others come with packages that register '{PROFILER_GROUP}', or by "
            "register_profiler."
        )
    return found


def described(kind: str, profiler: Profiler, settings: ProfilerSettings) -> dict[str, str]:
    """Header fields of a table made by a profiler; of an own one, completed.

    Raises:
        BackendUnavailableError: the runtime or device is not there.
        ProfilingError: an own profiler gives a field that no header can hold.
    """
    fields_ = profiler.describe()
    return dict(fields_) if kind in BUILT_IN else completed_header(kind, fields_, settings)
