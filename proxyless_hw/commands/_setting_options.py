"""Command-line options of settings, made from their declarations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from proxyless_hw.runs.settings import Declaration, RunSettings

Function = TypeVar("Function", bound=Callable[..., Any])


def setting_options(
    config: type[RunSettings], *, leave_out: Collection[str] = ()
) -> Callable[[Function], Function]:
    """Adds an option for each setting that has one; a value that is not given is None.

    Args:
        config: the settings.
        leave_out: settings whose option the command makes itself.
    """
    hints = get_type_hints(config)
    declared = config.declarations()
    wanted = [
        _option(item.name, hints[item.name], declared[item.name], item.default)
        for item in fields(config)
        if item.name in declared and declared[item.name].option and item.name not in leave_out
    ]

    def add(function: Function) -> Function:
        for option in reversed(wanted):
            function = option(function)
        return function

    return add


def _option(
    name: str, hint: Any, said: Declaration, default: Any
) -> Callable[[Function], Function]:
    flag = f"--{name.replace('_', '-')}"
    if hint is bool:
        words = f"{flag}/--no-{name.replace('_', '-')}" if default else flag
        more: dict[str, Any] = {} if default else {"is_flag": True}
        return click.option(words, default=None, help=said.help, **more)
    if get_origin(hint) is Literal:
        return click.option(flag, type=click.Choice(get_args(hint)), help=said.help)
    kinds = set(get_args(hint) or (hint,)) - {type(None)}
    if float in kinds:
        kind: Any = float
    elif int in kinds:
        least = said.least if said.above is None else said.above + 1
        kind = click.IntRange(
            None if least is None else int(least), None if said.most is None else int(said.most)
        )
    else:
        kind = str
    return click.option(flag, type=kind, metavar=said.metavar, help=said.help)
