"""``space list``: size and ranges of search spaces."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._measuring_options import num_classes_option, resolution_option
from proxyless_hw.commands._options import echo_json, output_options
from proxyless_hw.units import format_bytes, format_count, format_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxyless_hw.predictors.space_ranges import SpaceRanges, TableRange


@click.command()
@click.argument("spaces", nargs=-1)
@click.option("--table", help="Adds the range of the cost that this table predicts.")
@resolution_option("Input resolution; by default the table's, else each space's own.")
@num_classes_option("Number of classes; by default the table's, else each space's own.")
@output_options
def command(
    spaces: tuple[str, ...],
    table: str | None,
    resolution: int | None,
    num_classes: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Size and ranges of search spaces: slots, networks, MACs, parameters, memory.

    SPACES are shipped names or YAML files; by default all shipped spaces.

    \b
    Example:
      proxyless-hw space list
      proxyless-hw space list imagenet imagenet-w1.2 --table pixel1
    """
    from proxyless_hw.predictors.space_ranges import space_ranges
    from proxyless_hw.space.search_space import shipped_spaces

    rows = [
        space_ranges(name, table, resolution=resolution, num_classes=num_classes)
        for name in spaces or sorted(shipped_spaces())
    ]
    if as_json:
        echo_json({"spaces": [row.to_json() for row in rows]})
    elif not quiet:
        _print(rows)


def _print(rows: list[SpaceRanges]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    # Rows stay on one line for grep and files.
    console = console if console.is_terminal else Console(width=160)
    grid = Table("space", box=None, pad_edge=False)
    titles = ["slots", "candidates", "ops", "networks", "at", "MACs", "parameters", "memory fp32"]
    priced = next((row.cost for row in rows if row.cost is not None), None)
    titles += [f"{priced.unit} by {priced.table}"] if priced is not None else []
    for title in (*titles, "resolutions"):
        grid.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        cells = [str(row.slots), str(row.candidates), str(row.ops)]
        cells += [f"10^{math.log10(row.networks):.1f}", str(row.resolution)]
        cells += [_between(row.macs, format_count), _between(row.parameters, format_count)]
        cells += ["" if row.memory is None else _between(row.memory, format_bytes)]
        cells += [_cost(row.cost)] if row.cost is not None else []
        grid.add_row(row.name, *cells, _resolutions(row.resolutions))
    console.print(grid)


def _between(bounds: tuple[float, float], text: Callable[[float], str]) -> str:
    low, high = (text(bound) for bound in bounds)
    return low if low == high else f"{low} to {high}"


def _resolutions(sizes: tuple[int, ...]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} ({len(sizes)})"


def _cost(cost: TableRange) -> str:
    if cost.range is None:
        return f"{cost.missing} ops missing"
    return _between(cost.range, lambda value: format_value(value, cost.unit))
