"""``proxyless-hw benchmark``: time model files or networks by the profiling protocol."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._device_options import device_options, progress_bar, settings_from
from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.profilers.base import ProfilerSettings, Workload
    from proxyless_hw.profilers.networks import Measured

_FILE_SUFFIXES = (".onnx", ".tflite")


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="FILE|ARCH...")
@click.option("--resolution", type=click.IntRange(1, 8192), help="For networks: not their own.")
@click.option("--num-classes", type=click.IntRange(1, 65536), help="For networks: not their own.")
@click.option("--per-op", is_flag=True, help="Also time every node (ONNX files).")
@click.option("--budget", type=float, metavar="SECONDS", help="Total time for measuring.")
@click.option(
    "--goal",
    default=0.01,
    show_default=True,
    help="Half-width of the 95% interval at which a target is done.",
)
@device_options
@output_options
def command(**values: Any) -> None:
    """Time model files or networks, interleaved, by the protocol of profile.

    A target is an .onnx or .tflite file, a zoo name, an architecture file, or a run folder.

    \b
    Example:
      proxyless-hw benchmark runs/demo/model.onnx --device cpu
      proxyless-hw benchmark proxyless-mobile mobilenet-v2 --runtime litert --json
    """  # fmt: skip
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.profilers.networks import (
        measure_workloads,
        settings_for_files,
    )
    from proxyless_hw.profilers.timing import TimingConfig

    quiet, device = values["quiet"], values["device"]
    if values["per_op"] and device != "cpu":
        raise ProfilingError(
            "--per-op times the nodes of a model on this machine's CPU: received --device "
            f"{device}. Leave --per-op out, or measure with --device cpu."
        )
    workloads = _workloads(values)
    settings = settings_from(values)
    files = [workload.file for workload in workloads if workload.file is not None]
    if files:
        settings = settings_for_files(files, settings, device)
    timing = TimingConfig(goal=values["goal"], budget_s=values["budget"])
    with progress_bar("benchmark", quiet) as progress:
        measured = measure_workloads(
            workloads,
            settings,
            device=device,
            timing=timing,
            sessions=3 if device == "cpu" else 1,
            progress=progress,
        )
    results = [
        _result(workload, item, settings, device, values["per_op"])
        for workload, item in zip(workloads, measured, strict=True)
    ]
    if values["as_json"]:
        echo_json(results[0] if len(results) == 1 else {"results": results})
    else:
        for result in results:
            log(_line(result), quiet)


def _workloads(values: dict[str, Any]) -> list[Workload]:
    from proxyless_hw.architecture import Architecture
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.profilers.base import Workload

    workloads = []
    for target in dict.fromkeys(values["targets"]):
        path = Path(target)
        if path.suffix in _FILE_SUFFIXES:
            if not path.is_file():
                raise ProfilingError(f"no model file {path}.")
            workloads.append(Workload(name=target, file=path))
        else:
            arch = Architecture.load(target).with_shape(
                resolution=values["resolution"], num_classes=values["num_classes"]
            )
            workloads.append(Workload(name=target, arch=arch, batch_norm=arch.batch_norm))
    return workloads


def _result(
    workload: Workload, item: Measured, settings: ProfilerSettings, device: str, per_op: bool
) -> dict[str, Any]:
    """The figures of one target; size, memory and nodes where they can be had on this host."""
    result: dict[str, Any] = asdict(item)
    if workload.arch is not None:
        result["resolution"] = workload.arch.resolution
        result["num_classes"] = workload.arch.num_classes
    result.update(device=device, threads=settings.threads, batch_size=settings.batch_size)
    if device != "cpu":
        return result
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.files import scratch_folder
    from proxyless_hw.profilers.inspection import node_times, peak_memory_mb, write_model

    with scratch_folder(ProfilingError) as folder:
        file = workload.file or write_model(workload, settings, folder)
        if file is not None:
            result["file_mb"] = file.stat().st_size / 2**20
            result["peak_memory_mb"] = peak_memory_mb(file, settings)
            if per_op:
                result["nodes"] = [asdict(node) for node in node_times(file, settings)]
    return result


def _line(result: dict[str, Any]) -> str:
    text = (
        f"{result['name']}: median {result['median_ms']:.3f} ms "
        f"(95% interval {result['ci_low_ms']:.3f} to {result['ci_high_ms']:.3f}), "
        f"p90 {result['p90_ms']:.3f} ms, {result['rounds']} rounds"
    )
    if "peak_memory_mb" in result:
        text += f"; file {result['file_mb']:.1f} MB, peak memory {result['peak_memory_mb']:.1f} MB"
    if not result["converged"]:
        text += "; the interval is wider than the goal: close other programs, or give --budget"
    for node in result.get("nodes", []):
        text += f"\n  {node['median_ms']:8.4f} ms {node['share']:6.1%}  {node['op_type']:20} "
        text += node["name"]
    return text
