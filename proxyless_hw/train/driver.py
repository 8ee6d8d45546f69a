"""`run_training`: prepare, train, evaluate on the test set, write the run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import TrainingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import Network, build_network, set_drop_path
from proxyless_hw.network.ops import Classifier
from proxyless_hw.network.start import identity_start
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.interrupt import stop_on_signals
from proxyless_hw.runs.lifecycle import held, joined
from proxyless_hw.runs.loop import RunPlace
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.evaluate import Score, evaluate
from proxyless_hw.train.load import data_config, initialise_from, load
from proxyless_hw.train.loop import TrainLoop
from proxyless_hw.train.observer import TrainObserver
from proxyless_hw.train.result import TrainResult
from proxyless_hw.train.run_folder import KIND, TrainFolder
from proxyless_hw.train.state import CHECKPOINT, TrainState, new_state, restore


def run_training(
    config: TrainConfig, observer_factory: Callable[[], TrainObserver] = TrainObserver
) -> TrainResult | None:
    """Trains one architecture and evaluates it on the test set.

    Args:
        config: all settings.
        observer_factory: makes the observer of the progress.

    Returns:
        The result; None on torchrun's processes other than the first, which writes it.

    Raises:
        TrainingError: an existing output, other settings on resumption, a NaN loss.
        InterruptedRunError: Ctrl-C or SIGTERM; the state is saved.
        DataError, ArchitectureError: the data or the network cannot be used.
    """
    device = choose_device(config.device, TrainingError)
    folder = _folder(config)
    with joined(device, config.threads) as world:
        if not world.is_main:
            if config.resume and folder.result.exists():  # the first has nothing to do either
                return None
            return _train(config, folder, device, world, TrainObserver(), lambda: None)
        with held(folder) as check_held:
            folder.check_may_run(config.to_dict(), config.resume)
            if config.resume and folder.result.exists():
                return TrainResult.from_json(folder.read_json(folder.result), folder.path)
            with observer_factory() as observer:
                return _train(config, folder, device, world, observer, check_held)


def _folder(config: TrainConfig) -> TrainFolder:
    name = Path(config.arch).name.removesuffix(".json")
    return TrainFolder(Path(config.output or f"runs/train-{name}"))


def _train(
    config: TrainConfig,
    folder: TrainFolder,
    device: torch.device,
    world: World,
    observer: TrainObserver,
    check_held: Callable[[], None],
) -> TrainResult | None:
    with observer.phase("loading the data"):
        data = load_data(data_config(config))
    shape = TrainingShape(data.resolution, data.num_classes, data.name)
    arch = replace(load_architecture(config.arch), training=shape)
    resumed = config.resume and folder.checkpoint.exists()
    network = _network(arch, config, data, None if resumed else config.weights)
    state = new_state(network, config, device)
    if resumed:
        restore(state, CHECKPOINT.read(folder.checkpoint), folder.checkpoint)
    world.broadcast(state.network)
    if world.is_main:
        folder.write_json(folder.config, _config_document(config, data))
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
        )
        steps = loop.steps_per_epoch
        observer.start(
            config.epochs * steps, state.epoch * steps + state.step, _message(arch, config, data)
        )
        loop.run(state)
    world.barrier()
    if not world.is_main:
        return None
    with observer.phase("testing the network"):
        result = _result(arch, config, data, state, folder, device)
    check_held()
    folder.write_json(folder.result, result.to_json())
    return result


def _network(
    arch: Architecture, config: TrainConfig, data: DataSplits, weights: str | None
) -> Network:
    network = build_network(arch.with_shape(num_classes=data.num_classes), seed=config.seed)
    if weights is not None:
        initialise_from(network, weights)
    elif config.start == "identity":
        identity_start(network, config.seed)
    set_drop_path(network, config.drop_path)
    classifier = network.head[-1]
    if isinstance(classifier, Classifier):
        classifier.dropout.p = config.dropout
    return network


def _config_document(config: TrainConfig, data: DataSplits) -> JsonObject:
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
            "mean": list(data.mean),
            "std": list(data.std),
        },
    }


def _message(arch: Architecture, config: TrainConfig, data: DataSplits) -> str:
    at_training = arch.with_shape(num_classes=data.num_classes)
    macs = count_macs(at_training, data.resolution) / 1e6
    return (
        f"training {config.arch} ({count_parameters(at_training) / 1e6:.2f} M parameters, "
        f"{macs:.1f} M MACs at {data.resolution} pixels) on {len(data.train)} images of "
        f"{data.name} for {config.epochs} epochs"
    )


def _result(
    arch: Architecture,
    config: TrainConfig,
    data: DataSplits,
    state: TrainState,
    folder: TrainFolder,
    device: torch.device,
) -> TrainResult:
    score = test_score(load(folder.path).to(device), data, device)
    at_training = arch.with_shape(num_classes=data.num_classes)
    return TrainResult(
        folder=folder.path,
        top1=score.top1,
        top5=score.top5,
        loss=score.loss,
        test_images=score.images,
        best_epoch=state.best_epoch,
        validation_top1=state.best_accuracy,
        epochs=config.epochs,
        parameters=count_parameters(at_training),
        macs=count_macs(at_training, data.resolution),
        resolution=data.resolution,
        seconds=round(state.seconds, 2),
        seconds_per_epoch=round(state.seconds / config.epochs, 2),
    )


def test_score(network: torch.nn.Module, data: DataSplits, device: torch.device) -> Score:
    """Evaluates a network on the test split."""
    batches = data.test.batches(0, shuffle=False, augment=False, drop_last=False)
    return evaluate(network.to(memory_format=torch.channels_last), batches, device)
