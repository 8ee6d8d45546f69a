"""``space``: the group of commands about search spaces."""

from __future__ import annotations

import click

from proxyless_hw.commands._lazy_group import LazyGroup

SPACE_COMMANDS: dict[str, str] = {
    "list": "Size and ranges of search spaces.",
}


@click.group(cls=LazyGroup, commands_help=SPACE_COMMANDS, prefix="space_")
def command() -> None:
    """Search spaces, shipped ones and your own.

    \b
    Example:
      proxyless-hw space list
    """
