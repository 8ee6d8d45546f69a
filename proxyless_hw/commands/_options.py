"""Options and output shared by all commands: --json on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from proxyless_hw.storage.documents import JsonObject

Function = TypeVar("Function", bound=Callable[..., Any])


def output_options(function: Function) -> Function:
    """Adds --json and --quiet, and the hidden --debug that keeps tracebacks."""
    for option in (
        click.option("--debug", is_flag=True, hidden=True, expose_value=False),
        click.option("--quiet", is_flag=True, help="No progress, no log lines."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    ):
        function = option(function)
    return function


def max_broken_option(function: Function) -> Function:
    """Adds --max-broken, for every command that reads a folder of images."""
    return click.option(
        "--max-broken",
        metavar="N|SHARE",
        callback=_number_or_share,
        help="Unreadable images of a folder to leave out: 20 or 2%; by default 1%, at least 10.",
    )(function)


def _number_or_share(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> int | float | None:
    """``5`` is a whole number (int), ``0.02`` and ``2%`` are shares (float)."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", value):
        return int(value)
    number = re.fullmatch(r"([0-9]{0,9}\.?[0-9]{1,9}(?:e-?[0-9]{1,2})?)(%?)", value)
    share = float(number[1]) / (100 if number[2] else 1) if number else math.inf
    if share > 1:
        raise click.BadParameter(
            f"a number such as 5, or a share such as 2%: received {value[:40]!r}."
        )
    return share


def kind_option(function: Function) -> Function:
    """Adds --kind, for every command that fits a predictor."""
    return click.option(
        "--kind",
        type=click.Choice(["auto", "lookup", "regression"]),
        default="auto",
        show_default=True,
        help="auto: look up what is there, regress the rest.",
    )(function)


def path_option(flag: str, help: str, metavar: str | None = None) -> Callable[[Function], Function]:
    """Adds an option that takes a path."""
    return click.option(flag, type=click.Path(path_type=Path), metavar=metavar, help=help)


def echo_json(document: JsonObject) -> None:
    """Prints one object on one line of stdout; NaN and Infinity are refused by the encoder."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def log(message: str, quiet: bool = False) -> None:
    """Prints a line for people on stderr."""
    if not quiet:
        click.echo(message, err=True)
