"""``proxyless-hw train``: train one network."""

from __future__ import annotations

import click

from proxyless_hw.commands._options import echo_json, log, output_options
from proxyless_hw.commands._setting_options import RunOptions, run_options
from proxyless_hw.errors import TrainingError
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.units import format_count, format_duration


@click.command()
@click.argument("arch", required=False, metavar="[ARCH]")
@run_options(
    TrainConfig,
    presets="short (default): small images on a CPU. imagenet, cifar10: the paper's recipes.",
    output="Run folder; runs/train-NAME by default.",
)
@output_options
def command(run: RunOptions, as_json: bool, quiet: bool) -> None:
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

    config = _configuration(run)
    result = run_training(config, TrainObserver if quiet else TerminalObserver)
    if result is None:
        return  # a torchrun process other than the first: the first one prints
    if as_json:
        echo_json({**result.to_json(), "run": str(result.folder)})
    top5 = "" if result.top5 is None else f" (top-5 {result.top5:.2%})"
    log(
        f"test accuracy {result.metric:.2%}{top5} on "
        f"{result.test_images} images; {format_count(result.parameters or 0)} parameters, "
        f"{format_duration(result.seconds or 0)} of training. Run folder: {result.folder}",
        quiet,
    )


def _configuration(run: RunOptions) -> TrainConfig:
    from proxyless_hw.train.run_folder import TrainFolder

    settings = run.settings(TrainConfig, TrainFolder)
    if settings.get("arch") is None:
        raise TrainingError(
            "name the network to train: proxyless-hw train ARCH. "
            "Networks: proxyless-hw zoo list, or a search's run folder."
        )
    return TrainConfig.of(settings, run.preset, str(run.config_file or "the command line"))
