"""The command line: parse, call one function, print. One module per command in `commands`."""

from __future__ import annotations

import signal
import sys
import threading
from typing import Any

import click

from proxyless_hw._version import __version__
from proxyless_hw.commands._lazy_group import LazyGroup
from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.terminal.notices import notices_as_lines

COMMANDS: dict[str, str] = {
    "profile": "Measure every op a search space needs on a device.",
    "validate": "Whole networks: measured against predicted.",
    "verify": "One file: does it meet its target on this machine?",
    "devices": "What can be profiled here.",
    "table": "Show, check, compare, import, merge, calibrate or transfer tables.",
    "fit": "Fit a predictor to a table and judge it.",
    "predict": "Predict the latency of a network from a table.",
    "search": "Find a network that meets a latency target.",
    "derive": "Other targets from a finished search.",
    "pareto": "The exact optimum at budgets over the feasible range.",
    "train": "Train one network.",
    "evaluate": "Accuracy of a trained network on a test set.",
    "export": "Write a network as ONNX or TFLite, checked against torch.",
    "benchmark": "Time a model file or network by the profiling protocol.",
    "report": "One HTML file that shows a run.",
    "space": "Size and ranges of search spaces.",
    "zoo": "Published networks and baselines.",
    "import-weights": "Load a checkpoint of other code into a zoo network.",
    "specialize": "From a folder of images to a verified file.",
    "demo": "The whole loop on embedded data.",
}


@click.group(
    cls=LazyGroup,
    commands_help=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
    """Entry point: runs the command line; errors become one message and exit code 1.

    SIGTERM ends a command as Ctrl-C does: temporary files and child processes are cleaned up, and
    what is kept is said.
    """
    argv = sys.argv[1:] if args is None else args
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with notices_as_lines():
            return cli.main(args=argv, prog_name="proxyless-hw")
    except ProxylessHwError as error:
        if "--debug" in argv:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
