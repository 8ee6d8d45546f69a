"""The network that passes between two calls of an op, for runtimes that compile code per layer.

Between two runs of an op inside a network, the rest of the network runs. Its data pass through
the caches, and so does its code. A runtime with one set of kernels keeps that code warm anyway.
One that compiles a kernel for each layer's shape does not: an op that is called again and again is
then faster than inside a network, however much data is read between its calls. So a network is run
before each call, as deep as networks of the usual spaces.
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
_WIDTHS: Final = (2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 8, 8)
"""Channels between its 16 blocks, in units: shapes differ as those of a network do."""

_KERNELS: Final = (3, 5, 7)
_MOST_UNITS: Final = 1024


def passing_network(megabytes: float, batch_size: int) -> tuple[nn.Module, tuple[int, ...]]:
    """A network of 16 inverted bottlenecks whose weights take so much memory.

    Args:
        megabytes: of its weights in fp32, about. The smallest network has 8 channels.
        batch_size: images per call.

    Returns:
        The module, and the (N, C, H, W) shape of what goes in.
    """
    from torch import nn

    from proxyless_hw.network.ops import build_layer, init_weights
    from proxyless_hw.space.specs import BatchNormSpec, LayerSpec

    wanted = megabytes * 2**20 / 4
    unit = min(range(4, _MOST_UNITS), key=lambda unit: abs(_weights(unit) - wanted))
    layers = [
        build_layer(
            LayerSpec(
                "mbconv",
                before * unit,
                after * unit,
                kernel=_kernel(number),
                expand=_EXPAND,
                skip=before == after,
                act="relu6",
            ),
            BatchNormSpec(),
        )
        for number, (before, after) in enumerate(pairwise(_WIDTHS))
    ]
    network = nn.Sequential(*layers)
    init_weights(network, WEIGHT_SEED)
    return network.eval(), (batch_size, _WIDTHS[0] * unit, _SIDE, _SIDE)


def _kernel(number: int) -> int:
    return _KERNELS[number % len(_KERNELS)]


def _weights(unit: int) -> int:
    """Weights of its convolutions where a unit has so many channels."""
    return sum(
        _EXPAND * before * unit * ((before + after) * unit + _kernel(number) ** 2)
        for number, (before, after) in enumerate(pairwise(_WIDTHS))
    )
