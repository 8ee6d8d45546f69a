"""A click group whose commands are imported when they are used, so that --help loads nothing."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from proxyless_hw.errors import InterruptedRunError, ProxylessHwError, did_you_mean


class LazyGroup(click.Group):
    """A group over modules of `proxyless_hw.commands`, each with a click command `command`.

    Args:
        commands_help: command name to one line of help, in the order in which help shows them.
        prefix: of the modules' names: `table_` and the command `show` are the module `table_show`.
        kwargs: as `click.Group`.
    """

    def __init__(
        self, *, commands_help: Mapping[str, str], prefix: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.commands_help = dict(commands_help)
        self.prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands_help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands_help:
            return None
        name = self.prefix + cmd_name.replace("-", "_")
        module = importlib.import_module(f"proxyless_hw.commands.{name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what stops any of them becomes an error of ours.

        Raises:
            InterruptedRunError: Ctrl-C or SIGTERM, where the command has nothing to say about it.
            ProxylessHwError: the system refused what no command expects to fail.
        """
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as cause:
            raise InterruptedRunError(
                "interrupted; finished files are kept, and nothing is half written."
            ) from cause
        except BrokenPipeError:
            raise  # whoever read our output has gone, which click ends quietly
        except OSError as cause:
            _drop_unprintable_output()
            raise ProxylessHwError(
                f"the system refused: {cause}. Is a disk full, or a place not writable? "
                "--debug shows where."
            ) from cause

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        unknown = args and args[0] not in self.commands_help and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:  # a shell that completes wants no message
            ctx.fail(f"no command '{args[0]}'.{did_you_mean(args[0], self.commands_help)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.commands_help.items()))


def _drop_unprintable_output() -> None:
    """Where output cannot be printed, the interpreter would fail on it once more as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
