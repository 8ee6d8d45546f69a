"""``proxyless-hw demo``: the whole loop on embedded data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._device_options import progress_bar
from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.storage.documents import JsonObject

if TYPE_CHECKING:
    from proxyless_hw.pipeline.demo import DemoResult


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
def command(output: Path, seed: int, as_json: bool, quiet: bool) -> None:
    """Profile this CPU, search, export ONNX and TFLite, measure both, write a report.

    \b
    Example:
      proxyless-hw demo
    """  # fmt: skip
    from proxyless_hw.pipeline.demo import run_demo
    from proxyless_hw.pipeline.stages import Talk

    talk = Talk(
        say=lambda message: log(message, quiet),
        show_progress=lambda title: progress_bar(title, quiet),
        quiet=quiet,
    )
    result = run_demo(output, seed, talk)
    if as_json:
        echo_json(_document(result))
    else:
        _show(result)


def _document(result: DemoResult) -> JsonObject:
    return {
        "run": str(result.folder),
        "report": str(result.folder / "report.html"),
        **result.onnx.to_json(),
        "files": [
            {"runtime": "ONNX Runtime", **result.onnx.measured.to_json()},
            {"runtime": "LiteRT", **result.tflite.to_json()},
        ],
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
    value, low, high = result.onnx.decisive
    table.add_row(
        Path(result.onnx.name).name,
        "ONNX Runtime",
        f"{result.onnx.target:.3f}",
        f"{result.onnx.predicted:.3f}",
        f"{value:.3f}",
        f"{low:.3f} to {high:.3f}",
    )
    other = result.tflite
    table.add_row(
        Path(other.name).name,
        "LiteRT",
        "-",
        "-",
        f"{other.median:.3f}",
        f"{other.ci_low:.3f} to {other.ci_high:.3f}",
    )
    console = Console()
    console.print(table)
    console.print(result.onnx.sentence(), highlight=False)
    verification = result.search.verification
    if verification is not None and verification.failure:
        console.print(f"In the search: {verification.failure}", highlight=False)
    console.print(
        f"report: {result.folder / 'report.html'}   ({format_duration(result.seconds)} in all)",
        highlight=False,
    )
