"""What is recorded about the machine: processor, governor, affinity, load, versions."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from proxyless_hw.profilers.base import ProfilerSettings

_MODEL_FIELDS = ("model name", "Hardware", "Model", "cpu model", "cpu")


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor as the kernel gives it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    for name in _MODEL_FIELDS:
        if fields.get(name):
            return fields[name]
    return platform.processor() or platform.machine() or "unknown processor"


def governor(cpufreq: Path = Path("/sys/devices/system/cpu/cpu0/cpufreq")) -> str:
    """The frequency governor; ``none`` if the kernel shows no governor (virtual machines)."""
    try:
        return (cpufreq / "scaling_governor").read_text(encoding="ascii").strip()
    except OSError:
        return "none"


def affinity() -> str:
    """Processors this process may run on, as ``0,1``."""
    return ",".join(map(str, sorted(os.sched_getaffinity(0))))


def load() -> str:
    """Load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def fingerprint() -> str:
    """Processor, governor and operating system in one line."""
    return f"{cpu_model()}; governor {governor()}; {platform.system()} {platform.release()}"


def host_device() -> str:
    """Name of this machine as a device: processor and number of cores."""
    return f"{cpu_model()} ({os.cpu_count()} cores)"


def cpu_header(
    settings: ProfilerSettings, runtime: str, runtime_version: str, cache: str
) -> dict[str, str]:
    """Header fields of a table of latencies measured on this processor."""
    return {
        "device": host_device(),
        "device_kind": "cpu",
        "runtime": runtime,
        "runtime_version": runtime_version,
        "threads": str(settings.threads),
        "batch_size": str(settings.batch_size),
        "precision": settings.precision,
        "metric": "latency",
        "unit": "ms",
        "statistic": "median",
        "fingerprint": fingerprint(),
        "cache": cache,
    }


def package_version(*names: str) -> str:
    """Version of the first of these distributions that is installed, or ``absent``."""
    for name in names:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "absent"


def seconds_since_process_start() -> float:
    """Age of this process, so that a budget can cover its start-up and imports."""
    try:
        stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(stat.rpartition(")")[2].split()[19])
        started = ticks / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, IndexError, AttributeError):
        # Without procfs only the time this thread has computed is known.
        return time.process_time()
