"""What a network takes on a device, by running it in torch: the truth for flash and memory."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture


def folded(arch: Architecture) -> nn.Module:
    """The network in eval mode, every BatchNorm that follows a convolution folded into it."""
    network = build_network(arch, seed=0).eval()
    for block in network.modules():
        if not isinstance(block, nn.Sequential):
            continue
        names = list(block._modules)
        for name, following in itertools.pairwise(names):
            convolution, norm = getattr(block, name), getattr(block, following)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, fuse_conv_bn_eval(convolution, norm))
                setattr(block, following, nn.Identity())
    return network


def stored_values(network: nn.Module) -> tuple[int, int]:
    """Values of weights, and of biases and scales."""
    parameters = list(network.parameters())
    weights = sum(part.numel() for part in parameters if part.dim() > 1)
    return weights, sum(part.numel() for part in parameters if part.dim() == 1)


class _Log(TorchDispatchMode):
    """Which memory every torch operation reads or writes. Tensors are kept, so none is reused."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        held = (*network.parameters(), *network.buffers())
        self.constant = {part.untyped_storage().data_ptr() for part in held}
        self.kept: list[Tensor] = []
        self.sizes: dict[int, int] = {}
        self.used: dict[int, list[int]] = {}
        self.step = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, Tensor) and value.numel():
                storage = value.untyped_storage()
                self.kept.append(value)
                if storage.data_ptr() not in self.constant:
                    self.sizes[storage.data_ptr()] = storage.nbytes()
                    self.used.setdefault(storage.data_ptr(), []).append(self.step)
        self.step += 1
        return result


def peak_of_live_tensors(network: nn.Module, channels: int, resolution: int) -> int:
    """Largest sum of float32 tensors, each alive from its first to its last use, in bytes."""
    log = _Log(network)
    image = torch.zeros(1, channels, resolution, resolution)
    with torch.no_grad(), log:
        network(image)
    return max(
        sum(log.sizes[key] for key, steps in log.used.items() if steps[0] <= step <= steps[-1])
        for step in range(log.step)
    )
