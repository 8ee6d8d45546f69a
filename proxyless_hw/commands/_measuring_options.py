"""Options that say what is measured, at which shape, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import click

from proxyless_hw.commands._options import Function


def resolution_option(help: str, *, repeatable: bool = False) -> Callable[[Function], Function]:
    """Adds --resolution; as `resolutions` where it may be repeated."""
    kind = click.IntRange(1, 8192)
    if repeatable:
        return click.option("--resolution", "resolutions", multiple=True, type=kind, help=help)
    return click.option("--resolution", type=kind, help=help)


def num_classes_option(help: str) -> Callable[[Function], Function]:
    """Adds --num-classes."""
    return click.option("--num-classes", type=click.IntRange(1, 65536), help=help)


def space_option(function: Function) -> Function:
    """Adds --space, for every command that measures a search space or networks of one."""
    return click.option(
        "--space", default="imagenet", show_default=True, help="Shipped name or YAML file."
    )(function)


def budget_option(help: str) -> Callable[[Function], Function]:
    """Adds --budget, the time for measuring in seconds."""
    return click.option("--budget", type=float, metavar="SECONDS", help=help)


def timing_options(what: str, budget: str, goal: float = 0.01) -> Callable[[Function], Function]:
    """Adds --budget and --goal.

    Args:
        what: what is measured, for the help of --goal: ``a network``.
        budget: help text of --budget.
        goal: default of --goal.
    """
    text = f"Half-width of the 95% interval, as a fraction, at which {what} is done."

    def add(function: Function) -> Function:
        function = click.option("--goal", default=goal, show_default=True, help=text)(function)
        return budget_option(budget)(function)

    return add
