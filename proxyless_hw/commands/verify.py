"""``proxyless-hw verify``: does a file meet its target on this machine?"""

from __future__ import annotations

import sys

import click

from proxyless_hw.commands._device_options import progress_bar
from proxyless_hw.commands._options import echo_json, log, output_options

FINISH_SECONDS = 1.0
LEAST_SECONDS = 2.0


@click.command()
@click.argument("target", metavar="FILE|ARCH")
@click.option("--table", required=True, metavar="TABLE", help="Measured on this machine.")
@click.option(
    "--target-ms", required=True, type=click.FloatRange(0, min_open=True), help="Latency target."
)
@click.option(
    "--budget",
    default=60.0,
    show_default=True,
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="Time in all, start-up included; less is used when the interval is narrow enough.",
)
@click.option("--device", help="Device kind: the table's own by default.")
@output_options
def command(
    target: str,
    table: str,
    target_ms: float,
    budget: float,
    device: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure a file beside a table's anchors and compare it with a target.

    The setting is the table's. The verdict is agrees, undecided (the machine is too noisy for the
    time spent; exit code 0) or missed (exit code 1), and holds at the speed that the machine had
    when the table was made.

    \b
    Example:
      proxyless-hw verify runs/demo/exports/demo-fp32.onnx --table tables/cpu.csv --target-ms 8
    """  # fmt: skip
    from proxyless_hw.predictors.measured import without_anchors
    from proxyless_hw.predictors.verify import verify
    from proxyless_hw.profilers.host.environment import seconds_since_process_start
    from proxyless_hw.tables.table import LatencyTable

    log(f"measuring {target}, up to {budget:g} s", quiet)
    left = budget - seconds_since_process_start() - FINISH_SECONDS
    with progress_bar("verify", quiet) as progress:
        found = verify(
            target,
            table,
            target_ms=target_ms,
            budget_s=max(LEAST_SECONDS, left),
            device=device,
            progress=progress,
        )
    if found.measured.table_speed is None:
        log(without_anchors(LatencyTable.load(table)), quiet)
    if as_json:
        echo_json(found.to_json())
    elif found.verdict == "agrees":
        log(found.sentence(), quiet)
    if found.verdict == "undecided":
        click.echo(f"warning: {found.sentence()}", err=True)
    if found.verdict == "missed":
        click.echo(f"error: {found.sentence()}", err=True)
        sys.exit(1)
