"""A small network with every kind of layer, its weights and BatchNorm statistics randomised."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from proxyless_hw.network.network import Network, build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import LayerSpec

SIZE = 32


def small_architecture(resolution: int = SIZE, num_classes: int = 5) -> Architecture:
    """Stem, inverted bottlenecks (plain, strided, residual, squeeze-excite, removed), head."""
    return Architecture(
        space="small",
        resolution=resolution,
        num_classes=num_classes,
        stem=(LayerSpec("conv", 3, 8, kernel=3, stride=2, act="relu6"),),
        blocks=(
            LayerSpec("mbconv", 8, 8, kernel=3, stride=1, expand=1, act="relu6"),
            LayerSpec("mbconv", 8, 16, kernel=5, stride=2, expand=3, act="relu6"),
            LayerSpec("mbconv", 16, 16, kernel=7, stride=1, expand=6, skip=True, act="relu6"),
            LayerSpec("skip", 16, 16),
            LayerSpec(
                "mbconv", 16, 16, kernel=3, stride=1, expand=4, skip=True, act="hswish", se=1
            ),
        ),
        head=(
            LayerSpec("conv", 16, 1280, kernel=1, act="relu6"),
            LayerSpec("classifier", 1280, num_classes),
        ),
    )


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Gives every BatchNorm statistics and scales far from their first values."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.5, generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.normal_(0, 0.5, generator=generator)
        if isinstance(part, nn.Linear):
            part.weight.data.normal_(0, 0.03, generator=generator)
    return module.eval()


def small_network(resolution: int = SIZE, num_classes: int = 5) -> Network:
    """The small network, randomised."""
    network = build_network(small_architecture(resolution, num_classes), seed=1)
    randomise(network)
    return network


def images(count: int, resolution: int = SIZE, seed: int = 3) -> np.ndarray:
    """Normal noise, (count, 3, resolution, resolution) float32."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, 3, resolution, resolution), dtype=np.float32)
