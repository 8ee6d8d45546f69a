"""``proxyless-hw report``: one HTML file that shows a run, or compares several."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, log, output_options, path_option


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@path_option(
    "--output",
    "The HTML file; report.html in the (first) run folder by default. Replaced if it exists.",
)
@path_option("--figures", "A folder that takes every picture as SVG and PNG.")
@output_options
def command(
    runs: tuple[Path, ...], output: Path | None, figures: Path | None, as_json: bool, quiet: bool
) -> None:
    """Write one HTML file that shows a run; several runs are compared.

    \b
    Example:
      proxyless-hw report runs/demo
      proxyless-hw report runs/cpu runs/pixel1 --output compare.html --figures figures
    """  # fmt: skip
    from proxyless_hw.report.report import write_report

    path = write_report(list(runs), output, figures=figures)
    size = path.stat().st_size
    if as_json:
        echo_json(
            {
                "report": str(path),
                "bytes": size,
                "figures": None if figures is None else str(figures),
            }
        )
    log(f"{path}: {size / 2**20:.2f} MiB. Open it in a browser.", quiet)
