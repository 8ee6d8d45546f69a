"""Models of ops and networks, converted in parallel processes and kept by content.

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
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ExportError, ProfilingError
from proxyless_hw.profilers.models.child_process import reply_of
from proxyless_hw.profilers.models.conversion_jobs import ConversionJob, job_digest
from proxyless_hw.storage.files import atomic_path

CONVERTER_PROCESSES: Final = 2
OPS_OF_A_START: Final = 4
"""A process takes as long to load the converter as to convert so many ops. A network takes longer
than that."""
MOST_BYTES: Final = 4 * 2**30
"""Size of a cache. The oldest entries are removed first."""

_MAGIC: Final = b"proxyless-hw-tflite\n"  # of every form: entries of older versions stay good
_DIGEST_BYTES: Final = 32


def user_cache() -> Path:
    """``$XDG_CACHE_HOME/proxyless-hw``, or the same under ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "proxyless-hw"


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
        processes, on_converted: converter processes; called with (converted, to convert) meanwhile.

    Raises:
        BackendUnavailableError: the converter is not installed.
        ExportError: a model cannot be converted.
        ProfilingError: a converter process died; the message names its last words.
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
    return place / f"{job_digest(job)}.{job.get('form', 'tflite')}"


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
    networks = sum(job["arch"] is not None for job in jobs)
    count = process_count(len(jobs) - networks, networks, processes)
    shares = [jobs[start::count] for start in range(count)]
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


def process_count(ops: int, networks: int, most: int = CONVERTER_PROCESSES) -> int:
    """How many processes convert: no more than have work for longer than they load.

    Args:
        ops: to convert.
        networks: to convert.
        most: so many at most.
    """
    worth = (ops + OPS_OF_A_START * networks) // OPS_OF_A_START
    return max(1, min(most, ops + networks, worth))


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
