"""``proxyless-hw fit``: fit a predictor to a table and judge it on ops it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, kind_option, output_options
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from proxyless_hw.predictors.fit import Kind


@click.command()
@click.argument("table")
@kind_option
@click.option("--seed", default=0, show_default=True, help="Of the regression.")
@output_options
def command(table: str, kind: Kind, seed: int, as_json: bool, quiet: bool) -> None:
    """Fit a predictor to a table and judge it by grouped cross-validation.

    Whole shapes are held out, with every choice of the model made inside the rest. Nothing is
    written: a predictor is its table, and refits the same way each time. A calibration beside the
    table is judged on the networks it comes from, each predicted from the others.

    \b
    Example:
      proxyless-hw fit pixel1
      proxyless-hw fit tables/cpu.csv --kind regression --json
    """
    from proxyless_hw.predictors.fit import fit_predictor
    from proxyless_hw.tables.table import LatencyTable

    loaded = LatencyTable.load(table)
    with phase(f"fitting {loaded.name}", quiet):
        predictor = fit_predictor(loaded, kind, seed=seed)
        scores = None if kind == "lookup" else predictor.regression.scores
    calibration = predictor.calibration
    if as_json:
        echo_json(
            {
                "table": loaded.name,
                "kind": kind,
                "rows": len(loaded),
                "scores": None if scores is None else scores.to_dict(),
                "calibration": None
                if calibration is None
                else {
                    "a": calibration.a,
                    "b": calibration.b,
                    "c": calibration.c,
                    "networks": len(calibration.networks),
                    "left_out_mape": calibration.loo_mape,
                },
            }
        )
        return
    click.echo(f"{loaded.name}: {len(loaded)} ops, {loaded.metric} in {loaded.unit}.")
    if kind != "regression":
        click.echo("look-up: exact sums of these ops.")
    if scores is not None:
        click.echo(
            f"regression, whole shapes held out ({scores.n} ops, {scores.folds} fits): "
            f"MAPE {scores.mape:.1%}, within 5% {scores.within_5:.0%}, within 10% "
            f"{scores.within_10:.0%}, Spearman {scores.spearman:.3f}."
        )
    if calibration is not None:
        click.echo(
            f"calibration: {calibration.a:.4g} ms + {calibration.b:.4f} sum + {calibration.c:.4g} "
            f"ms a block, from {len(calibration.networks)} networks; each from the others: MAPE "
            f"{calibration.loo_mape or 0:.2%}."
        )
    elif not quiet:
        click.echo(
            f"no calibration beside the table. Make one: proxyless-hw table calibrate {table}"
        )
