"""``proxyless-hw search``: find a network that meets a latency target."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._measuring_options import resolution_option
from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.commands._setting_options import RunOptions, run_options
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.units import figure_key

if TYPE_CHECKING:
    from proxyless_hw.search.result import SearchResult


@click.command()
@run_options(
    SearchConfig,
    presets="short (default): minutes on a CPU. published: the paper's ImageNet schedule.",
    output="Run folder; runs/NAME by default.",
    leave_out=("resolution", "constraints"),
)
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"{SearchConfig.declarations()['constraints'].help} Repeatable.",
)
@resolution_option(
    "Deployment; the table's own. Several: one search at each, and the best network wins.",
    repeatable=True,
)
@click.option(
    "--all-resolutions", is_flag=True, help="A search at each resolution that the table holds."
)
@click.option("--report/--no-report", default=True, help="Write report.html into the run folder.")
@output_options
def command(
    run: RunOptions,
    constraints: tuple[str, ...],
    resolutions: tuple[int, ...],
    all_resolutions: bool,
    report: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Search a network that meets a latency target, directly on your task.

    \b
    Example:
      proxyless-hw search --table tables/pixel1.csv
      proxyless-hw search --table tables/cpu.csv --target-ms 8 --data fashion-mnist --verify
    """  # fmt: skip
    from proxyless_hw.search.driver import run_search
    from proxyless_hw.search.observer import TerminalObserver

    config = _configuration(run, constraints, resolutions)
    observer = None if quiet else TerminalObserver
    if all_resolutions or len(set(resolutions)) > 1:
        from proxyless_hw.search.outer import search_resolutions

        result = search_resolutions(config, resolutions, observer)
    else:
        result = run_search(config, observer)
    if not result.document:
        return  # a torchrun process other than the first: the first one prints
    if report:
        from proxyless_hw.report.report import write_report

        write_report([result.folder], None)
    if as_json:
        echo_json({**result.document, "run": str(result.folder)})
    log(summary(result), quiet)
    if result.verdict not in (None, "agrees"):
        from proxyless_hw.search.verify import disagreement

        word = "error" if result.verdict == "missed" else "warning"
        click.echo(f"{word}: {disagreement(result.document['verify'])}", err=True)
        sys.exit(1 if result.verdict == "missed" else 0)


def _configuration(
    run: RunOptions, constraints: tuple[str, ...], resolutions: tuple[int, ...]
) -> SearchConfig:
    from proxyless_hw.search.run_folder import SearchFolder

    settings = run.settings(SearchConfig, SearchFolder)
    if constraints:
        settings["constraints"] = constraints
    if len(set(resolutions)) == 1:
        settings["resolution"] = resolutions[0]
    if run.given.get("verify"):
        _check_device(str(settings.get("table", SearchConfig.table)))
    return SearchConfig.of(settings, run.preset)


def _check_device(table: str) -> None:
    from proxyless_hw.search.measurable import check_device_is_here
    from proxyless_hw.tables.table import LatencyTable

    check_device_is_here(LatencyTable.load(table))


def summary(result: SearchResult) -> str:
    """The result in a few lines for people."""
    document = result.document
    unit = document.get("unit", "ms")
    target, predicted, expected = (
        document[figure_key(document, name)] for name in ("target", "predicted", "expected")
    )
    low, high = document[figure_key(document, "predicted_interval")]
    lines = [
        f"found: {result.folder / 'architecture.json'}",
        f"target {target:.4g} {unit}, predicted {predicted:.4g} {unit} "
        f"({low:.4g} to {high:.4g}), expectation at the end {expected:.4g} {unit}",
    ]
    lines += [_resolution_line(row) for row in document.get("resolutions", ())]
    measured = document[figure_key(document, "measured")]
    if measured is not None:
        low, high = document[figure_key(document, "measured_interval")]
        lines.append(f"measured {measured:.4g} {unit} ({low:.4g} to {high:.4g})")
    lines += [
        f"accuracy with the supernet's weights {document['accuracy']:.1%} (test), not yet trained",
        f"Next: proxyless-hw train {result.folder} --output {result.folder}/train, or "
        f"proxyless-hw export {result.folder} --format onnx --output net.onnx",
    ]
    return "\n".join(lines)


def _resolution_line(row: dict[str, Any]) -> str:
    """One resolution of an outer choice."""
    if "infeasible" in row:
        return f"  at {row['resolution']} px: {row['infeasible']}"
    return (
        f"  at {row['resolution']} px: predicted {row[figure_key(row, 'predicted')]:.4g} "
        f"{row.get('unit', 'ms')}, held-out accuracy "
        f"{row['supernet_accuracy']:.1%} at {row['train_resolution']} px"
    )
