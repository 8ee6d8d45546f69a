"""What a profiler is. Every device implements these two classes; `timing` drives them all.

A profiler opens a session over workloads (ops, networks or model files). A session visits
workloads in the order it is told and returns one `Visit` per visit: on a CPU a timed block, on a
phone one `benchmark_model` run inside a single on-device shell loop.

Own profilers are registered at run time, by `registry.register_profiler`, or by an installed
package through the entry-point group ``proxyless_hw.profilers``: the entry's name is the device
kind, and it loads a callable that takes a `ProfilerSettings` and returns a `Profiler`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self, get_args, runtime_checkable

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.footprint import Precision as Precision
from proxyless_hw.space.specs import BatchNormSpec, OpSpec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Metric = Literal["latency", "energy", "memory", "flash", "sram"]

PROFILER_GROUP = "proxyless_hw.profilers"


@dataclass(frozen=True, kw_only=True)
class ProfilerSettings:
    """How ops are run. Everything that belongs in a table's setting.

    Attributes:
        runtime: runtime name; None for the device's default.
        threads: intra-op threads.
        batch_size: images per call.
        precision: number format of the model.
        metric: what is measured.
        cpus: processors to pin to; None leaves the affinity alone.
        options: what only one profiler understands: its frozen dataclass (see `device_options`
            and `register_profiler`), or values by name, which `registry.get_profiler` parses.
            A profiler always receives its dataclass.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.ProfilerSettings(runtime="onnxruntime", threads=2).batch_size
        1
    """

    runtime: str | None = None
    threads: int = 1
    batch_size: int = 1
    precision: Precision = "fp32"
    metric: Metric = "latency"
    cpus: tuple[int, ...] | None = None
    options: Mapping[str, object] | DataclassInstance = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, known in (("precision", get_args(Precision)), ("metric", get_args(Metric))):
            value = getattr(self, name)
            if value not in known:
                raise ProfilingError(
                    f"{name} must be one of {', '.join(known)}: received {value!r}."
                )
        for name in ("threads", "batch_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ProfilingError(
                    f"{name} must be a whole number from 1 on: received {value!r}."
                )


@dataclass(frozen=True)
class Workload:
    """One thing to measure: exactly one of op, arch and file is set.

    Attributes:
        name: unique within a session; an op's key, a network's or file's name.
        op: an isolated op.
        arch: a whole network, at its deployment shape.
        file: a model file (.onnx or .tflite).
        batch_norm: BatchNorm settings when an op is built (folded before timing).
        shape: what the user says about the shape that a file runs with; None where nobody was
            asked.
        between: an op is built between two 1x1 convolutions that stand for its network
            (`models.between`).
    """

    name: str
    op: OpSpec | None = None
    arch: Architecture | None = None
    file: Path | None = None
    batch_norm: BatchNormSpec = BatchNormSpec()
    shape: FileShape | None = None
    between: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit to a workload.

    Attributes:
        value: median over the visit's blocks, per call, in the metric's unit (ms, mJ, MB).
        min: smallest sample of the visit, per call.
        p90: 90th percentile of the visit's samples, per call.
        calls: timed calls in total.
        samples: the visit's single samples, per call, where the device gives them.
        preempted: whether the processor was taken away during a sample, however often it was
            retaken: a long call is then disturbed although a short reference beside it is not.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.Visit(value=1.5, min=1.4, p90=1.7, calls=4).value
        1.5
    """

    value: float
    min: float
    p90: float
    calls: int
    samples: tuple[float, ...] = ()
    preempted: bool = False

    @classmethod
    def of(cls, samples: Iterable[float]) -> Visit:
        """The visit that consists of these samples, each per call and in the metric's unit.

        Raises:
            ProfilingError: there is no sample, or one is not a positive finite number.

        Example:
            >>> import proxyless_hw as ph
            >>> ph.Visit.of([1.0, 1.2, 1.1]).value
            1.1
        """
        try:
            values = np.asarray(list(samples), dtype=np.float64)
        except (TypeError, ValueError) as cause:
            raise ProfilingError(
                f"a visit's samples are a list of numbers: received {str(samples)[:80]}."
            ) from cause
        if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values > 0)).all():
            raise ProfilingError(
                "a visit has at least one sample, each a positive finite number: received "
                f"{str(values.tolist())[:80]}."
            )
        return cls(
            value=float(np.median(values)),
            min=float(values.min()),
            p90=float(np.quantile(values, 0.9)),
            calls=len(values),
            samples=tuple(values.tolist()),
        )


class Session(Protocol):
    """Built and warmed-up runners of some workloads. Used as a context manager."""

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Measures workloads by index in the given order, one `Visit` each.

        Raises:
            ProfilingError: a workload failed; the message names it.
        """
        ...

    def close(self) -> None:
        """Releases the device. May be called twice."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(self, *exc_info: object) -> None: ...


class ProfilerSession(ABC):
    """Base class of sessions: a context manager that closes at its end.

    A subclass defines `visit`, and `close` where the device has to be released.

    Example:
        >>> import proxyless_hw as ph
        >>> class Stopwatch(ph.ProfilerSession):
        ...     def visit(self, order):
        ...         return [ph.Visit.of([1.0 + index]) for index in order]
        >>> with Stopwatch() as session:
        ...     session.visit([2])[0].value
        3.0
    """

    @abstractmethod
    def visit(self, order: Sequence[int]) -> list[Visit]:
        """Measures workloads by index in the given order, one `Visit` each."""

    def close(self) -> None:  # noqa: B027  (nothing to release unless a subclass says so)
        """Releases the device. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Profiler(Protocol):
    """A device with a runtime and a setting. Making one does no I/O; `open` does."""

    settings: ProfilerSettings

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here: device, device_kind, runtime, runtime_version,
        threads, batch_size, precision, metric, unit, statistic, fingerprint.

        Raises:
            BackendUnavailableError: the runtime or device is not there; says how to get it.
        """
        ...

    def open(self, workloads: Sequence[Workload]) -> Session:
        """Builds and warms up one runner per workload.

        Raises:
            BackendUnavailableError: the runtime or device is not there.
            ProfilingError: a workload cannot be built or run; the message names it.
        """
        ...


@runtime_checkable
class PreparingProfiler(Protocol):
    """A profiler that makes models before it can open a session, and keeps them."""

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        """Makes the models that are not kept yet.

        Args:
            workloads: what will be opened.
            say: told what is made and how long it takes.

        Returns:
            Whether anything was made.

        Raises:
            ProfilingError, ExportError, BackendUnavailableError: a model cannot be made.
        """
        ...
