"""``table plot``: draw latency by shape, kernel and expansion."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options


@click.command()
@click.argument("table")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The picture: a name ending with .png, .svg or .pdf.",
)
@output_options
def command(table: str, output: Path, as_json: bool, quiet: bool) -> None:
    """Draw a table: latency by shape, kernel and expansion, with intervals.

    \b
    Example:
      proxyless-hw table plot pixel1 --output pixel1.png
    """
    from proxyless_hw.tables.plot import plot_table
    from proxyless_hw.tables.table import LatencyTable

    written = plot_table(LatencyTable.load(table), output)
    if as_json:
        echo_json({"output": str(written)})
    else:
        log(f"picture written to {written}", quiet)
