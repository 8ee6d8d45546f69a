"""The derived network with the supernet's weights, BatchNorm recalibrated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from proxyless_hw.data.base import DataSplits
from proxyless_hw.network.network import Network
from proxyless_hw.network.ops import Residual
from proxyless_hw.search.supernet import MixedOp, SuperNet
from proxyless_hw.space.architecture import Architecture

RECALIBRATION_BATCHES = 16


def extract_network(supernet: SuperNet, arch: Architecture, choices: Sequence[int]) -> Network:
    """Copies the weights of a sampled path into a stand-alone network of the data's classes."""
    network = Network(arch.with_shape(num_classes=supernet.num_classes))
    network.stem.load_state_dict(supernet.stem.state_dict())
    network.head.load_state_dict(supernet.head.state_dict())
    remaining = iter(choices)
    for block, mixed in zip(network.blocks, supernet.positions, strict=True):
        assert isinstance(mixed, MixedOp)
        choice = next(remaining) if len(mixed.candidates) > 1 else 0
        source = mixed.candidates[choice]
        target = block.body if isinstance(block, Residual) and mixed.has_shortcut else block
        target.load_state_dict(source.state_dict())
    return network.to(memory_format=torch.channels_last)


def recalibrate_batch_norm(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> None:
    """Replaces running statistics by the plain average over some training batches."""
    layers = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average
    network.train()
    with torch.no_grad():
        for images, _ in islice(batches, RECALIBRATION_BATCHES):
            network(images.to(device))
    network.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def derived_network(
    supernet: SuperNet,
    arch: Architecture,
    choices: Sequence[int],
    data: DataSplits,
    device: torch.device,
) -> Network:
    """Extracts a path and recalibrates its BatchNorm on the training split."""
    network = extract_network(supernet, arch, choices).to(device)
    recalibrate_batch_norm(
        network, data.train.batches(0, shuffle=True, augment=False, drop_last=True), device
    )
    return network
