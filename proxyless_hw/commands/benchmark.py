"""``proxyless-hw benchmark``: time model files or networks by the profiling protocol."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._benchmark_output import line, show
from proxyless_hw.commands._device_options import DeviceChoice, progress_bar, runtimes_options
from proxyless_hw.commands._measuring_options import (
    num_classes_option,
    resolution_option,
    timing_options,
)
from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from proxyless_hw.profilers.base import ProfilerSettings, Workload
    from proxyless_hw.profilers.model_inputs import FileShape
    from proxyless_hw.profilers.models.file_shapes import FileSetting
    from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring
    from proxyless_hw.tables.table import LatencyTable

SECONDS_A_TARGET = 10.0
"""Default budget for measuring, per file or network."""


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="FILE|ARCH...")
@resolution_option("Height and width: for networks not their own, for files where they are open.")
@click.option(
    "--input-shape",
    "shapes",
    multiple=True,
    metavar="NAME:1,3,224,224",
    help="A file's input where its sizes are open; may be repeated.",
)
@click.option("--signature", help="Which signature of a TFLite file to run.")
@num_classes_option("For networks: not their own.")
@click.option(
    "--table",
    metavar="TABLE",
    help="Also give values at this table's speed: its anchors are measured beside the targets.",
)
@click.option("--per-op", is_flag=True, help="Also time every op, where the runtime tells it.")
@timing_options("a target", "Total time for measuring: 10 s per target by default.")
@runtimes_options
@output_options
def command(
    on: DeviceChoice,
    targets: tuple[str, ...],
    resolution: int | None,
    shapes: tuple[str, ...],
    signature: str | None,
    num_classes: int | None,
    table: str | None,
    per_op: bool,
    budget: float | None,
    goal: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Time model files or networks, interleaved, by the protocol of profile.

    A target is an .onnx or .tflite file, a zoo name, an architecture file, or a run folder. A file
    runs with its own shape and batch. What it leaves open is filled by --batch-size (1),
    --resolution or --input-shape. Files of several runtimes, or one network on several runtimes
    (--runtime repeated), are compared in one run.

    \b
    Example:
      proxyless-hw benchmark runs/demo/model.onnx --device cpu
      proxyless-hw benchmark detector.onnx --input-shape images:1,3,640,640
      proxyless-hw benchmark runs/demo/model.onnx --table tables/cpu.csv
      proxyless-hw benchmark proxyless-mobile mobilenet-v2 --runtime litert --json
      proxyless-hw benchmark model.onnx model.tflite
      proxyless-hw benchmark proxyless-mobile --runtime onnxruntime --runtime litert
    """  # fmt: skip
    from proxyless_hw.profilers.joint import assigned, joint_profiler
    from proxyless_hw.profilers.model_inputs import FileShape, parse_input_shapes
    from proxyless_hw.profilers.networks import measure_workloads
    from proxyless_hw.profilers.per_op import check_per_op
    from proxyless_hw.profilers.protocol.measurement import Measuring
    from proxyless_hw.profilers.protocol.timing import TimingConfig

    wanted = FileShape(
        batch=on.settings.batch_size if "batch_size" in on.given else None,
        resolution=resolution,
        input_shapes=parse_input_shapes(shapes),
        signature=signature,
    )
    workloads = _workloads(targets, wanted, num_classes)
    beside = None
    if table is not None:
        if len(on.runtimes) > 1:
            raise click.UsageError("a --table is of one runtime: leave one of the two out.")
        beside, on = _table(table, on)
    device = on.device
    workloads, settings_of = assigned(workloads, on.settings, device, on.runtimes)
    settings = settings_of[workloads[0].name]
    profiler = joint_profiler(settings_of, device)
    if per_op:
        for workload in workloads:
            check_per_op(workload.file, settings_of[workload.name], device)
    file_settings = _file_settings(workloads, num_classes)
    budget = budget or SECONDS_A_TARGET * len(workloads)
    timing = TimingConfig(goal=goal, budget_s=budget, spend=False)
    with ExitStack() as stack:
        progress = stack.enter_context(progress_bar("benchmark", quiet))
        how = Measuring(settings=settings, device=device, timing=timing, progress=progress)
        if beside is not None:
            how = _beside(beside, how, quiet)
        run = _as_run(workloads, file_settings, device, stack)
        measured = measure_workloads(run, how, profiler=profiler)
    with phase("benchmark: memory and nodes", quiet):
        results = [
            _result(workload, item, settings_of[workload.name], device)
            | (_nodes(workload, settings_of[workload.name], device) if per_op else {})
            | _stated(
                workload, file_settings.get(workload.name), settings_of[workload.name], device
            )
            for workload, item in zip(workloads, measured, strict=True)
        ]
    if as_json:
        echo_json(results[0] if len(results) == 1 else {"files": results})
    else:
        for result in results:
            log(line(result), quiet)
        if len(results) > 1 and not quiet:
            show(results)


def _table(name: str, on: DeviceChoice) -> tuple[LatencyTable, DeviceChoice]:
    """The table, and the device options with its setting for what was not given."""
    from proxyless_hw.predictors.measured import settings_of
    from proxyless_hw.tables.table import LatencyTable

    table = LatencyTable.load(name)
    kind, own = settings_of(table)
    asked = on.settings
    settings = replace(
        asked,
        runtime=asked.runtime if "runtime" in on.given else own.runtime,
        threads=asked.threads if "threads" in on.given else own.threads,
        batch_size=asked.batch_size if "batch_size" in on.given else own.batch_size,
        precision=asked.precision if "precision" in on.given else own.precision,
    )
    device = on.device if "device" in on.given else kind
    return table, replace(on, device=device, settings=settings)


def _beside(table: LatencyTable, how: Measuring, quiet: bool) -> Measuring:
    """The same measurement beside the anchors of a table."""
    from proxyless_hw.predictors.measured import NO_ANCHORS, measuring_for

    beside = measuring_for(table, device=how.device, settings=how.settings)
    if beside.anchors is None:
        log(NO_ANCHORS, quiet)
    return replace(how, settings=beside.settings, anchors=beside.anchors)


def _workloads(
    named: tuple[str, ...], wanted: FileShape, num_classes: int | None
) -> list[Workload]:
    """The targets; files with what was said about their shape, batch included where it was said."""
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.formats.load import load_architecture
    from proxyless_hw.profilers.base import Workload
    from proxyless_hw.profilers.models.file_shapes import model_suffix, shapes_by_file

    targets = list(dict.fromkeys(named))
    files = [Path(target) for target in targets if model_suffix(target)]
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
    for target in targets:
        if model_suffix(target):
            path = Path(target)
            workloads.append(Workload(name=target, file=path, shape=shapes[path]))
        else:
            arch = load_architecture(target).with_shape(
                resolution=wanted.resolution, num_classes=num_classes
            )
            workloads.append(Workload(name=target, arch=arch, batch_norm=arch.batch_norm))
    return workloads


def _file_settings(workloads: list[Workload], num_classes: int | None) -> dict[str, FileSetting]:
    """What each file runs with, by the workload's name."""
    from proxyless_hw.profilers.models.file_shapes import check_classes, file_setting

    settings = {}
    for workload in workloads:
        if workload.file is not None:
            settings[workload.name] = file_setting(workload.file, workload.shape)
            check_classes(workload.file, settings[workload.name], num_classes)
    return settings


def _as_run(
    workloads: list[Workload], settings: dict[str, FileSetting], device: str, stack: ExitStack
) -> list[Workload]:
    """The workloads as the device is given them.

    CPU and GPU runtimes fill open sizes themselves. Other devices run a file as it is, so they get
    a copy with the sizes written in, where that can be done (ONNX).
    """
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.profilers.models.file_shapes import check_runs_as_it_is, model_suffix
    from proxyless_hw.profilers.models.fixed_sizes import with_fixed_sizes
    from proxyless_hw.storage.files import scratch_folder

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
) -> dict[str, Any]:
    """The shape that a result states: what ran."""
    if setting is not None:
        stated: dict[str, Any] = {
            "batch_size": setting.batch_size,
            "input_shape": setting.input_shape,
            "resolution": setting.resolution,
            "num_classes": setting.num_classes,
        }
        return stated | ({"signature": setting.signature} if setting.signature else {})
    arch = workload.arch
    if arch is None:
        return {}
    from proxyless_hw.profilers.options import given_options

    side, batch, deep = arch.resolution, settings.batch_size, arch.in_channels
    channels_last = settings.runtime == "litert" or device == "mobile"
    channels_last |= given_options(settings.options).get("model_format") == "tflite"
    shape = (batch, side, side, deep) if channels_last else (batch, deep, side, side)
    return {
        "batch_size": batch,
        "input_shape": "x".join(map(str, shape)),
        "resolution": side,
        "num_classes": arch.num_classes,
    }


def _result(
    workload: Workload, item: Measurement, settings: ProfilerSettings, device: str
) -> dict[str, Any]:
    """The figures of one target; size and memory where they can be had on this host."""
    result: dict[str, Any] = item.to_json()
    result.update(device=device, threads=settings.threads, interval_of="this run")
    if settings.runtime is not None:
        result["runtime"] = settings.runtime
    if device != "cpu":
        return result
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.profilers.inspection import peak_memory_mb, write_model
    from proxyless_hw.storage.files import scratch_folder

    with scratch_folder(ProfilingError) as folder:
        file = workload.file or write_model(workload, settings, folder)
        if file is not None:
            result["file_mb"] = file.stat().st_size / 2**20
            result["peak_memory_mb"] = peak_memory_mb(file, settings, workload.shape)
    return result


def _nodes(workload: Workload, settings: ProfilerSettings, device: str) -> dict[str, Any]:
    """The times of a target's ops."""
    from proxyless_hw.profilers.per_op import node_times

    return {"nodes": [node.to_json() for node in node_times(workload, settings, device)]}
