"""`run_training`: prepare, train, evaluate on the test set, write the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import TrainingError
from proxyless_hw.network.network import Network, build_network, set_drop_path
from proxyless_hw.network.ops import Classifier
from proxyless_hw.network.start import identity_start
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.evaluation import Score, evaluate
from proxyless_hw.runs.folder import default_folder
from proxyless_hw.runs.interrupt import stop_on_signals
from proxyless_hw.runs.lifecycle import held, joined
from proxyless_hw.runs.loop import RunPlace, going_on
from proxyless_hw.runs.objects import GIVEN, check_all_given, check_channels, check_same_metric
from proxyless_hw.runs.task import CLASSIFICATION, Task
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.given import TrainObjects
from proxyless_hw.train.load import fill_from, initialise_from, load
from proxyless_hw.train.loop import TrainLoop
from proxyless_hw.train.observer import TrainObserver
from proxyless_hw.train.result import TrainResult
from proxyless_hw.train.run_folder import KIND, TrainFolder
from proxyless_hw.train.state import CHECKPOINT, TrainState, new_state, restore


def run_training(
    config: TrainConfig,
    observer_factory: Callable[[], TrainObserver] = TrainObserver,
    *,
    architecture: Architecture | None = None,
    weights: nn.Module | Mapping[str, Tensor] | None = None,
    data: DataSplits | None = None,
    task: Task | None = None,
) -> TrainResult | None:
    """Trains one architecture and evaluates it on the test set.

    Objects take the place of the names in the settings. A name at its default counts as not given;
    another name beside an object is refused, unless both are the same. No file holds the objects:
    to resume, give them again. The run folder keeps facts of them and refuses others.

    Args:
        config: all settings (see `TrainConfig`); ``resume=True`` goes on with a training.
        observer_factory: makes the observer of the progress.
        architecture: what to train, in place of ``config.arch``.
        weights: a network, or its tensors by name, to start from, in place of ``config.weights``. A
            classifier of another number of classes starts fresh.
        data: the images, in place of ``config.data`` and the settings that belong to it; the data's
            batch size holds. Held-out images choose the best epoch; without any the last counts.
        task: loss and metric; cross entropy and top-1 accuracy when None.

    Returns:
        The result; None on torchrun's processes other than the first, which writes it.

    Raises:
        TrainingError: an existing output, other settings on resumption, a NaN loss; an object and a
            name that differ, an object that is missing or another on resumption.
        TaskError: a loss or metric of the user's does not give what it has to; the state is saved.
        InterruptedRunError: Ctrl-C or SIGTERM; the state is saved.
        DataError, ArchitectureError: the data or the network cannot be used. The state is saved
            where an image cannot be had.

    Example:
        >>> import proxyless_hw as ph
        >>> trained = ph.run_training(  # doctest: +SKIP
        ...     ph.TrainConfig(epochs=8, output="runs/trained"),
        ...     architecture=result.architecture, weights=result.network, data=data,
        ...     task=ph.Task(loss=focal, metric=worst_class_recall),
        ... )
        >>> trained.metric  # doctest: +SKIP
    """
    given = TrainObjects(architecture=architecture, weights=weights, data=data, task=task)
    given.check_kinds(config)
    if config.resume and config.output is not None:
        check_all_given(TrainFolder(Path(config.output)), given.names())
    config = given.settle(config)
    device = choose_device(config.device, TrainingError)
    folder = _folder(config)
    with joined(device, config.threads) as world:
        if not world.is_main:
            if config.resume and folder.result.exists():  # the first has nothing to do either
                return None
            return _train(config, given, {}, folder, device, world, TrainObserver(), lambda: None)
        with held(folder) as check_held:
            facts = given.facts()
            folder.check_may_run(config.to_dict(), config.resume, facts)
            if config.resume and folder.result.exists():
                return TrainResult.from_json(folder.read_json(folder.result), folder.path)
            with observer_factory() as observer:
                return _train(config, given, facts, folder, device, world, observer, check_held)


def _folder(config: TrainConfig) -> TrainFolder:
    if config.output is not None:
        return TrainFolder(Path(config.output))
    if config.arch is None or config.arch == GIVEN:
        return TrainFolder(default_folder("train"))
    name = Path(config.arch).name.removesuffix(".json")
    return TrainFolder(Path(f"runs/train-{name}"))


def _train(
    config: TrainConfig,
    given: TrainObjects,
    facts: Mapping[str, JsonObject],
    folder: TrainFolder,
    device: torch.device,
    world: World,
    observer: TrainObserver,
    check_held: Callable[[], None],
) -> TrainResult | None:
    with observer.phase("loading the data"):
        data = given.chosen_data(config)
    shape = TrainingShape(data.resolution, data.num_classes, data.name)
    arch = replace(given.chosen_architecture(config), training=shape)
    check_channels(data, arch.in_channels, arch.space, TrainingError)
    resumed = config.resume and folder.checkpoint.exists()
    network = _network(arch, config, data, given, resumed)
    state = new_state(network, config, device)
    if resumed:
        restore(state, CHECKPOINT.read(folder.checkpoint), folder.checkpoint)
        if state.best_accuracy is not None:
            check_same_metric(folder, given.task_or_default)
    world.broadcast(state.network)
    if world.is_main:
        folder.write_json(folder.config, _config_document(config, data, facts))
        arch.save(folder.architecture)
        folder.keep_metrics(state.epoch)
    with stop_on_signals() as stop:
        place = RunPlace(
            folder=folder, device=device, world=world, stop=stop, check_held=check_held
        )
        loop = TrainLoop(
            place=place,
            data=data,
            batch_size=config.batch_size,
            epochs=config.epochs,
            checkpoint_minutes=config.checkpoint_minutes,
            config=config,
            observer=observer,
            best=folder.best,
            task=given.task_or_default,
        )
        steps = loop.steps_per_epoch
        observer.start(
            config.epochs * steps, state.epoch * steps + state.step, _message(arch, config, data)
        )
        loop.run(state)
    world.barrier()
    if not world.is_main:
        return None
    with observer.phase("testing the network"), going_on(folder):
        result = _result(arch, config, data, given.task_or_default, state, folder, device)
    check_held()
    folder.write_json(folder.result, result.to_json())
    return result


def _network(
    arch: Architecture, config: TrainConfig, data: DataSplits, given: TrainObjects, resumed: bool
) -> Network:
    network = build_network(arch.with_shape(num_classes=data.num_classes), seed=config.seed)
    tensors = given.tensors()
    if tensors is not None and not resumed:
        fill_from(network, tensors, "weights")
    elif config.weights is not None and not resumed:
        initialise_from(network, config.weights)
    elif config.start == "identity":
        identity_start(network, config.seed)
    set_drop_path(network, config.drop_path)
    classifier = network.head[-1]
    if isinstance(classifier, Classifier):
        classifier.dropout.p = config.dropout
    return network


def _config_document(
    config: TrainConfig, data: DataSplits, facts: Mapping[str, JsonObject]
) -> JsonObject:
    return {
        "kind": KIND,
        "settings": {**config.to_dict(), "resume": False},
        "data": {
            "name": data.name,
            "train": len(data.train),
            "holdout": len(data.holdout),
            "test": len(data.test),
            "resolution": data.resolution,
            "class_names": list(data.class_names),
            "mean": None if data.mean is None else list(data.mean),
            "std": None if data.std is None else list(data.std),
        },
        **({"objects": dict(facts)} if facts else {}),
    }


def _message(arch: Architecture, config: TrainConfig, data: DataSplits) -> str:
    at_training = arch.with_shape(num_classes=data.num_classes)
    macs = count_macs(at_training, data.resolution) / 1e6
    name = "a network" if config.arch == GIVEN else config.arch
    return (
        f"training {name} ({count_parameters(at_training) / 1e6:.2f} M parameters, "
        f"{macs:.1f} M MACs at {data.resolution} pixels) on {len(data.train)} images of "
        f"{data.name} for {config.epochs} epochs"
    )


def _result(
    arch: Architecture,
    config: TrainConfig,
    data: DataSplits,
    task: Task,
    state: TrainState,
    folder: TrainFolder,
    device: torch.device,
) -> TrainResult:
    score = test_score(load(folder.path).to(device), data, device, task)
    at_training = arch.with_shape(num_classes=data.num_classes)
    return TrainResult(
        folder=folder.path,
        top1=score.top1,
        top5=score.top5,
        loss=score.loss,
        test_images=score.images,
        best_epoch=state.best_epoch,
        validation_top1=state.best_accuracy if task.metric is None else None,
        epochs=config.epochs,
        parameters=count_parameters(at_training),
        macs=count_macs(at_training, data.resolution),
        resolution=data.resolution,
        seconds=round(state.seconds, 2),
        seconds_per_epoch=round(state.seconds / config.epochs, 2),
        task=task.result(score.metric, state.best_accuracy),
    )


def test_score(
    network: torch.nn.Module,
    data: DataSplits,
    device: torch.device,
    task: Task = CLASSIFICATION,  # noqa: PT028 -- it is no test
) -> Score:
    """Evaluates a network on the test split."""
    batches = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
    network = network.to(memory_format=torch.channels_last)
    return evaluate(network, batches, device, TrainingError, task)
