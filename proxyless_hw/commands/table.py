"""``table``: the group of commands that read, compare, combine and make latency tables."""

from __future__ import annotations

import click

from proxyless_hw.commands._lazy_group import LazyGroup

TABLE_COMMANDS: dict[str, str] = {
    "show": "The rows of a table and how good it is.",
    "check": "Whether a table holds every op of a search space.",
    "diff": "Which ops differ between two tables, beyond their noise.",
    "merge": "Join tables of one setting.",
    "plot": "Draw latency by shape, kernel and expansion.",
    "import": "Read a table of another tool, or the logs of a bundle.",
    "calibrate": "Fit whole-network calibration to a table.",
    "transfer": "Predict a new device's table from a known one and probes.",
    "probes": "The few ops to measure first on a new device.",
}


@click.group(cls=LazyGroup, commands_help=TABLE_COMMANDS, prefix="table_")
def command() -> None:
    """Show, check, compare, import, merge, calibrate or transfer tables.

    \b
    Example:
      proxyless-hw table show pixel1
      proxyless-hw table check tables/cpu.csv --space imagenet
    """
