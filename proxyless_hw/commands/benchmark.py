"""``proxyless-hw benchmark``: time model files or networks by the profiling protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._benchmark_output import line, show
from proxyless_hw.commands._device_options import DeviceChoice, reporting, runtimes_options
from proxyless_hw.commands._measuring_options import (
    num_classes_option,
    resolution_option,
    timing_options,
)
from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.tables.table import LatencyTable


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
    from proxyless_hw.predictors.benchmark_all import benchmark_all
    from proxyless_hw.profilers.model_inputs import parse_input_shapes

    beside = None
    if table is not None:
        if len(on.runtimes) > 1:
            raise click.UsageError("a --table is of one runtime: leave one of the two out.")
        beside, on = _table(table, on)
    with reporting("benchmark", quiet) as told:
        found = benchmark_all(
            targets,
            **on.arguments,
            runtimes=on.runtimes,
            table=beside,
            budget_s=budget,
            goal=goal,
            resolution=resolution,
            num_classes=num_classes,
            batch_size=on.settings.batch_size if "batch_size" in on.given else None,
            input_shapes=parse_input_shapes(shapes),
            signature=signature,
            per_op=per_op,
            **told,
        )
    results = [item.to_json() for item in found]
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
