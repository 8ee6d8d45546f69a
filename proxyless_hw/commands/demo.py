"""``proxyless-hw demo``: the whole loop on embedded data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._device_options import progress_bar
from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.demo import DemoResult


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Run folder. Stages that a killed demo has finished are not done again.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@output_options
def command(**values: Any) -> None:
    """Profile this CPU, search, export ONNX and TFLite, measure both, write a report.

    \b
    Example:
      proxyless-hw demo
    """  # fmt: skip
    from proxyless_hw.demo import run_demo

    quiet = values["quiet"]
    result = run_demo(
        values["output"],
        values["seed"],
        quiet,
        lambda title: progress_bar(title, quiet),
        lambda message: log(message, quiet),
    )
    if values["as_json"]:
        echo_json(_document(result))
    else:
        _show(result)
    if not result.agrees:
        click.echo(
            "error: the measured interval of the ONNX file misses the target by more than 3%: "
            "the machine was probably busy. Run the demo again in another --output.",
            err=True,
        )
        sys.exit(1)


def _document(result: DemoResult) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "run": str(result.folder),
        "report": str(result.folder / "report.html"),
        "target_ms": result.search.document["target_ms"],
        "predicted_ms": result.search.document["predicted_ms"],
        "files": [
            {"file": str(row.file), "runtime": row.runtime, **asdict(row.measured)}
            for row in result.rows
        ],
        "agrees": result.agrees,
        "seconds": round(result.seconds, 1),
    }


def _show(result: DemoResult) -> None:
    from rich.console import Console
    from rich.table import Table

    from proxyless_hw.units import format_duration

    # Short headings: the names of the files have to fit into 80 columns beside the figures.
    table = Table(title="T target, P predicted, M measured; ms", title_justify="left", box=None)
    table.add_column("file", no_wrap=True)
    table.add_column("runtime", no_wrap=True)
    for heading in ("T", "P", "M", "95% interval of M"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        measured = row.measured
        table.add_row(
            row.file.name,
            row.runtime,
            "-" if row.target_ms is None else f"{row.target_ms:.3f}",
            "-" if row.predicted_ms is None else f"{row.predicted_ms:.3f}",
            f"{measured.median_ms:.3f}",
            f"{measured.ci_low_ms:.3f} to {measured.ci_high_ms:.3f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"report: {result.folder / 'report.html'}   ({format_duration(result.seconds)} in all)",
        highlight=False,
    )
