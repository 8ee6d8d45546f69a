"""``proxyless-hw search``: find a network that meets a latency target."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._measuring_options import resolution_option
from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.commands._setting_options import RunOptions, run_options
from proxyless_hw.search.config import SearchConfig

if TYPE_CHECKING:
    from proxyless_hw.search.result import SearchResult
    from proxyless_hw.search.result_rows import ResolutionResult


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
        from proxyless_hw.search.resolutions import search_resolutions

        result: SearchResult | None = search_resolutions(config, resolutions, observer)
    else:
        result = run_search(config, observer)
    if result is None:
        return  # a torchrun process other than the first: the first one prints
    if report:
        from proxyless_hw.report.report import write_report

        write_report([result.folder], None)
    if as_json:
        echo_json({**result.to_json(), "run": str(result.folder)})
    log(summary(result), quiet)
    if result.verification is not None and result.verdict in ("undecided", "missed"):
        word = "error" if result.verdict == "missed" else "warning"
        click.echo(f"{word}: {result.verification.explanation}", err=True)
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
    unit = result.unit
    interval = ""
    if result.predicted_interval is not None:
        interval = " ({:.4g} to {:.4g})".format(*result.predicted_interval)
    expected = "unknown" if result.expected is None else f"{result.expected:.4g} {unit}"
    lines = [
        f"found: {result.folder / 'architecture.json'}",
        f"target {result.target:.4g} {unit}, predicted {result.predicted:.4g} {unit}"
        f"{interval}, expectation at the end {expected}",
    ]
    if result.footprint is not None:
        lines.append(f"{result.footprint.sentence()} (weights; peak of the activations)")
    lines += [_resolution_line(row) for row in result.resolutions]
    if result.measured is not None and result.measured_interval is not None:
        low, high = result.measured_interval
        lines.append(f"measured {result.measured:.4g} {unit} ({low:.4g} to {high:.4g})")
    if result.accuracy is not None:
        lines.append(
            f"accuracy with the supernet's weights {result.accuracy:.1%} (test), not yet trained"
        )
    lines += [
        f"Next: proxyless-hw train {result.folder} --output {result.folder}/train, or "
        f"proxyless-hw export {result.folder} --format onnx --output net.onnx",
    ]
    return "\n".join(lines)


def _resolution_line(row: ResolutionResult) -> str:
    """One of the resolutions that competed."""
    if row.infeasible is not None:
        return f"  at {row.resolution} px: {row.infeasible}"
    return (
        f"  at {row.resolution} px: predicted {row.predicted:.4g} {row.unit}, held-out accuracy "
        f"{row.supernet_accuracy:.1%} at {row.train_resolution} px"
    )
