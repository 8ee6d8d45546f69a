"""TFLite models of ops and networks, converted once (see `converted_models`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.environment import package_version
from proxyless_hw.profilers.models.building import build_module, gives_output
from proxyless_hw.profilers.models.conversion_jobs import (
    ConversionJob,
    conversion_job,
    job_workload,
)
from proxyless_hw.profilers.models.converted_models import (
    CONVERTER_PROCESSES,
    kept_models,
    missing_jobs,
    user_cache,
)

FORMAT: Final = 2
"""Increase it whenever the same workload is written differently."""


def cache_folder() -> Path:
    """Where converted models are kept, in the user's cache."""
    return user_cache() / "tflite"


def tflite_models(
    workloads: Sequence[Workload],
    settings: ProfilerSettings,
    *,
    folder: Path | None = None,
    processes: int = CONVERTER_PROCESSES,
    on_converted: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """The TFLite models of ops and networks, from the cache if it holds them.

    Args:
        workloads: ops and networks (no files).
        settings: batch size and precision.
        folder: the cache; the user's when None.
        processes: converter processes.
        on_converted: called with (converted, to convert) as conversion goes on.

    Raises:
        BackendUnavailableError: the converter is not installed.
        ExportError: a workload cannot be converted.
        ProfilingError: a converter process died; the message names its last words.
    """
    place = cache_folder() if folder is None else folder
    jobs = [_job(workload, settings) for workload in workloads]
    return kept_models(jobs, place, convert, processes=processes, on_converted=on_converted)


def missing_models(
    workloads: Sequence[Workload], settings: ProfilerSettings, folder: Path | None = None
) -> list[Workload]:
    """The ops and networks that the cache does not hold yet."""
    place = cache_folder() if folder is None else folder
    return [item for item in workloads if missing_jobs([_job(item, settings)], place)]


def convert(job: ConversionJob) -> bytes:
    """Converts what a job describes; runs in a converter process.

    Raises:
        BackendUnavailableError, ExportError: as `tflite_bytes` and `quantise_tflite`.
    """
    from proxyless_hw.export.quantise import quantise_tflite
    from proxyless_hw.export.tflite_file import tflite_bytes
    from proxyless_hw.profilers.models.random_inputs import calibration_inputs

    workload = job_workload(job)
    module, shape = build_module(workload, int(job["batch_size"]))
    gives_map = workload.op is not None and not gives_output(workload)
    model = tflite_bytes(module, shape, channels_last_output=gives_map)
    if job["precision"] == "fp32":
        return model
    batch, channels, height, width = shape
    return quantise_tflite(
        model, job["precision"], calibration_inputs((batch, height, width, channels))
    )


def _job(workload: Workload, settings: ProfilerSettings) -> ConversionJob:
    quantiser = package_version("ai-edge-quantizer") if settings.precision != "fp32" else ""
    return conversion_job(workload, settings, [FORMAT, package_version("litert-torch"), quantiser])
