"""``proxyless-hw search``: find a network that meets a latency target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._options import echo_json, log, max_broken_option, output_options
from proxyless_hw.commands._setting_options import setting_options
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.units import figure_key

if TYPE_CHECKING:
    from proxyless_hw.search.result import SearchResult

# Options that are not settings of the search itself.
_COMMAND_ONLY = frozenset(
    ("preset", "config_file", "as_json", "quiet", "report", "resolutions", "all_resolutions")
)


@click.command()
@setting_options(SearchConfig, leave_out=("resolution", "output"))
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="NAME=VALUE",
    help=f"{SearchConfig.declarations()['constraints'].help} Repeatable.",
)
@click.option(
    "--resolution",
    "resolutions",
    multiple=True,
    type=click.IntRange(1, 8192),
    help="Deployment; the table's own. Several: one search at each, and the best network wins.",
)
@click.option(
    "--all-resolutions", is_flag=True, help="A search at each resolution that the table holds."
)
@max_broken_option
@click.option(
    "--preset",
    type=click.Choice(["short", "published"]),
    help="short (default): minutes on a CPU. published: the paper's ImageNet schedule.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file of settings; options given here override it.",
)
@click.option("--output", metavar="DIR", help="Run folder; runs/NAME by default.")
@click.option("--report/--no-report", default=True, help="Write report.html into the run folder.")
@output_options
def command(**values: Any) -> None:
    """Search a network that meets a latency target, directly on your task.

    \b
    Example:
      proxyless-hw search --table tables/pixel1.csv
      proxyless-hw search --table tables/cpu.csv --target-ms 8 --data fashion-mnist --verify
    """  # fmt: skip
    from proxyless_hw.search.driver import run_search
    from proxyless_hw.search.observer import TerminalObserver

    config = _configuration(values)
    observer = None if values["quiet"] else TerminalObserver
    if values["all_resolutions"] or len(set(values["resolutions"])) > 1:
        from proxyless_hw.search.outer import search_resolutions

        result = search_resolutions(config, values["resolutions"], observer)
    else:
        result = run_search(config, observer)
    if not result.document:
        return  # a torchrun process other than the first: the first one prints
    if values["report"]:
        from proxyless_hw.report.report import write_report

        write_report([result.folder], None)
    if values["as_json"]:
        echo_json({**result.document, "run": str(result.folder)})
    log(summary(result), values["quiet"])
    if result.verdict not in (None, "agrees"):
        from proxyless_hw.search.verify import disagreement

        word = "error" if result.verdict == "missed" else "warning"
        click.echo(f"{word}: {disagreement(result.document['verify'])}", err=True)
        sys.exit(1 if result.verdict == "missed" else 0)


def _configuration(values: dict[str, Any]) -> SearchConfig:
    """The one place where options become a configuration: preset, file, run, options, in turn."""
    from proxyless_hw.search.run_folder import SearchFolder

    settings: dict[str, Any] = {}
    if values["config_file"] is not None:
        settings.update(SearchConfig.read(values["config_file"]))
    if values["resume"] and values["output"] is not None:
        folder = SearchFolder(Path(values["output"]))
        if folder.config.exists():
            settings.update(folder.read_json(folder.config).get("settings", {}))
    for key, value in values.items():
        if key not in _COMMAND_ONLY and value is not None and value != ():
            settings[key] = value
    if len(set(values["resolutions"])) == 1:
        settings["resolution"] = values["resolutions"][0]
    if values["verify"]:
        _check_device(settings)
    return SearchConfig.of(settings, values["preset"])


def _check_device(settings: dict[str, Any]) -> None:
    from proxyless_hw.search.measurable import check_device_is_here
    from proxyless_hw.tables.table import LatencyTable

    check_device_is_here(LatencyTable.load(settings.get("table", SearchConfig.table)))


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
