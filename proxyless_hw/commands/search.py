"""``proxyless-hw search``: find a network that meets a latency target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._options import echo_json, log, max_broken_option, output_options
from proxyless_hw.units import figure_key

if TYPE_CHECKING:
    from proxyless_hw.search.result import SearchResult

# Options that are not settings of the search itself.
_COMMAND_ONLY = frozenset(
    ("preset", "config_file", "as_json", "quiet", "report", "resolutions", "all_resolutions")
)


@click.command()
@click.option("--table", metavar="CSV", help="Latency table: a path or a shipped name.")
@click.option("--space", metavar="SPACE", help="Search space: shipped name or YAML file.")
@click.option(
    "--target-ms", type=float, help="Latency target; the middle of what is reachable by default."
)
@click.option(
    "--target", type=float, help="The target in the table's unit, as mJ for a table of energy."
)
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further limit: another table (pixel1=80), macs=320M or parameters=4M. Repeatable.",
)
@click.option(
    "--predictor",
    type=click.Choice(["lookup", "auto", "regression"]),
    help="How the table prices ops: exactly, exactly where it can, or by regression alone.",
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
@click.option("--num-classes", type=click.IntRange(1, 65536), help="Deployment; the table's own.")
@click.option("--data", metavar="NAME", help="digits, mnist, fashion-mnist, cifar10, folder, ...")
@click.option("--data-root", metavar="DIR", help="Folder of the data set, where it needs one.")
@click.option("--limit", type=click.IntRange(1), help="At most so many training images.")
@click.option("--train-resolution", type=click.IntRange(8, 1024), help="Training resolution.")
@click.option("--batch-size", type=click.IntRange(1), help="Images per step.")
@click.option("--holdout", type=float, help="Share of the training set that moves alpha.")
@click.option("--workers", type=click.IntRange(0), help="Data-loading processes.")
@max_broken_option
@click.option("--algorithm", type=click.Choice(["gradient", "reinforce", "darts"]))
@click.option("--gradient-mode", type=click.Choice(["full", "two-path"]))
@click.option("--objective", type=click.Choice(["constraint", "mul-log", "add-linear", "none"]))
@click.option(
    "--reward", type=click.Choice(["constraint", "mnas", "absolute"]), help="REINFORCE's reward."
)
@click.option("--warmup-epochs", type=click.IntRange(0), help="Epochs of uniform sampling.")
@click.option("--epochs", type=click.IntRange(1), help="Epochs after warm-up.")
@click.option("--lr", type=float, help="Peak weight learning rate after warm-up.")
@click.option("--warmup-lr", type=float, help="Peak weight learning rate in warm-up.")
@click.option("--alpha-lr", type=float, help="Adam's learning rate for alpha.")
@click.option("--alpha-every", type=click.IntRange(1), help="Weight steps per alpha update.")
@click.option("--rho", type=float, help="Weight of the constraint's quadratic penalty.")
@click.option("--eta", type=float, help="Step of the constraint's multiplier.")
@click.option("--finalists", type=click.IntRange(1), help="Derived networks that are ranked.")
@click.option("--device", metavar="DEVICE", help="Where the supernet trains: cpu, cuda, mps, auto.")
@click.option("--autocast", type=click.Choice(["none", "bf16", "fp16"]))
@click.option("--threads", type=click.IntRange(1), help="torch threads.")
@click.option("--seed", type=click.IntRange(0))
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
@click.option("--resume", is_flag=True, default=None, help="Go on with an interrupted run.")
@click.option(
    "--verify",
    is_flag=True,
    default=None,
    help="Measure the found network on the table's device; exit 1 when it misses the target.",
)
@click.option(
    "--verify-budget",
    type=click.FloatRange(1, min_open=False),
    metavar="SECONDS",
    help="Time for --verify in all, a calibration included: 150 by default.",
)
@click.option(
    "--force", is_flag=True, default=None, help="Search with a table that is too poor all the same."
)
@click.option("--tensorboard", is_flag=True, default=None, help="Also write TensorBoard events.")
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


def _configuration(values: dict[str, Any]) -> Any:
    """The one place where options become a configuration: preset, file, run, options, in turn."""
    from proxyless_hw.search.config import config_from, read_config
    from proxyless_hw.search.run_folder import RunFolder

    settings: dict[str, Any] = {}
    if values["config_file"] is not None:
        settings.update(read_config(values["config_file"]))
    if values["resume"] and values["output"] is not None:
        folder = RunFolder(Path(values["output"]))
        if folder.config.exists():
            settings.update(folder.read_json(folder.config).get("settings", {}))
    for key, value in values.items():
        if key not in _COMMAND_ONLY and value is not None and value != ():
            settings[key] = value
    if len(set(values["resolutions"])) == 1:
        settings["resolution"] = values["resolutions"][0]
    if values["verify"]:
        _check_device(settings)
    return config_from(settings, values["preset"], "the configuration")


def _check_device(settings: dict[str, Any]) -> None:
    from proxyless_hw.search.config import SearchConfig
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
