"""Tensors flowing through a wiring: the one forward pass that networks and supernets share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from proxyless_hw.network.drop_path import drop_path
from proxyless_hw.network.variants import widened
from proxyless_hw.space.wiring import Wiring, flow_through


class TensorFlow:
    """The algebra of feature maps (N, C, H, W).

    Args:
        apply: ``apply(number, x)`` gives the output of the layer of that number.
        drop_rates: drop-path rate of each tree block, in order; empty for none.
    """

    def __init__(
        self, apply: Callable[[int, Tensor], Tensor], drop_rates: Sequence[float] = ()
    ) -> None:
        self.layer = apply
        self.drop_rates = list(reversed(drop_rates))

    def split(self, x: Tensor, widths: Sequence[int]) -> Sequence[Tensor]:
        """Splits x along its channels."""
        return x.split(list(widths), dim=1)  # type: ignore[no-any-return, no-untyped-call]

    def add(self, parts: Sequence[Tensor]) -> Tensor:
        """The sum, from the last part to the first as the published code adds."""
        total = parts[-1]
        for part in reversed(parts[:-1]):
            total = part + total
        return total

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        """The concatenation along the channels."""
        return torch.cat(list(parts), dim=1)

    def add_widened(self, narrow: Tensor, wide: Tensor) -> Tensor:
        """The sum, with zero channels appended to the first."""
        if self.drop_rates:
            rate = self.drop_rates.pop()
            wide = drop_path(wide, rate) if rate > 0 else wide
        return widened(narrow, wide.shape[1]) + wide


def run_wired(
    wiring: Wiring,
    count: int,
    x: Tensor,
    apply: Callable[[int, Tensor], Tensor],
    drop_rates: Sequence[float] = (),
) -> Tensor:
    """Sends feature maps through `count` layers as the wiring connects them.

    Args:
        wiring: tree blocks and single layers; empty for a chain.
        count: number of layers.
        x: (N, C, H, W).
        apply: ``apply(number, x)`` gives the output of one layer.
        drop_rates: drop-path rate of each tree block, in order; empty for none.
    """
    return flow_through(wiring, count, x, TensorFlow(apply, drop_rates))
