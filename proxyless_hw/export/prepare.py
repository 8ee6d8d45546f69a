"""The copy of a module that is written to a file: BatchNorm folded, pooling in one known form."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from proxyless_hw.network.network import Network
from proxyless_hw.network.ops import Classifier, GlobalPool


class PooledLinear(nn.Module):
    """A `Classifier` whose pooling keeps the map, so that no layout change is needed before it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3), keepdim=True).flatten(1)
        return self.linear(pooled)  # type: ignore[no-any-return]


class ChannelsLastPooling(nn.Module):
    """An isolated pooling or classifier on (N, H, W, C): the converter would transpose first."""

    def __init__(self, linear: nn.Linear | None) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        if self.linear is None:
            return x.mean((1, 2), keepdim=True)
        return self.linear(x.mean((1, 2)))  # type: ignore[no-any-return]


def channels_last_pooling(module: nn.Module) -> ChannelsLastPooling | None:
    """The (N, H, W, C) form of a module that is a pooling or a classifier and nothing else."""
    if isinstance(module, PooledLinear):
        return ChannelsLastPooling(module.linear)
    return ChannelsLastPooling(None) if type(module) is GlobalPool else None


def deployment_copy(module: nn.Module) -> nn.Module:
    """Copies a module into eval mode with every convolution's BatchNorm folded into its weights.

    A BatchNorm is folded when it directly follows its convolution in an `nn.Sequential`; others
    (before an activation, on an edge of a tree) stay as the affine layers they are. The copy
    computes the same function; `module` is left as it was, its train or eval mode included.
    """
    duplicate = copy.deepcopy(module).eval()
    # Neighbours among a tree's blocks do not follow each other.
    wired = [part.blocks for part in duplicate.modules() if _is_wired(part)]
    for parent in list(duplicate.modules()):
        if type(parent) is nn.Sequential and parent not in wired:
            _fold_sequence(parent)
    return _replace_classifiers(duplicate)


def _is_wired(module: nn.Module) -> bool:
    return isinstance(module, Network) and bool(module.arch.wiring)


def _fold_sequence(sequence: nn.Sequential) -> None:
    previous: str | None = None
    for name, module in list(sequence.named_children()):
        conv = None if previous is None else sequence._modules[previous]
        if previous and isinstance(conv, nn.Conv2d) and isinstance(module, nn.BatchNorm2d):
            sequence._modules[previous] = fuse_conv_bn_eval(conv, module)
            del sequence._modules[name]
        else:
            previous = name


def _replace_classifiers(module: nn.Module) -> nn.Module:
    if type(module) is Classifier:
        return PooledLinear(module.linear)
    for name, child in module.named_children():
        setattr(module, name, _replace_classifiers(child))
    return module


class DeployedNetwork(nn.Module):
    """A network with what an app would otherwise do around it.

    Args:
        network: (N, 3, H, W) normalised images to (N, classes) logits.
        mean, std: when given, the input is RGB from 0 to 255, normalised here per channel;
            both refer to pixel values from 0 to 1.
        softmax: ends with probabilities instead of logits.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        softmax: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.softmax = softmax
        self.normalises = mean is not None and std is not None
        if mean is not None and std is not None:
            scale = 1 / (255 * torch.tensor(std, dtype=torch.float32))
            shift = -255 * torch.tensor(mean, dtype=torch.float32) * scale
            self.register_buffer("scale", scale.view(1, -1, 1, 1))
            self.register_buffer("shift", shift.view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if self.normalises:
            images = images * self.scale + self.shift
        outputs = self.network(images)
        return torch.softmax(outputs, 1) if self.softmax else outputs
