"""What a converter process is told of a workload, and the digest that names the model it makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NotRequired, TypedDict

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.host.environment import package_version
from proxyless_hw.profilers.models.building import build_module, ops_here_only
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.op_registry import OwnOp, own_op
from proxyless_hw.space.specs import BatchNormSpec, OpSpec


class ConversionJob(TypedDict):
    """What a converter process is told of a workload; its digest names the cached model.

    `built` is there for ops of the user's own alone: the digest of what they build. `form` is there
    for other forms than TFLite, `between` for an op that is built between two convolutions, and
    `around` for surroundings without an op (see `pte_cache`).
    """

    built: NotRequired[str]
    form: NotRequired[Literal["pte"]]
    between: NotRequired[bool]
    around: NotRequired[tuple[int, int, int, bool]]
    name: str
    op: str | None
    arch: str | None
    batch_norm: tuple[float, float]
    batch_size: int
    precision: Precision
    versions: list[int | str]


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
    if workload.between:
        job["between"] = True
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
        between=job.get("between", False),
    )


def job_digest(job: ConversionJob) -> str:
    decisive = {key: value for key, value in job.items() if key != "name"}
    if job["arch"] is not None:
        # Where a network came from does not change its model.
        arch = json.loads(job["arch"])
        decisive["arch"] = {key: value for key, value in arch.items() if key != "provenance"}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
