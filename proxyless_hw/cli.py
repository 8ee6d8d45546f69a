"""The command line: parse, call one function, print. One module per command in `commands`."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from proxyless_hw._version import __version__
from proxyless_hw.errors import ProxylessHwError, did_you_mean

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module in proxyless_hw.commands, one line of help)
    "profile": ("profile", "Measure every op a search space needs on a device."),
    "validate": ("validate", "Whole networks: measured against predicted."),
    "devices": ("devices", "What can be profiled here."),
    "table": ("table", "Show, check, compare, import, merge, calibrate or transfer tables."),
    "fit": ("fit", "Fit a predictor to a table and judge it."),
    "predict": ("predict", "Predict the latency of a network from a table."),
    "search": ("search", "Find a network that meets a latency target."),
    "derive": ("derive", "Other targets from a finished search."),
    "pareto": ("pareto", "The exact optimum at budgets over the feasible range."),
    "train": ("train", "Train one network."),
    "evaluate": ("evaluate", "Accuracy of a trained network on a test set."),
    "export": ("export", "Write a network as ONNX or TFLite, checked against torch."),
    "benchmark": ("benchmark", "Time a model file or network by the profiling protocol."),
    "report": ("report", "One HTML file that shows a run."),
    "zoo": ("zoo", "Published networks and baselines."),
    "import-weights": ("import_weights", "Load a published checkpoint into a zoo network."),
    "demo": ("demo", "The whole loop on embedded data."),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that --help needs no torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"proxyless_hw.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}'.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="proxyless-hw")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Profile ops on your hardware, search a network for a latency target, verify it there.

    \b
    Example:
      proxyless-hw profile --device cpu --output tables/cpu.csv
      proxyless-hw search --table tables/cpu.csv --target-ms 8 --verify
    """


def main(args: list[str] | None = None) -> Any:
    """Entry point: runs the command line; errors become one message and exit code 1."""
    argv = sys.argv[1:] if args is None else args
    try:
        return cli.main(args=argv, prog_name="proxyless-hw")
    except ProxylessHwError as error:
        if "--debug" in argv:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
