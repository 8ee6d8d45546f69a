"""``proxyless-hw pareto``: the exact optimum at budgets over the feasible range."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, output_options


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--points", default=50, show_default=True, type=click.IntRange(2, 1000))
@click.option("--table", metavar="CSV", help="Price with another table than the search's own.")
@output_options
def command(run: Path, points: int, table: str | None, as_json: bool, quiet: bool) -> None:
    """List the most probable network within each budget over the feasible range.

    \b
    Example:
      proxyless-hw pareto runs/demo
    """  # fmt: skip
    from proxyless_hw.search.finished import pareto

    front = pareto(run, points=points, table=table, quiet=quiet)
    if as_json:
        echo_json({"points": [point.to_json(front.unit) for point in front]})
        return
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=f"{front.space} on {front.name}")
    for heading in (f"budget {front.unit}", f"predicted {front.unit}", "log p"):
        shown.add_column(heading, justify="right")
    for point in front:
        shown.add_row(
            f"{point.budget:.3f}",
            f"{point.cost:.3f}",
            f"{point.derived.log_probability:.2f}",
        )
    Console().print(shown)
