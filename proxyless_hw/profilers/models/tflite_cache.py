"""TFLite models of ops and networks, converted in parallel processes and kept by content.

Conversion takes about a second per op. What was converted once is found again under the user's
cache folder by a digest of everything that decides its content: the op, BatchNorm settings,
batch size, precision, and the versions of the converter and of this format. An entry carries its
own checksum; a damaged one is converted anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, NotRequired, TypedDict

from proxyless_hw.errors import ExportError, ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.host.environment import package_version
from proxyless_hw.profilers.models.building import build_module, gives_output, ops_here_only
from proxyless_hw.profilers.models.child_process import reply_of
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.op_registry import OwnOp, own_op
from proxyless_hw.space.specs import BatchNormSpec, OpSpec
from proxyless_hw.storage.files import atomic_path

FORMAT: Final = 2
"""Increase it whenever the same workload is written differently."""

CONVERTER_PROCESSES: Final = 2
MOST_BYTES: Final = 4 * 2**30
"""Size of the cache. The oldest entries are removed first."""

_MAGIC: Final = b"proxyless-hw-tflite\n"
_DIGEST_BYTES: Final = 32


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/proxyless-hw``, or the same under ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "proxyless-hw"


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


def kept_models(
    jobs: Sequence[ConversionJob],
    place: Path,
    convert_here: Callable[[ConversionJob], bytes],
    *,
    processes: int = CONVERTER_PROCESSES,
    on_converted: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """The models that jobs describe; what the folder `place` lacks is converted.

    Args:
        jobs: one per model.
        place: the cache.
        convert_here: converts a job whose ops only this process knows; the others are converted
            by `convert_process`.
        processes, on_converted: as for `tflite_models`.

    Raises:
        BackendUnavailableError, ExportError, ProfilingError: as `tflite_models`.
    """
    paths = [_entry(place, job) for job in jobs]
    missing = {path: job for path, job in zip(paths, jobs, strict=True) if read_entry(path) is None}
    if missing:
        _convert(missing, place, convert_here, processes, on_converted)
        _shrink(place, set(paths))
    models = []
    for path, job in zip(paths, jobs, strict=True):
        model = read_entry(path)
        if model is None:
            raise ProfilingError(f"{job['name']} was converted, but {path} cannot be read back.")
        models.append(model)
    return models


def missing_jobs(jobs: Sequence[ConversionJob], place: Path) -> list[ConversionJob]:
    """The jobs whose models the folder `place` does not hold yet."""
    return [job for job in jobs if read_entry(_entry(place, job)) is None]


def _entry(place: Path, job: ConversionJob) -> Path:
    return place / f"{_digest(job)}.{job.get('form', 'tflite')}"


def missing_models(
    workloads: Sequence[Workload], settings: ProfilerSettings, folder: Path | None = None
) -> list[Workload]:
    """The ops and networks that the cache does not hold yet."""
    place = cache_folder() if folder is None else folder
    return [item for item in workloads if missing_jobs([_job(item, settings)], place)]


def read_entry(path: Path) -> bytes | None:
    """The model in a cache entry; None when it is absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + _DIGEST_BYTES
    model = content[head:]
    if content[: len(_MAGIC)] != _MAGIC:
        return None
    return model if hashlib.sha256(model).digest() == content[len(_MAGIC) : head] else None


def write_entry(path: Path, model: bytes) -> None:
    """Writes a cache entry atomically.

    Raises:
        ExportError: the cache cannot be written.
    """
    with atomic_path(path, ExportError) as temporary:
        temporary.write_bytes(_MAGIC + hashlib.sha256(model).digest() + model)


def _shrink(place: Path, needed: set[Path]) -> None:
    """Removes the oldest entries beyond `MOST_BYTES`, but not those needed now."""
    entries = []
    suffixes = {path.suffix for path in needed}
    for path in (path for path in place.iterdir() if path.suffix in suffixes):
        try:
            entries.append((path.stat().st_mtime, path.stat().st_size, path))
        except FileNotFoundError:
            continue  # another process shrinks the cache too
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= MOST_BYTES:
            break
        if path not in needed:
            path.unlink(missing_ok=True)
            total -= size


class ConversionJob(TypedDict):
    """What a converter process is told of a workload; its digest names the cached model.

    `built` is there for ops of the user's own alone: the digest of what they build. `form` is there
    for other forms than TFLite, and `around` for surroundings without an op (see `pte_cache`).
    """

    built: NotRequired[str]
    form: NotRequired[Literal["pte"]]
    around: NotRequired[tuple[int, int, int, bool]]
    name: str
    op: str | None
    arch: str | None
    batch_norm: tuple[float, float]
    batch_size: int
    precision: Precision
    versions: list[int | str]


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


def conversion_job(
    workload: Workload, settings: ProfilerSettings, versions: Sequence[int | str]
) -> ConversionJob:
    """What a converter process is told of an op or a network.

    Args:
        workload: the op or network.
        settings: batch size and precision.
        versions: of this way of writing and of the converter; torch's is added.

    Raises:
        ProfilingError: it is a file.
    """
    if workload.op is None and workload.arch is None:
        raise ProfilingError(f"{workload.name} is a file; only ops and networks are converted.")
    own = tuple(own_op(name) for name in ops_here_only(workload))
    job: ConversionJob = {
        "name": workload.name,
        "op": None if workload.op is None else workload.op.key,
        "arch": None if workload.arch is None else workload.arch.to_json(),
        "batch_norm": (workload.batch_norm.momentum, workload.batch_norm.eps),
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "versions": [*versions[:2], package_version("torch"), *versions[2:]],
    }
    if own:  # the code of such an op may change under its name: what it builds decides
        job["built"] = _built_digest(workload, settings.batch_size, own)
    return job


@lru_cache(maxsize=1024)
def _built_digest(workload: Workload, batch_size: int, own: tuple[OwnOp, ...]) -> str:
    """Digest of a workload's ONNX form; `own` are the registered ops that it holds."""
    from proxyless_hw.export.onnx_file import onnx_bytes

    return hashlib.sha256(onnx_bytes(*build_module(workload, batch_size))).hexdigest()


def job_workload(job: ConversionJob) -> Workload:
    momentum, eps = job["batch_norm"]
    return Workload(
        name=job["name"],
        op=None if job["op"] is None else OpSpec.from_key(job["op"]),
        arch=None if job["arch"] is None else Architecture.from_json(job["arch"]),
        batch_norm=BatchNormSpec(momentum, eps),
    )


def _digest(job: ConversionJob) -> str:
    decisive = {key: value for key, value in job.items() if key != "name"}
    if job["arch"] is not None:
        # Where a network came from does not change its model.
        arch = json.loads(job["arch"])
        decisive["arch"] = {key: value for key, value in arch.items() if key != "provenance"}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _convert(
    missing: dict[Path, ConversionJob],
    place: Path,
    convert_here: Callable[[ConversionJob], bytes],
    processes: int,
    on_converted: Callable[[int, int], None] | None,
) -> None:
    """Spreads jobs over converter processes, which write the entries themselves.

    Models with ops that only this process knows are converted here.
    """
    _make_folder(place)
    for path, job in missing.items():
        if "built" in job:
            write_entry(path, convert_here(job))
    jobs = [{**job, "path": str(path)} for path, job in missing.items() if "built" not in job]
    if not jobs:
        return
    shares = [jobs[start::processes] for start in range(min(processes, len(jobs)))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running: list[tuple[subprocess.Popen[str], str]] = []
    try:
        for share in shares:
            process = subprocess.Popen(
                [sys.executable, "-m", "proxyless_hw.profilers.models.convert_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            running.append((process, json.dumps(share)))
        _collect(running, len(jobs), on_converted)
    finally:
        _end(running)


def _end(running: Sequence[tuple[subprocess.Popen[str], str]]) -> None:
    for process, _ in running:
        if process.poll() is None:
            process.kill()
            process.wait()


def _collect(
    running: list[tuple[subprocess.Popen[str], str]],
    total: int,
    on_converted: Callable[[int, int], None] | None,
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(running)) as pool:
        try:
            replies = list(pool.map(lambda item: item[0].communicate(item[1]), running))
        except BaseException:
            _end(running)  # or the pool would wait until they have converted everything
            raise
    done = 0
    for (process, _), (stdout, stderr) in zip(running, replies, strict=True):
        reply = reply_of(stdout, stderr, process.returncode, "a converter process", ExportError)
        done += reply["converted"]
        if on_converted is not None:
            on_converted(done, total)


def _make_folder(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise ExportError(
            f"cannot write the cache of converted models {place}: {cause.strerror}. "
            "Set XDG_CACHE_HOME to a folder that can be written."
        ) from cause
