"""``table calibrate``: fit whole-network calibration to a table."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._device_options import DeviceChoice, device_options, progress_bar
from proxyless_hw.commands._measuring_options import budget_option, resolution_option, space_option
from proxyless_hw.commands._options import echo_json, log, output_options


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
    from proxyless_hw.predictors.calibrate import calibrate

    with progress_bar("calibrating", quiet or measured_file is not None) as progress:
        found = calibrate(
            table,
            space,
            measured=measured_file,
            networks=networks,
            device=on.device,
            settings=on.settings,
            budget_s=budget,
            resolution=resolution,
            seed=seed,
            progress=progress,
            say=lambda message: log(message, quiet),
            quiet=quiet,
        )
    fitted = found.calibration
    if as_json:
        echo_json(
            {
                "calibration": str(found.path),
                "networks": len(found.networks),
                "a": fitted.a,
                "b": fitted.b,
                "c": fitted.c,
                "mape_before": found.mape_before,
                "left_out_mape": fitted.loo_mape,
            }
        )
    elif not quiet:
        click.echo(
            f"{found.path}: {fitted.a:.4g} ms + {fitted.b:.4f} sum + {fitted.c:.4g} ms "
            f"a block, from {len(found.networks)} networks. MAPE {found.mape_before:.2%} before, "
            f"{fitted.loo_mape or 0:.2%} after (each network from the others)."
        )
