"""``proxyless-hw profile``: measure every op a search space needs on a device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._device_options import DeviceChoice, device_options, progress_bar
from proxyless_hw.commands._measuring_options import (
    num_classes_option,
    resolution_option,
    space_option,
    timing_options,
)
from proxyless_hw.commands._options import echo_json, log, output_options, path_option

if TYPE_CHECKING:
    from proxyless_hw.profilers.profile import ProfileConfig
    from proxyless_hw.tables.table import LatencyTable


@click.command()
@space_option
@resolution_option(
    "Input resolution in pixels; may be repeated. The space's own by default.", repeatable=True
)
@num_classes_option("The space's own by default.")
@device_options
@timing_options(
    "an op", "Total time, start-up included; without it, until every op meets the goal.", goal=0.02
)
@path_option("--output", "Where the table goes: tables/DEVICE.csv by default.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted measurement.")
@click.option("--missing-from", metavar="TABLE", help="Measure only what this table lacks.")
@path_option(
    "--only",
    "Measure only the ops of this file, one key per line (see table probes).",
    metavar="FILE",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, 100),
    help="Times the runners are built in a measurement: 8 by default on a CPU or GPU, else 1.",
)
@click.option(
    "--repeat",
    default=1,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Whole measurements; from 2 on the A/A score is given.",
)
@path_option(
    "--bundle",
    "Measure nothing here: write TFLite models and a script to run on the device.",
    metavar="DIR",
)
@click.option("--no-drift-correction", is_flag=True, help="Use the uncorrected values.")
@click.option("--seed", default=0, show_default=True)
@output_options
def command(
    on: DeviceChoice,
    space: str,
    resolutions: tuple[int, ...],
    num_classes: int | None,
    budget: float | None,
    goal: float,
    output: Path | None,
    resume: bool,
    missing_from: str | None,
    only: Path | None,
    sessions: int | None,
    repeat: int,
    bundle: Path | None,
    no_drift_correction: bool,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure every op a search space needs and write the latency table.

    \b
    Example:
      proxyless-hw profile --device cpu --budget 60 --output tables/cpu.csv
      proxyless-hw profile --device cpu --runtime litert --resolution 192 --resolution 224
    """  # fmt: skip
    from proxyless_hw.profilers.host.environment import seconds_since_process_start

    started = time.perf_counter() - seconds_since_process_start()
    from proxyless_hw.profilers.profile import ProfileConfig, profile
    from proxyless_hw.profilers.protocol.timing import TimingConfig

    output = output or Path("tables") / f"{on.device}.csv"
    config = ProfileConfig(
        output=output,
        device=on.device,
        settings=on.settings,
        space=space,
        resolutions=tuple(dict.fromkeys(resolutions)),
        num_classes=num_classes,
        missing_from=missing_from,
        only=only,
        timing=TimingConfig(
            goal=goal, budget_s=budget, correct_drift=not no_drift_correction, seed=seed
        ),
        resume=resume,
        sessions=sessions,
        repeat=repeat,
        started=started,
    )
    if bundle is not None:
        _write_bundle(config, bundle, as_json, quiet)
        return
    with progress_bar(f"profiling {space}", quiet) as progress:
        table = profile(config, progress, say=lambda message: log(message, quiet))
    if as_json:
        from proxyless_hw.predictors.judgement import judge_intervals

        echo_json(
            {
                "table": str(output),
                "ops": len(table),
                **{
                    key: value
                    for key, value in table.metadata.items()
                    if key not in ("unconverged_ops", "anchors")
                },
                "verdict": judge_intervals(table).grade,
                "seconds": round(time.perf_counter() - started, 2),
            }
        )
    log(_summary(table, output), quiet)


def _write_bundle(config: ProfileConfig, directory: Path, as_json: bool, quiet: bool) -> None:
    from proxyless_hw.errors import ProfilingError
    from proxyless_hw.profilers.android.bundle import write_bundle

    if config.device != "mobile":
        raise ProfilingError(f"--bundle is for --device mobile: received --device {config.device}.")
    models = write_bundle(config, directory)
    if as_json:
        echo_json({"bundle": str(directory), "models": models})
    log(
        f"{directory}: {models} models. Copy it to the device, run run.sh there, copy its logs "
        f"back, then: proxyless-hw table import {directory} --output {config.output}",
        quiet,
    )


def _summary(table: LatencyTable, output: Path) -> str:
    from proxyless_hw.predictors.judgement import judge_intervals

    metadata = table.metadata
    lines = [f"{output}: {len(table)} ops on {metadata['device']}, {metadata['runtime']}."]
    if "left_to_cpu" in metadata:
        lines.append(f"Left to the CPU, whose time is not counted: {metadata['left_to_cpu']}.")
    if "quality_median_half_width" in metadata:
        lines.append(
            f"Median 95% half-width {float(metadata['quality_median_half_width']):.2%}, "
            f"{float(metadata['quality_within_2_percent']):.0%} of ops within 2%, "
            f"{metadata['quality_unconverged']} not converged; the machine was disturbed "
            f"{float(metadata['quality_disturbed']):.0%} of the time; caches: "
            f"{metadata.get('cache', 'as the device has them')}."
        )
    if "quality_repeat_spearman" in metadata:
        lines.append(
            f"A/A: Spearman {metadata['quality_repeat_spearman']}, median change "
            f"{float(metadata['quality_repeat_median_change']):.2%}, intervals of "
            f"{float(metadata['quality_repeat_overlap']):.0%} of ops overlap."
        )
    judgement = judge_intervals(table)
    lines.append(judgement.sentence)
    if table.metric in ("flash", "sram"):
        lines.append(
            f"Next: proxyless-hw search --table TABLE_OF_LATENCY --constraint {output}=LIMIT"
        )
    elif judgement.grade != "poor":
        lines.append(
            f"Next: proxyless-hw validate --table {output} (are predictions right?) or "
            f"proxyless-hw search --table {output}"
        )
    return "\n".join(lines)
