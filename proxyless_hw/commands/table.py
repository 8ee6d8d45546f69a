"""``table``: the group of commands that read, compare, combine and make latency tables."""

from __future__ import annotations

import click

from proxyless_hw.commands._lazy_group import LazyGroup

TABLE_COMMANDS: dict[str, tuple[str, str]] = {
    "show": ("table_show", "The rows of a table and how good it is."),
    "check": ("table_check", "Whether a table holds every op of a search space."),
    "diff": ("table_diff", "Which ops differ between two tables, beyond their noise."),
    "merge": ("table_merge", "Join tables of one setting."),
    "plot": ("table_plot", "Draw latency by shape, kernel and expansion."),
    "import": ("table_import", "Read a table of another tool, or the logs of a bundle."),
    "calibrate": ("table_calibrate", "Fit whole-network calibration to a table."),
    "transfer": ("table_transfer", "Predict a new device's table from a known one and probes."),
    "probes": ("table_probes", "The few ops to measure first on a new device."),
}


@click.group(cls=LazyGroup, modules=TABLE_COMMANDS)
def command() -> None:
    """Show, check, compare, import, merge, calibrate or transfer tables.

    \b
    Example:
      proxyless-hw table show pixel1
      proxyless-hw table check tables/cpu.csv --space imagenet
    """
