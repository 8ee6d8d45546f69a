"""``table diff``: which ops differ between two tables, beyond their noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, log, output_options

if TYPE_CHECKING:
    from proxyless_hw.tables.diff import TableDiff


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--force", is_flag=True, help="Compare although the settings differ.")
@click.option(
    "--speed",
    default="raw",
    show_default=True,
    type=click.Choice(["raw", "table"]),
    help="table: the second table's values at the speed that the machine had for the first.",
)
@click.option("--all", "show_all", is_flag=True, help="Also the ops that did not change.")
@output_options
def command(
    before: str, after: str, force: bool, speed: str, show_all: bool, as_json: bool, quiet: bool
) -> None:
    """Compare two tables op by op; a change counts when it exceeds both intervals' noise.

    \b
    Example:
      proxyless-hw table diff tables/cpu-monday.csv tables/cpu-friday.csv
      proxyless-hw table diff tables/cpu-monday.csv tables/cpu-friday.csv --speed table
      proxyless-hw table diff pixel1 note10 --force
    """
    from proxyless_hw.tables.diff import compare, settings_text
    from proxyless_hw.tables.table import LatencyTable

    first, second = LatencyTable.load(before), LatencyTable.load(after)
    diff = compare(first, second, force=force, at_table_speed=speed == "table")
    if diff.settings:
        log(f"the settings differ: {settings_text(diff.settings)}", quiet)
    if as_json:
        echo_json(
            {
                "compared": len(diff.changes),
                "median_absolute_change": diff.median_absolute_change,
                "settings": {key: list(texts) for key, texts in diff.settings.items()},
                "machine_speed": diff.machine_speed,
                "only_before": [op.key for op in diff.only_before],
                "only_after": [op.key for op in diff.only_after],
                "changes": [
                    {
                        "key": change.op.key,
                        "before": change.before,
                        "after": change.after,
                        "change": change.change,
                        "p_value": change.p_value,
                        "verdict": change.verdict,
                    }
                    for change in diff.changes
                ],
            }
        )
    else:
        _print(diff, first.unit, show_all)


def _print(diff: TableDiff, unit: str, show_all: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    rows = [change for change in diff.changes if show_all or change.verdict != "same"]
    if rows:
        grid = Table("op", box=None, pad_edge=False)
        for title in (f"before ({unit})", f"after ({unit})", "change", "p", "verdict"):
            grid.add_column(title, justify="right")
        for change in sorted(rows, key=lambda change: -abs(change.change)):
            grid.add_row(
                escape(str(change.op)),
                f"{change.before:.4g}",
                f"{change.after:.4g}",
                f"{change.change:+.1%}",
                "" if change.p_value is None else f"{change.p_value:.2g}",
                change.verdict,
            )
        console.print(grid)
    counts = {
        verdict: sum(change.verdict == verdict for change in diff.changes)
        for verdict in ("higher", "lower", "same", "unknown")
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(
        f"{len(diff.changes)} ops in both: {told}; median |change| "
        f"{diff.median_absolute_change or 0:.2%}",
        highlight=False,
    )
    if diff.machine_speed is not None:
        console.print(
            f"at the speed of the first table; for the second the machine ran at "
            f"{diff.machine_speed:.3f} of it",
            highlight=False,
        )
    for ops, side in ((diff.only_before, "first"), (diff.only_after, "second")):
        if ops:
            console.print(f"only in the {side}: {len(ops)} ops", highlight=False)
