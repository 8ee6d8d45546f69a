"""What stands before and after an op whose runtime lays maps out in its own way.

Alone, an op pays for reordering its input and its output, which a network does not. So the op is
called with a convolution before it, which writes its input in the runtime's own layout, and one
after it, which reads that layout. Both are as cheap as a convolution can be: the first reads one
channel, the second is depthwise and computes one pixel. What the two cost without the op is
measured as well, and taken off (see `host.surrounded`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.models.building import (
    WEIGHT_SEED,
    build_module,
    gives_output,
    takes_input,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

_SIDE: Final = 2
"""Kernel of the convolution after an op: rewriting a model for speed moves a stride past 1x1."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The two convolutions without an op between them.

    Attributes:
        channels: of the map that the first one writes and the second one reads.
        height, width: of that map in pixels.
        before: whether the first one is there; without it the map is the input.
    """

    channels: int
    height: int
    width: int
    before: bool = True

    @property
    def name(self) -> str:
        """What messages call them."""
        side = "convolutions around" if self.before else "a convolution after"
        return f"{side} {self.height}x{self.width}x{self.channels}"


def surroundings_of(workload: Workload) -> Surroundings | None:
    """What an op is called with beyond itself; None for networks, files and what is called alone.

    An op that takes the network's input has nothing before it. The convolution after it computes
    one pixel, from a map of that pixel's size, whose layout costs nothing.
    """
    op = workload.op
    if op is None or op.op == "zero" or (takes_input(workload) and gives_output(workload)):
        return None
    if takes_input(workload):
        side = min(_SIDE, op.out_h, op.out_w)
        return Surroundings(op.out_c, side, side, before=False)
    return Surroundings(op.in_c, op.in_h, op.in_w)


def build_surrounded(
    item: Workload | Surroundings, batch_size: int
) -> tuple[nn.Module, tuple[int, ...]]:
    """An op with its surroundings, surroundings alone, or a network; and its input's shape."""
    if isinstance(item, Surroundings):
        return only_surroundings(item, batch_size)
    return surrounded_op(item, batch_size)


def surrounded_op(workload: Workload, batch_size: int) -> tuple[nn.Module, tuple[int, ...]]:
    """An op between its convolutions, and the (N, C, H, W) shape of what goes in."""
    module, shape = build_module(workload, batch_size)
    around, op = surroundings_of(workload), workload.op
    if around is None or op is None:
        return module, shape
    after = None if gives_output(workload) else _after(op.out_c, op.out_h, op.out_w)
    if not around.before:
        return _chain(None, module, after), shape
    return _chain(_before(op.in_c), module, after), (batch_size, 1, op.in_h, op.in_w)


def only_surroundings(around: Surroundings, batch_size: int) -> tuple[nn.Module, tuple[int, ...]]:
    """The convolutions alone, and the (N, C, H, W) shape of what goes in."""
    before = _before(around.channels) if around.before else None
    after = _after(around.channels, around.height, around.width)
    channels = 1 if around.before else around.channels
    return _chain(before, None, after), (batch_size, channels, around.height, around.width)


def _before(channels: int) -> nn.Module:
    """Writes a map of many channels from one. The activation keeps an op's first layer apart."""
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, channels, 1), nn.ReLU())


def _after(channels: int, height: int, width: int) -> nn.Module:
    from torch import nn

    kernel = (min(_SIDE, height), min(_SIDE, width))
    return nn.Conv2d(channels, channels, kernel, stride=(height, width), groups=channels)


def _chain(
    before: nn.Module | None, module: nn.Module | None, after: nn.Module | None
) -> nn.Module:
    from torch import nn

    from proxyless_hw.network.ops import init_weights

    class Surrounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = before
            self.module = module
            self.after = after

        def forward(self, x: Tensor) -> Tensor:
            for part in (self.before, self.module, self.after):
                x = x if part is None else part(x)
            return x

    whole = Surrounded()
    init_weights(whole, WEIGHT_SEED)
    return whole.eval()
