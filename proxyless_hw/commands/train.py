"""``proxyless-hw train``: train one network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxyless_hw.commands._options import echo_json, log, max_broken_option, output_options
from proxyless_hw.errors import TrainingError
from proxyless_hw.units import format_count, format_duration

if TYPE_CHECKING:
    from proxyless_hw.train.config import TrainConfig

_COMMAND_ONLY = frozenset(("preset", "config_file", "as_json", "quiet"))


@click.command()
@click.argument("arch", required=False, metavar="[ARCH]")
@click.option("--data", metavar="NAME", help="digits, mnist, fashion-mnist, cifar10, folder, ...")
@click.option("--data-root", metavar="DIR", help="Folder of the data set, where it needs one.")
@click.option("--limit", type=click.IntRange(1), help="At most so many training images.")
@click.option("--train-resolution", type=click.IntRange(8, 1024), help="Training resolution.")
@click.option("--holdout", type=float, help="Share kept for validation; it chooses the best epoch.")
@click.option("--workers", type=click.IntRange(0), help="Data-loading processes.")
@max_broken_option
@click.option("--weights", metavar="FILE|RUN", help="Start from these weights (fine-tuning).")
@click.option(
    "--start",
    type=click.Choice(["identity", "independent"]),
    help="Fresh weights: nearly the identity (default), or every op as drawn.",
)
@click.option("--epochs", type=click.IntRange(1))
@click.option("--batch-size", type=click.IntRange(1), help="Images per step and process.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--warmup-epochs", type=float, help="Epochs of linear warm-up.")
@click.option("--weight-decay", type=float, help="Not for BatchNorm and biases.")
@click.option("--label-smoothing", type=float)
@click.option("--dropout", type=float, help="Before the classifier.")
@click.option("--drop-path", type=float, help="Rate of the last residual block.")
@click.option("--mixup", type=float, help="alpha of mixup; 0: none.")
@click.option("--cutmix", type=float, help="alpha of CutMix; 0: none.")
@click.option("--cutout", type=click.IntRange(0), help="Side of the blanked square; 0: none.")
@click.option("--augment/--no-augment", default=None, help="Random crops and mirroring.")
@click.option("--ema", type=float, help="Decay of a moving average of the weights; 0: none.")
@click.option("--device", metavar="DEVICE", help="cpu, cuda, mps or auto.")
@click.option("--autocast", type=click.Choice(["none", "bf16", "fp16"]))
@click.option("--threads", type=click.IntRange(1), help="torch threads.")
@click.option("--seed", type=click.IntRange(0))
@click.option("--checkpoint-minutes", type=float, help="Also save within an epoch, this often.")
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
@click.option("--resume", is_flag=True, default=None, help="Go on with an interrupted run.")
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
    from proxyless_hw.train.config import config_from, read_config
    from proxyless_hw.train.run_folder import TrainFolder

    given = {
        key: value
        for key, value in values.items()
        if value is not None and key not in _COMMAND_ONLY
    }
    settings: dict[str, Any] = {}
    if values["config_file"] is not None:
        settings.update(read_config(values["config_file"]))
    if values["resume"] and values["output"] and TrainFolder(Path(values["output"])).is_started():
        settings.update(TrainFolder(Path(values["output"])).settings())
    settings.update(given)
    if "arch" not in settings:
        raise TrainingError(
            "name the network to train: proxyless-hw train ARCH. "
            "Networks: proxyless-hw zoo list, or a search's run folder."
        )
    return config_from(settings, values["preset"], str(values["config_file"] or "the command line"))
