"""How long an epoch takes on this machine now, from a few steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from proxyless_hw.data.base import DataSplit
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import SearchError, TrainingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.runs.distributed import World
from proxyless_hw.runs.loop import full_batches
from proxyless_hw.runs.torch_device import choose_device
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.context import data_config, make_context
from proxyless_hw.search.prepare import prepare_problem
from proxyless_hw.search.state import new_state
from proxyless_hw.search.steps import update_alpha, update_weights
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.load import data_config as training_data_config
from proxyless_hw.train.state import new_state as new_training_state

TRIAL_STEPS: Final = 3


def seconds_per_epoch(config: SearchConfig) -> float:
    """Time of an epoch of a search on this machine now, from a few steps.

    Raises:
        SearchError, TableError, DataError: the settings do not make a search.
    """
    problem = prepare_problem(config)
    data = load_data(replace(data_config(config), workers=0))
    device = choose_device(config.device, SearchError)
    context = make_context(config, problem, data, device)
    state = new_state(
        config, problem.space, data.num_classes, len(problem.constraints), 1e-3, device
    )

    def step(number: int) -> None:
        update_weights(state, *_batch(data.train, number, device), context, uniform=True)
        update_alpha(state, *_batch(data.holdout, number, device), context)

    steps = full_batches(data.train, config.batch_size, context.world, SearchError)
    return _time_of(step, device) * steps


def training_seconds_per_epoch(config: TrainConfig) -> float:
    """The same for a training.

    Raises:
        TrainingError, ArchitectureError, DataError: the settings do not make a training.
    """
    data = load_data(replace(training_data_config(config), workers=0))
    device = choose_device(config.device, TrainingError)
    if config.arch is None:
        raise TrainingError("a trial trains the architecture that `arch` names: received None.")
    arch = load_architecture(config.arch).with_shape(num_classes=data.num_classes)
    state = new_training_state(build_network(arch, seed=config.seed), config, device)
    state.network.train()

    def step(number: int) -> None:
        images, labels = _batch(data.train, number, device)
        state.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(state.network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()

    steps = full_batches(data.train, config.batch_size, World(), TrainingError)
    return _time_of(step, device) * steps


def _batch(split: DataSplit, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A batch, decoded and augmented as in an epoch; `number` chooses its images."""
    batches = split.batches(number, shuffle=True, augment=True, drop_last=False)
    images, labels = next(iter(batches))
    return images.to(device, memory_format=torch.channels_last), labels.to(device)


def _time_of(step: Callable[[int], None], device: torch.device) -> float:
    """Seconds of a step; the first one also makes torch's primitives and does not count."""
    times = []
    for number in range(TRIAL_STEPS):
        begin = time.perf_counter()
        step(number)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    return min(times[1:])
