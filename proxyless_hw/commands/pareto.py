"""``proxyless-hw pareto``: the exact optimum at budgets over the feasible range."""

from __future__ import annotations

from pathlib import Path

import click

from proxyless_hw.commands._options import echo_json, output_options
from proxyless_hw.terminal.progress import phase


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
    from proxyless_hw.search.rederive import front, open_search

    with phase(f"deriving at {points} budgets", quiet):
        searched = open_search(run, table)
        found = front(searched, points)
    if as_json:
        echo_json({"points": found})
        return
    from rich.console import Console
    from rich.table import Table

    costs = searched.problem.constraints[0].costs
    shown = Table(title=f"{searched.problem.space.id} on {costs.name}")
    for heading in (f"budget {costs.unit}", f"predicted {costs.unit}", "log p"):
        shown.add_column(heading, justify="right")
    for point in found:
        shown.add_row(
            f"{point['budget']:.3f}",
            f"{point['value']:.3f}",
            f"{point['log_probability']:.2f}",
        )
    Console().print(shown)
