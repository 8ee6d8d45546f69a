"""The network an `Architecture` describes, as one readable torch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from proxyless_hw.network.drop_path import linear_rates
from proxyless_hw.network.ops import Residual, build_layer, init_weights
from proxyless_hw.network.tree import run_wired
from proxyless_hw.space.architecture import Architecture, require_architecture
from proxyless_hw.space.wiring import TreeBlock


class Network(nn.Module):
    """Stem, blocks, head in order: (N, 3, H, W) to (N, num_classes).

    Attributes:
        arch: the architecture it was built from.
        drop_rates: drop-path rates of the tree blocks in training (see `set_drop_path`).
        stem, blocks, head: one module per layer; a removed block is an identity. The blocks are
            in the order in which they run; `arch.wiring` says how they connect.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.drop_rates: list[float] = []
        self.stem = nn.Sequential(*(build_layer(layer, arch.batch_norm) for layer in arch.stem))
        self.blocks = nn.Sequential(*(build_layer(layer, arch.batch_norm) for layer in arch.blocks))
        self.head = nn.Sequential(*(build_layer(layer, arch.batch_norm) for layer in arch.head))

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        if self.arch.wiring:
            rates = self.drop_rates if self.training else []
            x = run_wired(self.arch.wiring, len(self.blocks), x, self._block, rates)
        else:
            x = self.blocks(x)
        return self.head(x)  # type: ignore[no-any-return]

    def _block(self, number: int, x: Tensor) -> Tensor:
        return self.blocks[number](x)  # type: ignore[no-any-return]


def architecture_of(module: nn.Module) -> Architecture | None:
    """The architecture that a module was built from and still has.

    None where it is no `Network`, or its layers were changed (another head, say).
    """
    if not isinstance(module, Network):
        return None
    with torch.device("meta"):
        built = Network(module.arch).state_dict()
    own = module.state_dict()
    same = list(own) == list(built) and all(own[key].shape == built[key].shape for key in own)
    return module.arch if same else None


def set_drop_path(network: Network, rate: float) -> None:
    """Sets drop-path for training: rates that rise linearly to that of the last residual block.

    Args:
        network: changed in place; evaluation is not affected.
        rate: rate of the last residual block, in [0, 1).
    """
    if network.arch.wiring:
        trees = sum(isinstance(part, TreeBlock) for part in network.arch.wiring)
        network.drop_rates = linear_rates(rate, trees) if rate > 0 else []
        return
    residuals = [block for block in network.blocks if isinstance(block, Residual)]
    for block, value in zip(residuals, linear_rates(rate, len(residuals)), strict=True):
        block.drop_rate = value


def build_network(arch: Architecture, seed: int | None = None) -> Network:
    """Builds the torch module of an architecture, NCHW, with freshly drawn weights.

    Args:
        arch: the architecture; its num_classes is the width of the output.
        seed: seeds the weights; the global generator is used when None.

    Raises:
        ArchitectureError: no architecture, or an op is unknown.

    Example:
        >>> import proxyless_hw as ph
        >>> network = ph.build_network(ph.load_architecture("proxyless-mobile"), seed=0)
        >>> network.arch.num_classes
        1000
    """
    require_architecture(arch)
    network = Network(arch)
    init_weights(network, seed)
    for part in arch.wiring:
        if isinstance(part, TreeBlock) and part.norm is not None:
            # Each of the many residual blocks starts as its shortcut (Goyal et al., 2017): before
            # running statistics are known the sums would otherwise grow beyond float32.
            for norm in network.blocks[part.norm].modules():
                if isinstance(norm, nn.BatchNorm2d):
                    nn.init.zeros_(norm.weight)
    return network
