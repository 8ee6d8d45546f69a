"""A phone's options, and a setting as the words of ``benchmark_model``'s command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.delegates import delegate_flags
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.device_options import MobileOptions
from proxyless_hw.profilers.options import parse_options, plain_number

OP_PROFILING_FLAG: Final = "--enable_op_profiling=true"
MAX_CPUS: Final = 64
DELEGATE_KEYS: Final = ("delegate_library", "delegate_options", "delegate_partial")
"""Options that belong to a delegate; a table's header keeps them under these names."""


@dataclass(frozen=True, slots=True)
class DelegateChoice:
    """The delegate that a setting asks for.

    Attributes:
        name: a key of `DELEGATE_FLAGS`.
        library: path on the device of an external delegate or an NPU's dispatch library.
        library_options: options of an external delegate.
        allow_partial: models of which something else runs a part are accepted.
    """

    name: str = "default"
    library: str = ""
    library_options: str = ""
    allow_partial: bool = False

    @classmethod
    def of(cls, options: MobileOptions) -> DelegateChoice:
        """Reads the options that belong to a delegate."""
        return cls(
            name=options.delegate,
            library=options.delegate_library or "",
            library_options=options.delegate_options or "",
            allow_partial=options.delegate_partial == "allow",
        )

    def flags(self) -> tuple[str, ...]:
        """The tool's flags.

        Raises:
            ProfilingError: no such delegate, or its library is missing.
        """
        return delegate_flags(self.name, self.library, self.library_options)


def benchmark_flags(settings: ProfilerSettings) -> list[str]:
    """The tool's flags for a setting.

    Raises:
        ProfilingError: an option is out of its range, or the delegate is unknown.
    """
    options = phone_options(settings)
    flags = [
        f"--num_threads={settings.threads}",
        f"--num_runs={options.runs}",
        f"--min_secs={plain_number(options.min_secs)}",
        f"--max_secs={plain_number(options.max_secs)}",
        f"--warmup_runs={options.warmup_runs}",
        f"--warmup_min_secs={plain_number(options.warmup_min_secs)}",
    ]
    if settings.metric == "memory":
        flags.append("--report_peak_memory_footprint=true")
    return flags + list(DelegateChoice.of(options).flags())


def phone_options(settings: ProfilerSettings) -> MobileOptions:
    """The options of a setting, parsed.

    Raises:
        ProfilingError: an option is unknown or has a wrong value.
    """
    return parse_options(MobileOptions, settings.options, "--device mobile")


def tool_command(settings: ProfilerSettings, tool: str) -> list[str]:
    """The tool behind ``taskset`` where a mask is asked for.

    Raises:
        ProfilingError: the mask is not hexadecimal, or both a mask and processors are given.
    """
    mask = phone_options(settings).taskset
    if settings.cpus is not None:
        if mask is not None:
            raise ProfilingError(
                f"--taskset and --cpus both say where to run: received {mask} and "
                f"{','.join(map(str, settings.cpus))}. Leave one of the two out."
            )
        if not settings.cpus or not all(0 <= cpu < MAX_CPUS for cpu in settings.cpus):
            raise ProfilingError(
                f"--cpus on a phone lists processors from 0 to {MAX_CPUS - 1}: received "
                f"{','.join(map(str, settings.cpus))[:60] or 'none'}."
            )
        mask = f"{sum(1 << cpu for cpu in set(settings.cpus)):x}"
    if mask is None:
        return [tool]
    return ["taskset", mask, tool]


def runtime_name(settings: ProfilerSettings) -> str:
    """Runtime of a table: the delegate is part of the setting. `recorded_delegate` reads it."""
    delegate = phone_options(settings).delegate
    return "tflite" if delegate == "default" else f"tflite-{delegate}"


def recorded_delegate(header: Mapping[str, str]) -> dict[str, str]:
    """The options of a phone's delegate that a table's header tells."""
    _, _, name = header.get("runtime", "").partition("-")
    options = {"delegate": name} if name else {}
    return options | {key: header[key] for key in DELEGATE_KEYS if key in header}
