"""``table calibrate``: fit whole-network calibration to a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._device_options import device_options, progress_bar, settings_from
from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.predictors.calibration import CalibrationNetwork


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
@click.option("--space", default="imagenet", show_default=True, help="Shipped name or YAML file.")
@click.option("--resolution", type=click.IntRange(1, 8192), help="Default: the table's own.")
@click.option("--seed", default=0, show_default=True, help="Of the networks drawn.")
@click.option("--budget", type=float, metavar="SECONDS", help="Time for measuring.")
@device_options
@output_options
def command(**values: Any) -> None:
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

    path: Path = values["table"]
    LatencyTable.load(path)
    if not path.is_file():
        raise TableError(
            f"'{path}' is a shipped table: a calibration stands beside a table file of yours. "
            "Copy the table and name the copy's path."
        )
    # Held while networks are measured: the rows must not change under the calibration.
    with exclusive_lock(lock_beside(path), TableError, f"table {path}"):
        _calibrate(path, values)


def _calibrate(path: Path, values: dict[str, Any]) -> None:
    from proxyless_hw.predictors.calibration import fit_calibration, save_calibration
    from proxyless_hw.predictors.network_files import read_measured_networks
    from proxyless_hw.tables.table import LatencyTable

    loaded = LatencyTable.load(path)
    loaded.require_metric("latency")
    if values["measured_file"] is not None:
        networks = read_measured_networks(values["measured_file"], loaded)
    else:
        networks = _measure(loaded, values)
    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    sidecar = save_calibration(path, calibration)
    before = _mape(networks)
    if values["as_json"]:
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
    elif not values["quiet"]:
        click.echo(
            f"{sidecar}: {calibration.a:.4g} ms + {calibration.b:.4f} sum + {calibration.c:.4g} ms "
            f"a block, from {len(networks)} networks. MAPE {before:.2%} before, "
            f"{calibration.loo_mape or 0:.2%} after (each network from the others)."
        )


def _mape(networks: list[CalibrationNetwork]) -> float:
    errors = [abs(network.predicted_ms / network.measured_ms - 1) for network in networks]
    return sum(errors) / len(errors)


def _measure(loaded: Any, values: dict[str, Any]) -> list[CalibrationNetwork]:
    from proxyless_hw.predictors.measured import measure_calibration_networks, measuring_for
    from proxyless_hw.space.search_space import SearchSpace

    settings = settings_from(values)
    with progress_bar("calibrating", values["quiet"]) as progress:
        return measure_calibration_networks(
            loaded,
            SearchSpace.load(values["space"]),
            measuring_for(
                loaded,
                device=values["device"],
                settings=settings,
                budget_s=values["budget"] or SECONDS_A_NETWORK * values["networks"],
                progress=progress,
                say=lambda message: log(message, values["quiet"]),
            ),
            networks=values["networks"],
            seed=values["seed"],
            resolution=values["resolution"],
        )
