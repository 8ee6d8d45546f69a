"""``proxyless-hw validate``: whole networks, measured against predicted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._device_options import DeviceChoice, device_options, progress_bar
from proxyless_hw.commands._measuring_options import resolution_option, space_option, timing_options
from proxyless_hw.commands._options import Function, echo_json, log, output_options, path_option
from proxyless_hw.units import format_duration

if TYPE_CHECKING:
    from proxyless_hw.predictors.judgement import Judgement, ValidationRecord
    from proxyless_hw.predictors.validation import Accuracy, Validation
    from proxyless_hw.tables.table import LatencyTable

SECONDS_A_NETWORK = 5.0
"""Default budget for measuring, per network."""

ENOUGH_NETWORKS = 20
"""Fewer networks change no later prediction unless --calibrate says so."""


def _count(flag: str, default: int, help: str) -> Callable[[Function], Function]:
    kind = click.IntRange(0, 10000)
    return click.option(flag, default=default, show_default=True, type=kind, help=help)


@click.command()
@click.option("--table", required=True, metavar="TABLE", help="Shipped name or CSV.")
@space_option
@_count("--networks", 20, "Uniform random networks, for the errors.")
@_count("--spread", 30, "Networks spread evenly over the feasible range, for the ranks.")
@resolution_option("The table's own by default.")
@click.option("--seed", default=0, show_default=True, help="Of the networks.")
@click.option(
    "--force",
    is_flag=True,
    help="Validate a table that is too poor; exit 0 also when predictions are.",
)
@timing_options("a network", "Time for measuring: 5 s per network by default.")
@path_option("--plot", "Scatter plot: .png, .svg, .pdf.")
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Keep a calibration fitted on these networks; by default if the table has none yet.",
)
@device_options
@output_options
def command(
    on: DeviceChoice,
    table: str,
    space: str,
    networks: int,
    spread: int,
    resolution: int | None,
    seed: int,
    budget: float | None,
    force: bool,
    goal: float,
    plot: Path | None,
    calibrate: bool | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure whole networks and compare them with a table's predictions.

    \b
    Example:
      proxyless-hw validate --table tables/cpu.csv --device cpu --networks 20
      proxyless-hw validate --table tables/cpu.csv --networks 100 --plot validation.png
    """  # fmt: skip
    from proxyless_hw.drawing.plots import check_plot_path
    from proxyless_hw.errors import PredictorError, TableError
    from proxyless_hw.predictors.judgement import require_usable
    from proxyless_hw.predictors.measured import NO_ANCHORS, measure_for, measuring_for
    from proxyless_hw.predictors.validation import draw_networks, score
    from proxyless_hw.predictors.validation_plot import plot_validation
    from proxyless_hw.space.search_space import SearchSpace
    from proxyless_hw.tables.table import LatencyTable

    if plot is not None:
        check_plot_path(plot, PredictorError)
    loaded = LatencyTable.load(table)
    if calibrate and not Path(table).is_file():
        raise TableError(
            f"'{table}' is a shipped table: a calibration stands beside a table file of "
            "yours. Copy the table and name the copy's path."
        )
    settings = on.settings
    if settings.runtime is None and on.device == "cpu":
        runtime = (loaded.metadata.get("runtime") or "onnxruntime").split()[0]
        settings = replace(settings, runtime=runtime)
    if not force:
        # What an earlier validation found is found anew here, and calibrated where it is asked for.
        require_usable(loaded, "validate", networks=False)
    searched = SearchSpace.load(space)
    drawn = draw_networks(loaded, searched, networks, spread, seed, resolution)
    budget = budget or SECONDS_A_NETWORK * len(drawn)
    took = format_duration(budget)
    log(f"measuring {len(drawn)} networks of '{searched.id}', up to {took}", quiet)
    with progress_bar("validating", quiet) as progress:
        how = measuring_for(
            loaded,
            device=on.device,
            settings=settings,
            budget_s=budget,
            goal=goal,
            progress=progress,
            say=lambda message: log(message, quiet),
        )
        if how.anchors is None:
            log(NO_ANCHORS, quiet)
        measured = measure_for(
            loaded, how, archs=[item.arch for item in drawn], names=[item.name for item in drawn]
        )
    validation = score(loaded, drawn, measured)
    document = validation.to_dict()
    if plot is not None:
        plot_validation(validation, loaded.name, plot)
        document["plot"] = str(plot)
    left_out: float | None = None
    if _keeps_calibration(calibrate, table, validation):
        try:
            document["calibration"], left_out = _calibrate(table, validation)
            log(f"calibration kept: {document['calibration']}", quiet)
        except PredictorError as error:
            if calibrate:
                raise
            log(f"no calibration kept: {error}", quiet)
    judgement = _judge(table, validation, left_out)
    document |= {
        "calibrated_mape": judgement[0].calibrated_mape,
        "verdict": judgement[1].grade,
        "machine_speed": _machine_speed(validation),
    }
    if as_json:
        echo_json(document)
    else:
        log(_summary(validation, loaded, *judgement), quiet)
    if judgement[1].grade == "poor" and not force:
        click.echo(f"error: {judgement[1].sentence} Or go on with --force.", err=True)
        sys.exit(1)


def _judge(
    table: str, validation: Validation, left_out: float | None
) -> tuple[ValidationRecord, Judgement]:
    """The error after calibration and what is to be thought of it; kept beside the table.

    A calibration that was just fitted on these networks is judged by the error of each network
    predicted from the others.
    """
    from proxyless_hw.predictors.judgement import ValidationRecord, judge_networks, save_record

    raw = validation.accuracy("uniform") or validation.accuracy("spread")
    after = validation.accuracy("uniform", calibrated=True)
    after = after or validation.accuracy("spread", calibrated=True)
    assert raw is not None
    calibrated = left_out if left_out is not None else None if after is None else after.mape
    record = ValidationRecord(
        networks=len(validation.networks),
        mape=raw.mape,
        bias=raw.bias,
        calibrated_mape=calibrated,
    )
    if Path(table).is_file():
        save_record(table, record)
    return record, judge_networks(record, table)


def _machine_speed(validation: Validation) -> float | None:
    speed = validation.networks[0].measured.table_speed
    return None if speed is None else speed.machine_speed


def _keeps_calibration(asked: bool | None, table: str, validation: Validation) -> bool:
    """As asked; else when the table is a file without a calibration and the networks suffice."""
    from proxyless_hw.predictors.calibration import calibration_path

    if asked is not None:
        return asked
    enough = len(validation.calibration_networks()) >= ENOUGH_NETWORKS
    return enough and Path(table).is_file() and not calibration_path(table).exists()


def _calibrate(table: str, validation: Validation) -> tuple[str, float | None]:
    """Fits and keeps a calibration; returns its path and its left-out error."""
    from proxyless_hw.predictors.calibration import fit_calibration, save_calibration

    networks = validation.calibration_networks()
    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    return str(save_calibration(table, calibration)), calibration.loo_mape


def _summary(
    validation: Validation, table: LatencyTable, record: ValidationRecord, judgement: Judgement
) -> str:
    lines = [f"{table.name}: measured against predicted"]
    for kind, title in (("uniform", "uniform random"), ("spread", "evenly spread")):
        for calibrated in (False, True):
            figures = validation.accuracy(kind, calibrated=calibrated)
            if figures is not None:
                lines.append(_line(title, figures, calibrated))
    for network in validation.of_kind("named"):
        error = network.predicted_ms / network.measured_ms - 1
        lines.append(
            f"  {network.name}: predicted {network.predicted_ms:.2f} ms, measured "
            f"{network.measured_ms:.2f} ms ({error:+.1%})"
        )
    speed = _machine_speed(validation)
    if speed is not None and abs(speed - 1) >= 0.01:
        word = "slower" if speed < 1 else "faster"
        lines.append(
            f"  The machine is {abs(speed - 1):.0%} {word} than when the table was made; the "
            "figures are at the table's speed."
        )
    if record.calibrated_mape is not None:
        lines.append(f"  after calibration: MAPE {record.calibrated_mape:.2%}")
    if judgement.grade != "poor":
        lines.append(judgement.sentence)
        lines.append(f"Next: proxyless-hw search --table {table.name}")
    return "\n".join(lines)


def _line(title: str, figures: Accuracy, calibrated: bool) -> str:
    state = "calibrated" if calibrated else "raw"
    return (
        f"  {figures.networks} {title}, {state}: MAPE {figures.mape:.2%}, "
        f"bias {figures.bias:+.2%}, "
        f"within 2/5/10% {figures.within_2:.0%}/{figures.within_5:.0%}/{figures.within_10:.0%}, "
        f"Kendall tau {figures.kendall_tau:.3f}, Spearman {figures.spearman:.3f}, "
        f"RMSE {figures.rmse_ms:.3f} ms"
    )
