"""Evaluating a trained network from Python or the command line, on a test set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from proxyless_hw.data.base import DataConfig, DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import DataError, TrainingError
from proxyless_hw.network.network import Network
from proxyless_hw.runs.evaluation import Score
from proxyless_hw.runs.objects import check_channels
from proxyless_hw.runs.task import CLASSIFICATION, Task
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.search.config import config_from
from proxyless_hw.search.context import data_config
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.terminal.progress import phase
from proxyless_hw.train.driver import test_score
from proxyless_hw.train.load import load, load_data_config


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How good a network is on a test set.

    Attributes:
        score: metric, accuracy, loss and number of images.
        data: name of the data set.
        resolution: of its images, in pixels.
    """

    score: Score
    data: str
    resolution: int

    @property
    def metric(self) -> float:
        """Top-1 in [0, 1], or the metric of the user's; higher is better."""
        return self.score.metric

    def to_json(self) -> JsonObject:
        """The object that the command prints."""
        return {**self.score.to_dict(), "data": self.data, "resolution": self.resolution}


def evaluate(
    run: str | Path | Network,
    data: DataSplits | str | None = None,
    *,
    task: Task | None = None,
    data_root: str | Path | None = None,
    train_resolution: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    max_broken: int | float | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> Evaluation:
    """Evaluates a network on the test split of a data set: ``proxyless-hw evaluate``.

    Args:
        run: a run folder that `load` reads, or a network.
        data: the data, an object or a name; those of the run when None. A run that was given an
            object is given it again.
        task: loss and metric; cross entropy and top-1 accuracy when None.
        data_root, train_resolution, workers, max_broken: of named data; those of the run when None.
        batch_size: of named data; 256 when None. It changes no result.
        device: a torch device.
        quiet: shows no progress.

    Raises:
        TrainingError, ArchitectureError: the folder holds no network.
        DataError: no data set is known, the data cannot be read or have other classes, or settings
            of named data are given beside an object.
        TaskError: loss or metric cannot take the targets, or gives no finite number.

    Example:
        >>> import proxyless_hw as ph
        >>> arch = ph.load_architecture("mobilenet-v2-0.35").with_shape(num_classes=10)
        >>> found = ph.evaluate(ph.build_network(arch), "digits", train_resolution=16, quiet=True)
        >>> found.score.images, 0 <= found.metric <= 1
        (359, True)
    """
    if not isinstance(run, str | Path | Network):
        raise TrainingError(
            f"a run folder or a network of this package is evaluated: received "
            f"{type(run).__name__}. build_network(ARCH) makes one."
        )
    network = run if isinstance(run, Network) else load(run)
    if isinstance(data, DataSplits):
        settings = (data_root, train_resolution, batch_size, workers, max_broken)
        if any(value is not None for value in settings):
            raise DataError(
                "the data given as an object say folder, resolution and batch size themselves: "
                "leave those settings out."
            )
        images = data
    else:
        config = DataConfig(name=data) if data is not None else _data_of(run)
        config = replace(
            config,
            root=config.root if data_root is None else str(data_root),
            resolution=config.resolution if train_resolution is None else train_resolution,
            batch_size=256 if batch_size is None else batch_size,
            workers=config.workers if workers is None else workers,
            max_broken=config.max_broken if max_broken is None else max_broken,
        )
        with phase("loading the data", quiet):
            images = load_data(config)
    name = "the network" if isinstance(run, Network) else str(run)
    _check_classes(images, network, name)
    chosen = CLASSIFICATION if task is None else task
    if isinstance(data, DataSplits):
        chosen.require_usable(data.first_targets())
    place = choose_device(device, TrainingError)
    with phase("evaluating", quiet):
        score = test_score(network.to(place), images, place, chosen)
    return Evaluation(score=score, data=images.name, resolution=images.resolution)


def _check_classes(images: DataSplits, network: Network, name: str) -> None:
    """Checks that network and data go together.

    Raises:
        DataError: other classes or channels.
    """
    classes = network.arch.num_classes
    if images.num_classes != classes:
        raise DataError(
            f"{name} tells {classes} classes apart, {images.name} has {images.num_classes}. "
            "Choose the data set it was trained on: --data NAME."
        )
    check_channels(images, network.arch.in_channels, name, DataError)


def _data_of(run: str | Path | Network) -> DataConfig:
    """The data of a training, or of a search.

    Raises:
        DataError: nothing names any.
    """
    if isinstance(run, Network):
        raise DataError("a network names no data set. Give one: data=NAME or an object.")
    folder = SearchFolder(Path(run))
    if folder.network.is_file():
        settings = folder.read_json(folder.config).get("settings")
        if not isinstance(settings, dict):
            raise TrainingError(f"{folder.config} must hold the run's settings.")
        return data_config(config_from(settings, source=str(folder.config)))
    found = load_data_config(run)
    if found is None:
        raise DataError(f"{run} names no data set. Give one: --data NAME.")
    return found
