"""The network that passes between two calls of an op, for runtimes that compile code per layer.

Between two runs of an op inside a network, the rest of the network runs. Its data pass through
the caches, and so does its code. A runtime with one set of kernels keeps that code warm anyway.
One that compiles a kernel for each layer's shape does not: an op that is called again and again is
then faster than inside a network, however much data is read between its calls. So a network is run
before each call. It has eight blocks of different shapes: layers of one network often share a
shape, and so a kernel.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from proxyless_hw.profilers.models.building import WEIGHT_SEED

if TYPE_CHECKING:
    from torch import nn

_SIDE: Final = 4
"""Height and width of its maps in pixels: with small ones, its weights make up what it moves."""

_EXPAND: Final = 4
_WIDTHS: Final = (2, 2, 3, 3, 4, 5, 6, 6, 8)
"""Channels between its eight blocks, in units: shapes differ as those of a network do."""

_KERNELS: Final = (3, 5, 7)


def passing_network(megabytes: float, batch_size: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of eight inverted bottlenecks whose weights take so much memory.

    Args:
        megabytes: of its weights in fp32, about; with the smallest it has 8 channels.
        batch_size: images per call.

    Returns:
        The module, and the (N, C, H, W) shape of what goes in.
    """
    from torch import nn

    from proxyless_hw.network.ops import build_layer, init_weights
    from proxyless_hw.space.specs import BatchNormSpec, LayerSpec

    pairs = list(pairwise(_WIDTHS))
    weights_of_one = sum(_EXPAND * before * (before + after) for before, after in pairs)
    unit = max(4, round((megabytes * 2**20 / 4 / weights_of_one) ** 0.5))
    layers = [
        build_layer(
            LayerSpec(
                "mbconv",
                before * unit,
                after * unit,
                kernel=_KERNELS[number % len(_KERNELS)],
                expand=_EXPAND,
                skip=before == after,
                act="relu6",
            ),
            BatchNormSpec(),
        )
        for number, (before, after) in enumerate(pairs)
    ]
    network = nn.Sequential(*layers)
    init_weights(network, WEIGHT_SEED)
    return network.eval(), (batch_size, _WIDTHS[0] * unit, _SIDE, _SIDE)
