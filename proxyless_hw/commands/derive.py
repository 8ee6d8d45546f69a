"""``proxyless-hw derive``: other targets, or another table, from a finished search."""

from __future__ import annotations

import time
from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options, path_option


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--target-ms", "targets_ms", multiple=True, type=float, help="A latency target. Repeatable."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=float,
    help="A target in the table's unit, as mJ. Repeatable.",
)
@click.option("--table", metavar="CSV", help="Price with another table than the search's own.")
@path_option(
    "--output", "Folder for the networks, one sub-folder per target; RUN/derived by default."
)
@output_options
def command(
    run: Path,
    targets_ms: tuple[float, ...],
    targets: tuple[float, ...],
    table: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Derive networks for further targets from a finished search, without a new search.

    \b
    Example:
      proxyless-hw derive runs/demo --target-ms 6 --target-ms 9
      proxyless-hw derive runs/demo --table tables/pixel1.csv --target-ms 80
    """  # fmt: skip
    from proxyless_hw.search.finished import derive_run

    if not (targets or targets_ms):
        raise click.UsageError("name a target: --target-ms, or --target in the table's unit.")
    started = time.perf_counter()
    found = derive_run(
        run,
        target_ms=targets_ms,
        target=targets,
        table=table,
        output=output or run / "derived",
        say=lambda message: log(message, quiet),
        quiet=quiet,
    )
    if as_json:
        networks = [{**derived.to_json(), "seconds": derived.seconds} for derived in found]
        first = networks[0] if len(networks) == 1 else {}
        seconds = round(time.perf_counter() - started, 2)
        echo_json({**first, "networks": networks, "seconds": seconds})
