"""Timing several model files and networks in one run, interleaved: what ``benchmark`` calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.measured import measuring_for, settings_of, without_anchors
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.file_forms import form_of_runtime
from proxyless_hw.profilers.inspection import peak_memory_mb, write_model
from proxyless_hw.profilers.joint import assigned, joint_profiler
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.file_shapes import (
    FileSetting,
    check_classes,
    check_runs_as_it_is,
    file_setting,
    model_suffix,
    shapes_by_file,
)
from proxyless_hw.profilers.models.fixed_sizes import with_fixed_sizes
from proxyless_hw.profilers.networks import measure_workloads
from proxyless_hw.profilers.node_time import NodeTime
from proxyless_hw.profilers.options import given_options
from proxyless_hw.profilers.per_op import check_per_op, node_times
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig
from proxyless_hw.profilers.shown import shown
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.files import scratch_folder
from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.progress import phase

SECONDS_A_TARGET: Final = 10.0
"""Default budget for measuring, per file or network."""


@dataclass(frozen=True, kw_only=True)
class Benchmarked:
    """One file or network that was timed.

    Attributes:
        measurement: its latency, or other metric.
        settings: how it was measured.
        device: on what.
        shape: batch size, input shape, resolution and classes that ran.
        file_mb, peak_memory_mb: size of the model file and peak memory of a call in MB; None where
            they cannot be had on this host.
        nodes: the time of every op; None unless they were asked for.
    """

    measurement: Measurement
    settings: ProfilerSettings
    device: str
    shape: JsonObject
    file_mb: float | None = None
    peak_memory_mb: float | None = None
    nodes: tuple[NodeTime, ...] | None = None

    def to_json(self) -> JsonObject:
        """The object that the command prints."""
        result: JsonObject = self.measurement.to_json()
        result.update(device=self.device, threads=self.settings.threads, interval_of="this run")
        if self.settings.runtime is not None:
            result["runtime"] = self.settings.runtime
        if self.file_mb is not None:
            result.update(file_mb=self.file_mb, peak_memory_mb=self.peak_memory_mb)
        if self.nodes is not None:
            result["nodes"] = [node.to_json() for node in self.nodes]
        return result | self.shape


def benchmark_all(
    targets: Sequence[str | Path | Architecture],
    *,
    device: str | None = None,
    settings: ProfilerSettings | None = None,
    runtimes: Sequence[str] = (),
    table: LatencyTable | str | Path | None = None,
    budget_s: float | None = None,
    goal: float = 0.01,
    resolution: int | None = None,
    num_classes: int | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    signature: str | None = None,
    per_op: bool = False,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> list[Benchmarked]:
    """Times model files and networks interleaved, in one run: ``proxyless-hw benchmark``.

    Interleaved, they are compared at one speed of the machine. For one target or a torch module:
    `benchmark`.

    Args:
        targets: model files (.onnx, .tflite), architectures, or what names them.
        device: device kind; the table's, or ``cpu``, when None.
        settings: how they are measured; as the table was, or the defaults, when None.
        runtimes: runtimes of a CPU to compare: each target is measured by those that can run it.
        table: measured beside its anchors; an object, a name or a path.
        budget_s: seconds in all; 10 a target when None.
        goal: half-width of the 95% interval at which a target is done, as a fraction.
        resolution: height and width of networks, and of files that leave them open.
        num_classes: of networks.
        batch_size: of files that leave it open.
        input_shapes: whole shapes of a file's inputs, by input name.
        signature: which signature of a TFLite file is run.
        per_op: also time every op, where the runtime tells it.
        progress: called after each round; without it progress is shown on stderr.
        say: told what is going on, a line at a time.
        quiet: shows no progress.

    Returns:
        One result a target, in order; one for each runtime where several measure it.

    Raises:
        ProfilingError: no target, a file is missing or cannot be run, or options contradict it.
        ArchitectureError: nothing has that name.
        PredictorError: the device or setting is not the table's.
        BackendUnavailableError: the device or runtime is not there.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.benchmark_all(["fp32.onnx", "int8.tflite"], budget_s=20)  # doctest: +SKIP
        >>> [item.measurement.median for item in found]  # doctest: +SKIP
    """
    if isinstance(targets, str | Path | Architecture) or not targets:
        raise ProfilingError(
            f"targets is a list of at least one file or network: received {str(targets)[:80]!r}."
        )
    beside = None if table is None else table_of(table)
    own_device, own = ("cpu", ProfilerSettings()) if beside is None else settings_of(beside)
    device, settings = device or own_device, settings or own
    wanted = FileShape(
        batch=batch_size,
        resolution=resolution,
        input_shapes=input_shapes or {},
        signature=signature,
    )
    workloads = _workloads(targets, wanted, num_classes)
    workloads, settings_by_name = assigned(workloads, settings, device, runtimes)
    profiler = joint_profiler(settings_by_name, device)
    if per_op:
        for workload in workloads:
            check_per_op(workload.file, settings_by_name[workload.name], device)
    files = _file_settings(workloads, num_classes)
    timing = TimingConfig(
        goal=goal, budget_s=budget_s or SECONDS_A_TARGET * len(workloads), spend=False
    )
    first = settings_by_name[workloads[0].name]
    with ExitStack() as stack:
        show = stack.enter_context(shown("benchmark", progress, quiet))
        how = Measuring(settings=first, device=device, timing=timing, progress=show)
        if beside is not None:
            anchored = measuring_for(beside, device=device, settings=first)
            if anchored.anchors is None and say is not None:
                say(without_anchors(beside))
            how = replace(how, settings=anchored.settings, anchors=anchored.anchors)
        run = _as_run(workloads, files, device, stack)
        measured = measure_workloads(run, how, profiler=profiler)
    with phase("benchmark: memory and nodes", quiet):
        return [
            _result(
                workload,
                item,
                settings_by_name[workload.name],
                device,
                files.get(workload.name),
                per_op,
            )
            for workload, item in zip(workloads, measured, strict=True)
        ]


def _workloads(
    targets: Sequence[str | Path | Architecture], wanted: FileShape, num_classes: int | None
) -> list[Workload]:
    """The targets; files with what was said about their shape, batch included where it was said."""
    named = list(dict.fromkeys(str(item) if isinstance(item, Path) else item for item in targets))
    files = [Path(item) for item in named if isinstance(item, str) and model_suffix(item)]
    for file in files:
        if not file.is_file():
            raise ProfilingError(f"no model file {file}.")
    if not files and (wanted.input_shapes or wanted.signature):
        raise ProfilingError(
            "--input-shape and --signature are for model files: received only networks, whose "
            "shape is set by --resolution."
        )
    shapes = shapes_by_file(files, wanted)
    workloads = []
    for item in named:
        if isinstance(item, str) and model_suffix(item):
            path = Path(item)
            workloads.append(Workload(name=item, file=path, shape=shapes[path]))
            continue
        arch = load_architecture(item) if isinstance(item, str) else item
        name = item if isinstance(item, str) else f"{arch.space} {len(workloads)}"
        arch = arch.with_shape(resolution=wanted.resolution, num_classes=num_classes)
        workloads.append(Workload(name=name, arch=arch, batch_norm=arch.batch_norm))
    return workloads


def _file_settings(
    workloads: Sequence[Workload], num_classes: int | None
) -> dict[str, FileSetting]:
    """What each file runs with, by the workload's name."""
    settings = {}
    for workload in workloads:
        if workload.file is not None:
            settings[workload.name] = file_setting(workload.file, workload.shape)
            check_classes(workload.file, settings[workload.name], num_classes)
    return settings


def _as_run(
    workloads: list[Workload], settings: Mapping[str, FileSetting], device: str, stack: ExitStack
) -> list[Workload]:
    """The workloads as the device is given them.

    CPU and GPU runtimes fill open sizes themselves. Other devices run a file as it is, so they get
    a copy with the sizes written in, where that can be done (ONNX).
    """
    if device in ("cpu", "gpu"):
        return workloads
    run = []
    for workload in workloads:
        file = workload.file
        if file is not None and model_suffix(file) == ".onnx":
            folder = stack.enter_context(scratch_folder(ProfilingError))
            file = with_fixed_sizes(file, settings[workload.name], folder)
        elif file is not None:
            check_runs_as_it_is(file, settings[workload.name], device)
        run.append(replace(workload, file=file))
    return run


def _stated(
    workload: Workload, setting: FileSetting | None, settings: ProfilerSettings, device: str
) -> JsonObject:
    """The shape that a result states: what ran."""
    if setting is not None:
        stated: JsonObject = {
            "batch_size": setting.batch_size,
            "input_shape": setting.input_shape,
            "resolution": setting.resolution,
            "num_classes": setting.num_classes,
        }
        return stated | ({"signature": setting.signature} if setting.signature else {})
    arch = workload.arch
    if arch is None:
        return {}
    side, batch, deep = arch.resolution, settings.batch_size, arch.in_channels
    channels_last = form_of_runtime(settings.runtime, device) == "tflite"
    channels_last |= given_options(settings.options).get("model_format") == "tflite"
    shape = (batch, side, side, deep) if channels_last else (batch, deep, side, side)
    return {
        "batch_size": batch,
        "input_shape": "x".join(map(str, shape)),
        "resolution": side,
        "num_classes": arch.num_classes,
    }


def _result(
    workload: Workload,
    item: Measurement,
    settings: ProfilerSettings,
    device: str,
    setting: FileSetting | None,
    per_op: bool,
) -> Benchmarked:
    """The figures of one target; size, memory and nodes where they can be had on this host."""
    result = Benchmarked(
        measurement=item,
        settings=settings,
        device=device,
        shape=_stated(workload, setting, settings, device),
        nodes=tuple(node_times(workload, settings, device)) if per_op else None,
    )
    if device != "cpu":
        return result
    with scratch_folder(ProfilingError) as folder:
        file = workload.file or write_model(workload, settings, folder)
        if file is None:
            return result
        return replace(
            result,
            file_mb=file.stat().st_size / 2**20,
            peak_memory_mb=peak_memory_mb(file, settings, workload.shape),
        )
