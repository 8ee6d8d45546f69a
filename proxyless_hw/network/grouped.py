"""The 1x1 convolutions of a bottleneck as dense matrices, also where they are grouped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proxyless_hw.network.ops import MBConv


@dataclass(frozen=True)
class DenseView:
    """The weight of a 1x1 convolution as a matrix (out_c, in_c), 0 where groups do not connect.

    Attributes:
        weight: the convolution's own, (out_c, in_c / groups, 1, 1).
        columns: the matrix's column of each of its entries, (out_c, in_c / groups).
        order: the output channel that stands in each row: channels may be shuffled behind it.
        in_c: input channels.
    """

    weight: Tensor
    columns: Tensor
    order: Tensor
    in_c: int

    @property
    def connected(self) -> Tensor:
        """Which entries the convolution holds, bool (out_c, in_c)."""
        kept = torch.zeros((len(self.weight), self.in_c), dtype=torch.bool)
        return kept.scatter_(1, self.columns, value=True)[self.order]

    def read(self) -> Tensor:
        """The matrix, a copy."""
        dense = self.weight.new_zeros((len(self.weight), self.in_c))
        return dense.scatter_(1, self.columns, self.weight.flatten(1))[self.order]

    def write(self, dense: Tensor) -> None:
        """Changes the convolution's weight to the entries of a matrix that it holds."""
        rows = torch.empty_like(dense)
        rows[self.order] = dense
        self.weight.copy_(rows.gather(1, self.columns).reshape(self.weight.shape))


def dense_views(block: MBConv) -> tuple[DenseView, DenseView]:
    """Expansion and projection; rows and columns between them are as the depthwise layer's."""
    assert block.expand is not None, "a block without expansion has one 1x1 convolution"
    expand = _convolution(block.expand)
    order = torch.arange(expand.out_channels)
    if block.shuffle is not None:
        order = block.shuffle(order.reshape(1, -1, 1, 1)).flatten()
    project = _convolution(block.project)
    return _view(expand, order), _view(project, torch.arange(project.out_channels))


def _view(conv: nn.Conv2d, order: Tensor) -> DenseView:
    out_c, per_group = conv.weight.shape[:2]
    group = torch.arange(out_c) // (out_c // conv.groups)
    columns = group[:, None] * per_group + torch.arange(per_group)
    return DenseView(conv.weight.data, columns, order, conv.in_channels)


def _convolution(part: nn.Module) -> nn.Conv2d:
    conv = part.get_submodule("conv")
    assert isinstance(conv, nn.Conv2d)
    return conv
