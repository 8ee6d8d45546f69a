"""Trains one network on Fashion-MNIST at 32 pixels, and times it against torchvision's MobileNetV2.

The network is a run folder of a search in `cifar-mbconv`, or that space's network of all 3x3 blocks
when none is given. Accuracy: the full training set, one training, the test set at the end. Epoch
time: all networks take the same number of steps on the same batches in one process, block by block
in turn, so that a busy machine slows them alike. torchvision's network appears twice, at the width
whose MACs at 32 pixels come nearest: as it is, and with a stride of 1 in its stem and second stage
(as it is, its maps at 32 pixels are 1x1 for a third of its depth).

    python benchmarks/training.py --arch runs/found --epochs 10
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torchvision
from torch import nn

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.load import load_data
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import count_macs
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.driver import run_training
from proxyless_hw.train.observer import TerminalObserver

RESOLUTION = 32
WIDTHS = [round(0.1 + 0.05 * step, 2) for step in range(60)]


def uniform_network() -> Architecture:
    """The `cifar-mbconv` network of all 3x3 blocks of expansion 3."""
    space = SearchSpace.load("cifar-mbconv")
    return Architecture.from_choices(space, [0] * len(space.slots))


def torchvision_network(width: float, as_it_is: bool) -> nn.Module:
    """torchvision's MobileNetV2, or with the strides of its stem and second stage set to 1."""
    network = torchvision.models.mobilenet_v2(num_classes=10, width_mult=width)
    if not as_it_is:
        network.features[0][0].stride = (1, 1)
        network.features[2].conv[1][0].stride = (1, 1)
    return network


def macs_by_forward(network: nn.Module) -> int:
    """MACs of convolutions and linear layers, counted on one forward pass."""
    total = 0

    def count(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            taps = module.kernel_size[0] * module.kernel_size[1]
            total += taps * module.in_channels // module.groups * output.numel()
        elif isinstance(module, nn.Linear):
            total += module.weight.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, RESOLUTION, RESOLUTION))
    for hook in hooks:
        hook.remove()
    return total


def matching_width(macs: int, as_it_is: bool) -> tuple[float, int]:
    """The width whose MACs come nearest, and those MACs."""

    def counted(width: float) -> int:
        return macs_by_forward(torchvision_network(width, as_it_is))

    above = bisect_left(WIDTHS, macs, key=counted)
    near = WIDTHS[max(0, above - 1) : above + 1]
    width = min(near, key=lambda item: abs(counted(item) - macs))
    return width, counted(width)


def batches(limit: int, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Training batches of Fashion-MNIST without end."""
    config = DataConfig(name="fashion-mnist", limit=limit, batch_size=batch_size, holdout=0.0)
    data = load_data(config)
    epoch = 0
    while True:
        yield from data.train.batches(epoch, shuffle=True, augment=True, drop_last=True)
        epoch += 1


def step_seconds(networks: dict[str, nn.Module], batch_size: int, blocks: int) -> dict[str, float]:
    """Median seconds of a training step of each network, timed block by block in turn."""
    source = batches(16 * batch_size, batch_size)
    optimizers = {}
    for name, network in networks.items():
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimizers[name] = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for block in range(blocks + 1):
        chosen = [next(source) for _ in range(4)]
        for name, network in networks.items():
            started = time.perf_counter()
            for images, labels in chosen:
                optimizers[name].zero_grad(set_to_none=True)
                nn.functional.cross_entropy(network(images), labels).backward()
                optimizers[name].step()
            if block:  # the first block warms up
                seconds[name].append((time.perf_counter() - started) / len(chosen))
    return {name: median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", help="run folder or architecture file; the uniform network else")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="training images; all 60,000 by default")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=10, help="timed blocks of 4 steps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="run folder, to resume; temporary by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    found = load_architecture(options.arch) if options.arch else uniform_network()
    arch = found.with_shape(num_classes=10)
    macs = count_macs(arch, RESOLUTION)
    networks: dict[str, nn.Module] = {"ours": build_network(arch, seed=0)}
    matched = {}
    for name, as_it_is in (("torchvision", True), ("torchvision_strides_1", False)):
        matched[name] = matching_width(macs, as_it_is)
        networks[name] = torchvision_network(matched[name][0], as_it_is)
    steps = step_seconds(networks, options.batch_size, options.blocks)
    per_epoch = (options.limit or 60_000) // options.batch_size

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "network.json"
        found.save(path)
        output = options.output or Path(scratch) / "run"
        trained = run_training(
            TrainConfig(
                arch=options.arch or str(path),
                data="fashion-mnist",
                limit=options.limit,
                train_resolution=RESOLUTION,
                epochs=options.epochs,
                batch_size=options.batch_size,
                threads=options.threads,
                output=str(output),
                resume=output.exists(),
            ),
            TerminalObserver,
        ).to_json()

    result = {
        "network": options.arch or "cifar-mbconv, all MB3 3x3",
        "test_accuracy": trained["top1"],
        "epochs": options.epochs,
        "training_images": options.limit or 60_000,
        "epoch_s": trained["seconds_per_epoch"],
        "parameters": trained["parameters"],
        "macs": macs,
        "step_s": steps["ours"],
        **{
            f"{name}_{key}": value
            for name, (width, their_macs) in matched.items()
            for key, value in (
                ("width", width),
                ("macs", their_macs),
                ("step_s", steps[name]),
                ("epoch_s", steps[name] * per_epoch),
                ("step_ratio", steps["ours"] / steps[name]),
            )
        },
        "threads": options.threads,
        "batch_size": options.batch_size,
    }
    if not options.json:
        for key, value in result.items():
            print(f"{key:34} {value:.4g}" if isinstance(value, float) else f"{key:34} {value}")
        return
    print(json.dumps(result))


if __name__ == "__main__":
    main()
