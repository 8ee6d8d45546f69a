"""``proxyless-hw pareto``: the exact optimum at budgets over the feasible range."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyless_hw.commands._options import echo_json, output_options
from proxyless_hw.terminal.progress import phase


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--points", default=50, show_default=True, type=click.IntRange(2, 1000))
@click.option("--table", metavar="CSV", help="Price with another table than the search's own.")
@output_options
def command(**values: Any) -> None:
    """List the most probable network within each budget over the feasible range.

    \b
    Example:
      proxyless-hw pareto runs/demo
    """  # fmt: skip
    from proxyless_hw.search.rederive import front, open_search

    with phase(f"deriving at {values['points']} budgets", values["quiet"]):
        searched = open_search(values["run"], values["table"])
        points = front(searched, values["points"])
    if values["as_json"]:
        echo_json({"points": points})
        return
    from rich.console import Console
    from rich.table import Table

    costs = searched.problem.constraints[0].costs
    table = Table(title=f"{searched.problem.space.id} on {costs.name}")
    for heading in (f"budget {costs.unit}", f"predicted {costs.unit}", "log p"):
        table.add_column(heading, justify="right")
    for point in points:
        table.add_row(
            f"{point['budget']:.3f}",
            f"{point['value']:.3f}",
            f"{point['log_probability']:.2f}",
        )
    Console().print(table)
