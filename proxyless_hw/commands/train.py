"""``proxyless-hw train``: train one network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyless_hw.commands._options import echo_json, log, max_broken_option, output_options
from proxyless_hw.commands._setting_options import setting_options
from proxyless_hw.errors import TrainingError
from proxyless_hw.train.config import TrainConfig, config_from
from proxyless_hw.units import format_count, format_duration

_COMMAND_ONLY = frozenset(("preset", "config_file", "as_json", "quiet"))


@click.command()
@click.argument("arch", required=False, metavar="[ARCH]")
@setting_options(TrainConfig, leave_out=("output",))
@max_broken_option
@click.option(
    "--preset",
    type=click.Choice(["short", "imagenet", "cifar10"]),
    help="short (default): small images on a CPU. imagenet, cifar10: the paper's recipes.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="YAML file of settings; options given here override it.",
)
@click.option("--output", metavar="DIR", help="Run folder; runs/train-NAME by default.")
@output_options
def command(**values: Any) -> None:
    """Train ARCH: a zoo name, an architecture file, or the run folder of a search.

    The result is a folder that `proxyless_hw.load` reads and export takes. Several processes:
    torchrun --nproc-per-node N -m proxyless_hw train ...

    \b
    Example:
      proxyless-hw train runs/search --data fashion-mnist --output runs/trained
      proxyless-hw train proxyless-mobile --preset imagenet --data-root imagenet --device cuda
    """
    from proxyless_hw.train.driver import run_training
    from proxyless_hw.train.observer import TerminalObserver, TrainObserver

    config = _configuration(values)
    result = run_training(config, TrainObserver if values["quiet"] else TerminalObserver)
    if not result.document:
        return  # a torchrun process other than the first: the first one prints
    document = result.document
    if values["as_json"]:
        echo_json({**document, "run": str(result.folder)})
    log(
        f"test accuracy {document['top1']:.2%} (top-5 {document['top5']:.2%}) on "
        f"{document['test_images']} images; {format_count(document['parameters'])} parameters, "
        f"{format_duration(document['seconds'])} of training. Run folder: {result.folder}",
        values["quiet"],
    )


def _configuration(values: dict[str, Any]) -> TrainConfig:
    """The one place where options become a configuration: preset, file, run, options, in turn."""
    from proxyless_hw.train.run_folder import TrainFolder

    given = {
        key: value
        for key, value in values.items()
        if value is not None and key not in _COMMAND_ONLY
    }
    settings: dict[str, Any] = {}
    if values["config_file"] is not None:
        settings.update(TrainConfig.read(values["config_file"]))
    if values["resume"] and values["output"] and TrainFolder(Path(values["output"])).is_started():
        settings.update(TrainFolder(Path(values["output"])).settings())
    settings.update(given)
    if "arch" not in settings:
        raise TrainingError(
            "name the network to train: proxyless-hw train ARCH. "
            "Networks: proxyless-hw zoo list, or a search's run folder."
        )
    return config_from(settings, values["preset"], str(values["config_file"] or "the command line"))
