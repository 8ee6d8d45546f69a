"""``table calibrate``: fit whole-network calibration to a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._device_options import DeviceChoice, device_options, progress_bar
from proxyless_hw.commands._measuring_options import budget_option, resolution_option, space_option
from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.predictors.calibration import CalibrationNetwork
    from proxyless_hw.tables.table import LatencyTable


SECONDS_A_NETWORK = 5.0
"""Default budget for measuring, per network."""


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "measured_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Networks measured before (CSV or JSON); nothing is measured now.",
)
@click.option("--networks", default=60, show_default=True, type=click.IntRange(5, 1000))
@space_option
@resolution_option("The table's own by default.")
@click.option("--seed", default=0, show_default=True, help="Of the networks drawn.")
@budget_option("Time for measuring: 5 s a network by default.")
@device_options
@output_options
def command(
    on: DeviceChoice,
    table: Path,
    measured_file: Path | None,
    networks: int,
    space: str,
    resolution: int | None,
    seed: int,
    budget: float | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Calibrate a table on whole networks: measured = a + b sum + c blocks.

    Networks are drawn (half of them evenly over the feasible range of the space, half uniformly)
    and measured by the protocol of profile; or taken from FILE, with columns network,measured_ms (a
    network as predict takes it). The calibration is kept beside the table and used by predict,
    search and derive.

    \b
    Example:
      proxyless-hw table calibrate tables/cpu.csv --device cpu
      proxyless-hw table calibrate tables/phone.csv --from measured.csv
    """
    from proxyless_hw.errors import TableError
    from proxyless_hw.storage.locks import exclusive_lock, lock_beside
    from proxyless_hw.tables.table import LatencyTable

    LatencyTable.load(table)
    if not table.is_file():
        raise TableError(
            f"'{table}' is a shipped table: a calibration stands beside a table file of yours. "
            "Copy the table and name the copy's path."
        )
    # Held while networks are measured: the rows must not change under the calibration.
    with exclusive_lock(lock_beside(table), TableError, f"table {table}"):
        loaded = LatencyTable.load(table)
        loaded.require_metric("latency")
        if measured_file is not None:
            from proxyless_hw.predictors.network_files import read_measured_networks

            measured = read_measured_networks(measured_file, loaded)
        else:
            budget = budget or SECONDS_A_NETWORK * networks
            measured = _measure(loaded, on, space, networks, seed, resolution, budget, quiet)
        _calibrate(table, measured, as_json, quiet)


def _calibrate(path: Path, networks: list[CalibrationNetwork], as_json: bool, quiet: bool) -> None:
    from proxyless_hw.predictors.calibration import fit_calibration, save_calibration

    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    sidecar = save_calibration(path, calibration)
    before = _mape(networks)
    if as_json:
        echo_json(
            {
                "calibration": str(sidecar),
                "networks": len(networks),
                "a": calibration.a,
                "b": calibration.b,
                "c": calibration.c,
                "mape_before": before,
                "left_out_mape": calibration.loo_mape,
            }
        )
    elif not quiet:
        click.echo(
            f"{sidecar}: {calibration.a:.4g} ms + {calibration.b:.4f} sum + {calibration.c:.4g} ms "
            f"a block, from {len(networks)} networks. MAPE {before:.2%} before, "
            f"{calibration.loo_mape or 0:.2%} after (each network from the others)."
        )


def _mape(networks: list[CalibrationNetwork]) -> float:
    errors = [abs(network.predicted_ms / network.measured_ms - 1) for network in networks]
    return sum(errors) / len(errors)


def _measure(
    loaded: LatencyTable,
    on: DeviceChoice,
    space: str,
    networks: int,
    seed: int,
    resolution: int | None,
    budget_s: float,
    quiet: bool,
) -> list[CalibrationNetwork]:
    from proxyless_hw.predictors.measured import measure_calibration_networks, measuring_for
    from proxyless_hw.space.search_space import SearchSpace

    with progress_bar("calibrating", quiet) as progress:
        return measure_calibration_networks(
            loaded,
            SearchSpace.load(space),
            measuring_for(
                loaded,
                device=on.device,
                settings=on.settings,
                budget_s=budget_s,
                progress=progress,
                say=lambda message: log(message, quiet),
            ),
            networks=networks,
            seed=seed,
            resolution=resolution,
        )
