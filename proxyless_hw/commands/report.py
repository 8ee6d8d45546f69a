"""``proxyless-hw report``: one HTML file that shows a run, or compares several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyless_hw.commands._options import echo_json, log, output_options


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="The HTML file; report.html in the (first) run folder by default. Replaced if it exists.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path),
    help="A folder that takes every picture as SVG and PNG.",
)
@output_options
def command(**values: Any) -> None:
    """Write one HTML file that shows a run; several runs are compared.

    \b
    Example:
      proxyless-hw report runs/demo
      proxyless-hw report runs/cpu runs/pixel1 --output compare.html --figures figures
    """  # fmt: skip
    from proxyless_hw.report.report import write_report

    path = write_report(list(values["runs"]), values["output"], figures=values["figures"])
    size = path.stat().st_size
    if values["as_json"]:
        figures = values["figures"]
        echo_json(
            {
                "report": str(path),
                "bytes": size,
                "figures": None if figures is None else str(figures),
            }
        )
    log(f"{path}: {size / 2**20:.2f} MiB. Open it in a browser.", values["quiet"])
