"""Options and output shared by all commands: --json on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

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


def echo_json(document: dict[str, Any]) -> None:
    """Prints one object on one line of stdout; NaN and Infinity are refused by the encoder."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def log(message: str, quiet: bool = False) -> None:
    """Prints a line for people on stderr."""
    if not quiet:
        click.echo(message, err=True)
