"""``proxyless-hw evaluate``: accuracy of a trained network on a test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyless_hw.commands._options import echo_json, log, max_broken_option, output_options
from proxyless_hw.errors import DataError, TrainingError
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from proxyless_hw.data.base import DataConfig


@click.command()
@click.argument("run")
@click.option("--data", metavar="NAME", help="Data set; that of the run by default.")
@click.option("--data-root", metavar="DIR", help="Its folder; that of the run by default.")
@click.option("--train-resolution", type=click.IntRange(8, 1024), help="Resolution of the images.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True)
@click.option("--workers", type=click.IntRange(0), help="Data-loading processes.")
@max_broken_option
@click.option("--device", metavar="DEVICE", default="cpu", show_default=True)
@output_options
def command(
    run: str,
    data: str | None,
    data_root: str | None,
    train_resolution: int | None,
    batch_size: int,
    workers: int | None,
    max_broken: int | float | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Accuracy of the trained network in folder RUN on the test set.

    \b
    Example:
      proxyless-hw evaluate runs/trained
    """
    from proxyless_hw.data.base import DataConfig
    from proxyless_hw.data.load import load_data
    from proxyless_hw.runs.torch_device import choose_device
    from proxyless_hw.train.driver import test_score
    from proxyless_hw.train.load import load, load_data_config

    network = load(run)
    config = None if data else _data_of(run, load_data_config)
    if config is None:
        if data is None:
            raise DataError(f"{run} names no data set. Give one: --data NAME.")
        config = DataConfig(name=data)
    config = replace(
        config,
        root=config.root if data_root is None else data_root,
        resolution=config.resolution if train_resolution is None else train_resolution,
        batch_size=batch_size,
        workers=config.workers if workers is None else workers,
        max_broken=config.max_broken if max_broken is None else max_broken,
    )
    with phase("loading the data", quiet):
        images = load_data(config)
    classes = network.arch.num_classes
    if images.num_classes != classes:
        raise DataError(
            f"{run} tells {classes} classes apart, {images.name} has {images.num_classes}. "
            "Choose the data set it was trained on: --data NAME."
        )
    place = choose_device(device, TrainingError)
    with phase("evaluating", quiet):
        score = test_score(network.to(place), images, place)
    if as_json:
        echo_json({**score.to_dict(), "data": images.name, "resolution": images.resolution})
    log(
        f"top-1 {score.top1:.2%}, top-5 {score.top5:.2%}, loss {score.loss:.4f} on "
        f"{score.images} images of {images.name} at {images.resolution} pixels",
        quiet,
    )


def _data_of(run: str, read: Callable[[str], DataConfig | None]) -> DataConfig | None:
    """The data of a training, or of a search."""
    from proxyless_hw.search.config import config_from
    from proxyless_hw.search.driver import data_config
    from proxyless_hw.search.run_folder import SearchFolder

    folder = SearchFolder(Path(run))
    if not folder.network.is_file():
        return read(run)
    settings = folder.read_json(folder.config).get("settings")
    if not isinstance(settings, dict):
        raise TrainingError(f"{folder.config} must hold the run's settings.")
    return data_config(config_from(settings, source=str(folder.config)))
