"""``table check``: whether a table holds every op of a search space."""

from __future__ import annotations

import sys

import click

from proxyless_hw.commands._options import echo_json, log, output_options


@click.command()
@click.argument("table")
@click.option("--space", default="imagenet", show_default=True, help="Shipped name or YAML file.")
@click.option(
    "--resolution",
    "resolutions",
    type=click.IntRange(1, 8192),
    multiple=True,
    help="Input resolution, repeatable. Default: the table's own.",
)
@click.option("--num-classes", type=click.IntRange(1), help="Default: the table's own.")
@output_options
def command(
    table: str,
    space: str,
    resolutions: tuple[int, ...],
    num_classes: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check that a table can price every op of a search space.

    Exit code 1, and the missing ops on stderr, when it cannot.

    \b
    Example:
      proxyless-hw table check tables/cpu.csv --space imagenet --resolution 224
    """
    from proxyless_hw.space.search_space import SearchSpace
    from proxyless_hw.tables.check import missing_ops, pricing_shape
    from proxyless_hw.tables.missing import missing_message
    from proxyless_hw.tables.table import LatencyTable

    loaded = LatencyTable.load(table)
    wanted = SearchSpace.load(space)
    sizes, classes = pricing_shape(loaded, wanted, resolutions, num_classes)
    missing = missing_ops(loaded, wanted, sizes, classes)
    if as_json:
        echo_json(
            {
                "complete": not missing,
                "missing": [op.key for op in missing],
                "space": wanted.id,
                "resolutions": list(sizes),
                "num_classes": classes,
            }
        )
    if missing:
        log(missing_message(missing, loaded.name))
        sys.exit(1)
    if not as_json and not quiet:
        click.echo(
            f"'{loaded.name}' holds every op of space '{wanted.id}' at "
            f"{', '.join(map(str, sizes))} pixels with {classes} classes."
        )
