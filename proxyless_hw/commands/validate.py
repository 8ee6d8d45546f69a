"""``proxyless-hw validate``: whole networks, measured against predicted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._device_options import device_options, progress_bar, settings_from
from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.predictors.validation import Accuracy, Validation
    from proxyless_hw.tables.table import LatencyTable

ENOUGH_NETWORKS = 20
"""Fewer networks change no later prediction unless --calibrate says so."""


@click.command()
@click.option("--table", required=True, metavar="TABLE", help="Shipped name or CSV.")
@click.option("--space", default="imagenet", show_default=True, help="Shipped name or YAML file.")
@click.option(
    "--networks",
    default=20,
    show_default=True,
    type=click.IntRange(0, 10000),
    help="Uniform random networks, for the errors.",
)
@click.option(
    "--spread",
    default=30,
    show_default=True,
    type=click.IntRange(0, 10000),
    help="Networks spread evenly over the feasible range, for the ranks.",
)
@click.option("--resolution", type=click.IntRange(1, 8192), help="The table's own by default.")
@click.option("--seed", default=0, show_default=True, help="Of the networks.")
@click.option("--budget", type=float, metavar="SECONDS", help="Time for measuring.")
@click.option(
    "--goal",
    default=0.01,
    show_default=True,
    help="Half-width of the 95% interval at which a network is done.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Scatter plot: .png, .svg, .pdf.")
@click.option(
    "--calibrate/--no-calibrate",
    default=None,
    help="Keep a calibration fitted on these networks; by default if the table has none yet.",
)
@device_options
@output_options
def command(**values: Any) -> None:
    """Measure whole networks and compare them with a table's predictions.

    \b
    Example:
      proxyless-hw validate --table tables/cpu.csv --device cpu --networks 20
      proxyless-hw validate --table tables/cpu.csv --networks 100 --plot validation.png
    """  # fmt: skip
    from proxyless_hw.errors import PredictorError, TableError
    from proxyless_hw.predictors.validation import validate
    from proxyless_hw.predictors.validation_plot import check_plot_path, plot_validation
    from proxyless_hw.profilers.command_recorded import with_recorded_options
    from proxyless_hw.profilers.timing import TimingConfig
    from proxyless_hw.space import SearchSpace
    from proxyless_hw.tables.table import LatencyTable

    quiet = values["quiet"]
    plot: Path | None = values["plot"]
    if plot is not None:
        check_plot_path(plot)
    table = LatencyTable.load(values["table"])
    if values["calibrate"] and not Path(values["table"]).is_file():
        raise TableError(
            f"'{values['table']}' is a shipped table: a calibration stands beside a table file of "
            "yours. Copy the table and name the copy's path."
        )
    if values["runtime"] is None and values["device"] == "cpu":
        values["runtime"] = (table.metadata.get("runtime") or "onnxruntime").split()[0]
    settings = with_recorded_options(
        settings_from(values), values["device"], table.metadata, table.name
    )
    timing = TimingConfig(goal=values["goal"], budget_s=values["budget"])
    with progress_bar("validating", quiet) as progress:
        validation = validate(
            table,
            SearchSpace.load(values["space"]),
            settings,
            device=values["device"],
            networks=values["networks"],
            spread=values["spread"],
            seed=values["seed"],
            resolution=values["resolution"],
            timing=timing,
            progress=progress,
        )
    document = validation.to_dict()
    if plot is not None:
        plot_validation(validation, f"{table.name}", plot)
        document["plot"] = str(plot)
    if _keeps_calibration(values["calibrate"], values["table"], validation):
        try:
            document["calibration"] = _calibrate(values["table"], validation)
            log(f"calibration kept: {document['calibration']}", quiet)
        except PredictorError as error:
            if values["calibrate"]:
                raise
            log(f"no calibration kept: {error}", quiet)
    if values["as_json"]:
        echo_json(document)
    else:
        log(_summary(validation, table), quiet)


def _keeps_calibration(asked: bool | None, table: str, validation: Validation) -> bool:
    """As asked; else when the table is a file without a calibration and the networks suffice."""
    from proxyless_hw.predictors.calibration import calibration_path

    if asked is not None:
        return asked
    enough = len(validation.calibration_networks()) >= ENOUGH_NETWORKS
    return enough and Path(table).is_file() and not calibration_path(table).exists()


def _calibrate(table: str, validation: Validation) -> str:
    from proxyless_hw.predictors.calibration import fit_calibration, save_calibration

    networks = validation.calibration_networks()
    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    return str(save_calibration(table, calibration))


def _summary(validation: Validation, table: LatencyTable) -> str:
    lines = [f"{table.name}: measured against predicted"]
    for kind, title in (("uniform", "uniform random"), ("spread", "evenly spread")):
        for calibrated in (False, True):
            figures = validation.accuracy(kind, calibrated=calibrated)
            if figures is not None:
                lines.append(_line(title, figures, calibrated))
    for network in validation.of_kind("named"):
        error = network.predicted_ms / network.measured.median_ms - 1
        lines.append(
            f"  {network.name}: predicted {network.predicted_ms:.2f} ms, measured "
            f"{network.measured.median_ms:.2f} ms ({error:+.1%})"
        )
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
