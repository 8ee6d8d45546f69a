"""``table merge``: join tables of one setting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.tables.merge import Preference


@click.command()
@click.argument("tables", nargs=-1, required=True)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The new table.")
@click.option(
    "--prefer",
    type=click.Choice(["first", "mean"]),
    help="Where tables measured one op differently: keep the first table's row, or take the mean.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@output_options
def command(
    tables: tuple[str, ...],
    output: Path,
    prefer: Preference | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Join the rows of tables that were measured under one setting.

    Two different measurements of one op are an error, unless --prefer says which one counts.

    \b
    Example:
      proxyless-hw table merge tables/cpu-192.csv tables/cpu-224.csv --output tables/cpu.csv
      proxyless-hw table merge note10-160.csv note10-224.csv --prefer first --output note10.csv
    """
    from proxyless_hw.errors import TableError
    from proxyless_hw.storage.locks import exclusive_lock, lock_beside
    from proxyless_hw.tables.merge import merge
    from proxyless_hw.tables.table import LatencyTable

    if len(tables) < 2:
        raise click.UsageError("give at least two tables")
    with exclusive_lock(lock_beside(output), TableError, f"table {output}"):
        if output.exists() and not overwrite:
            raise TableError(
                f"{output} exists already. Choose another --output, or give --overwrite."
            )
        loaded = [LatencyTable.load(table) for table in tables]
        merged = merge(loaded, name=str(output), prefer=prefer)
        merged.save(output)
    classes = {table.num_classes for table in loaded}
    if len(classes) > 1:
        log(f"the tables differ in num_classes; the header keeps {merged.num_classes}", quiet)
    if as_json:
        echo_json({"output": str(output), "rows": len(merged)})
    else:
        log(f"{len(merged)} ops written to {output}", quiet)
