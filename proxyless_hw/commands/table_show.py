"""``table show``: the rows of a table and how good it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, output_options

if TYPE_CHECKING:
    from proxyless_hw.tables.summary import TableSummary
    from proxyless_hw.tables.table import LatencyTable


@click.command()
@click.argument("table")
@click.option("--op", "op_name", help="Only rows of this op (conv, mbconv, classifier, ...).")
@click.option("--by-value", is_flag=True, help="Largest value first, not in the file's order.")
@output_options
def command(table: str, op_name: str | None, by_value: bool, as_json: bool, quiet: bool) -> None:
    """Show a table: its setting, its quality, its rows.

    TABLE is a path, or the name of a shipped table.

    \b
    Example:
      proxyless-hw table show pixel1
      proxyless-hw table show tables/cpu.csv --op mbconv --by-value
    """
    from proxyless_hw.errors import TableError, did_you_mean
    from proxyless_hw.tables.summary import summarise
    from proxyless_hw.tables.table import LatencyTable

    loaded = LatencyTable.load(table)
    summary = summarise(loaded)
    names = {op.op for op in loaded.entries}
    if op_name is not None and op_name not in names:
        raise TableError(
            f"'{loaded.name}' has no rows of op '{op_name[:60]}'.{did_you_mean(op_name, names)} "
            f"It has: {', '.join(sorted(names))}."
        )
    rows = [item for item in loaded.entries.items() if op_name in (None, item[0].op)]
    if by_value:
        rows.sort(key=lambda item: -item[1].value)
    shown = LatencyTable(dict(rows), loaded.metadata, loaded.name)
    if as_json:
        echo_json(
            {
                "name": loaded.name,
                "metadata": dict(loaded.metadata),
                "quality": asdict(summary),
                "resolutions": list(loaded.resolutions),
                "entries": [{"key": op.key, **asdict(entry)} for op, entry in rows],
            }
        )
    else:
        _print(shown, summary, with_header=not quiet)


def _print(table: LatencyTable, summary: TableSummary, with_header: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        # Rows stay on one line for grep and files.
        console = Console(width=160)
    if with_header:
        for key, value in table.metadata.items():
            console.print(f"[bold]{escape(key)}[/]: {escape(value)}", highlight=False)
        console.print(f"[bold]quality[/]: {quality_text(summary)}", highlight=False)
    grid = Table("op", box=None, pad_edge=False)
    for title in (table.unit, "95% interval", "±", "p90", "min", "rounds"):
        grid.add_column(title, justify="right")
    for op, entry in table.entries.items():
        interval = "" if entry.ci_low is None else f"{entry.ci_low:.4g} to {entry.ci_high or 0:.4g}"
        grid.add_row(
            escape(str(op)),
            f"{entry.value:.4g}",
            interval,
            "" if entry.half_width is None else f"{entry.half_width:.1%}",
            "" if entry.p90 is None else f"{entry.p90:.4g}",
            "" if entry.min is None else f"{entry.min:.4g}",
            "" if entry.rounds is None else str(entry.rounds),
        )
    console.print(grid)


def quality_text(summary: TableSummary) -> str:
    """The summary in one line for people."""
    parts = [f"{summary.rows} ops"]
    if summary.median_half_width is None or summary.p90_half_width is None:
        parts.append("no intervals")
    else:
        if summary.with_interval < summary.rows:
            parts.append(f"{summary.with_interval} with an interval")
        parts.append(f"half-width median {summary.median_half_width:.2%}")
        parts.append(f"nine in ten at most {summary.p90_half_width:.2%}")
        parts.append(f"{summary.within_2:.0%} within 2%")
    if summary.least_rounds is not None:
        parts.append(f"{summary.least_rounds} to {summary.most_rounds} rounds")
    return ", ".join(parts)
