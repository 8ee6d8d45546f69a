"""ExecuTorch programs of ops and networks, converted and kept as TFLite models are.

An op's program holds the convolutions around it (see `surroundings`); these alone are programs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.environment import package_version
from proxyless_hw.profilers.models.building import IDENTITY
from proxyless_hw.profilers.models.conversion_jobs import (
    ConversionJob,
    conversion_job,
    job_workload,
)
from proxyless_hw.profilers.models.converted_models import kept_models, missing_jobs, user_cache
from proxyless_hw.profilers.models.surroundings import Surroundings, build_surrounded

FORMAT: Final = 1
"""Increase it whenever the same workload is written differently."""


def pte_models(items: Sequence[Workload | Surroundings], settings: ProfilerSettings) -> list[bytes]:
    """The programs of ops, networks and surroundings, from the cache if it holds them.

    Raises:
        BackendUnavailableError: ExecuTorch is not installed.
        ExportError: an item cannot be converted.
        ProfilingError: an item is a file, or a converter process died.
    """
    return kept_models([_job(item, settings) for item in items], _place(), convert_pte)


def missing_programs(items: Sequence[Workload | Surroundings], settings: ProfilerSettings) -> int:
    """How many of them the cache does not hold yet."""
    return len(missing_jobs([_job(item, settings) for item in items], _place()))


def convert_pte(job: ConversionJob) -> bytes:
    """Converts what a job describes; runs in a converter process.

    Raises:
        BackendUnavailableError, ExportError: as `pte_bytes`.
    """
    from proxyless_hw.export.pte_file import pte_bytes

    around = job.get("around")
    item = job_workload(job) if around is None else Surroundings(*around)
    return pte_bytes(*build_surrounded(item, job["batch_size"]))


def _place() -> Path:
    return user_cache() / "pte"


def _job(item: Workload | Surroundings, settings: ProfilerSettings) -> ConversionJob:
    workload = item if isinstance(item, Workload) else IDENTITY
    job = conversion_job(workload, settings, [FORMAT, package_version("executorch")])
    job["form"] = "pte"
    if isinstance(item, Surroundings):
        job["name"] = item.name
        job["around"] = (item.channels, item.height, item.width, item.before)
    return job
