"""``proxyless-hw validate``: whole networks, measured against predicted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._device_options import DeviceChoice, device_options, progress_bar
from proxyless_hw.commands._measuring_options import resolution_option, space_option, timing_options
from proxyless_hw.commands._options import Function, echo_json, log, output_options, path_option

if TYPE_CHECKING:
    from proxyless_hw.predictors.validate import TableValidation
    from proxyless_hw.predictors.validation import Accuracy


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
    from proxyless_hw.predictors.validate import validate

    with progress_bar("validating", quiet) as progress:
        found = validate(
            table,
            space,
            networks=networks,
            spread=spread,
            device=on.device,
            settings=on.settings,
            budget_s=budget,
            goal=goal,
            resolution=resolution,
            seed=seed,
            calibrate=calibrate,
            force=force,
            plot=plot,
            progress=progress,
            say=lambda message: log(message, quiet),
            quiet=quiet,
        )
    if as_json:
        plotted = {} if plot is None else {"plot": str(plot)}
        echo_json({**found.to_json(), **plotted})
    else:
        log(_summary(found), quiet)
    if found.judgement.grade == "poor" and not force:
        click.echo(f"error: {found.judgement.sentence} Or go on with --force.", err=True)
        sys.exit(1)


def _summary(found: TableValidation) -> str:
    validation, judgement = found.validation, found.judgement
    lines = [f"{found.table}: measured against predicted"]
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
    speed = found.machine_speed
    if speed is not None and abs(speed - 1) >= 0.01:
        word = "slower" if speed < 1 else "faster"
        lines.append(
            f"  The machine is {abs(speed - 1):.0%} {word} than when the table was made; the "
            "figures are at the table's speed."
        )
    after = found.record.calibrated_mape
    if after is not None:
        lines.append(f"  after calibration: MAPE {after:.2%}")
    if judgement.grade != "poor":
        lines.append(judgement.sentence)
        lines.append(f"Next: proxyless-hw search --table {found.table}")
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
