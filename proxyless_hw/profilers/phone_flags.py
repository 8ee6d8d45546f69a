"""A setting as the words of ``benchmark_model``'s command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.phone_runs import DelegateChoice


def benchmark_flags(settings: ProfilerSettings) -> list[str]:
    """The tool's flags for a setting.

    Raises:
        ProfilingError: an option is no number of its range, or the delegate is unknown.
    """
    options = settings.options
    flags = [
        f"--num_threads={settings.threads}",
        f"--num_runs={number(options, 'runs', 10, 1, 1e6):.0f}",
        f"--min_secs={number(options, 'min_secs', 0.05, 0, 3600):g}",
        f"--max_secs={number(options, 'max_secs', 20, 0.01, 3600):g}",
        f"--warmup_runs={number(options, 'warmup_runs', 3, 0, 1e6):.0f}",
        f"--warmup_min_secs={number(options, 'warmup_min_secs', 0.02, 0, 3600):g}",
    ]
    if settings.metric == "memory":
        flags.append("--report_peak_memory_footprint=true")
    return flags + list(DelegateChoice.of(options).flags())


def tool_command(settings: ProfilerSettings, tool: str) -> list[str]:
    """The tool behind ``taskset`` where a mask is asked for.

    Raises:
        ProfilingError: the mask is not hexadecimal.
    """
    mask = settings.options.get("taskset")
    if mask is None and settings.cpus is not None:
        mask = f"{sum(1 << cpu for cpu in settings.cpus):x}"
    if mask is None:
        return [tool]
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", mask):
        raise ProfilingError(
            f"--taskset must be a hexadecimal mask without 0x, as f0: received '{mask[:40]}'."
        )
    return ["taskset", mask, tool]


def runtime_name(settings: ProfilerSettings) -> str:
    """Runtime of a table: the delegate is part of the setting."""
    delegate = settings.options.get("delegate", "default")
    return "tflite" if delegate == "default" else f"tflite-{delegate}"


def number(options: Mapping[str, str], key: str, default: float, low: float, high: float) -> float:
    """A numeric option.

    Raises:
        ProfilingError: it is no number from `low` to `high`.
    """
    text = options.get(key)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ProfilingError(
            f"--option {key} must be a number from {low:g} to {high:g}: received '{text[:40]}'."
        )
    return value
