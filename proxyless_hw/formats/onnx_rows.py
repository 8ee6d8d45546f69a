"""Which ``uib`` or ``fused_mbconv`` convolutions in a row of an ONNX graph are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxyless_hw.formats.onnx_graph import Node
from proxyless_hw.space.bottlenecks import start_options
from proxyless_hw.space.specs import LayerSpec

LONGEST_ROW = 4
"""Convolutions of the longest block: two depthwise ones, an expansion, a projection."""


@dataclass(frozen=True)
class Convolution:
    """A convolution and the activation after it; `output` is the tensor behind both."""

    node: Node
    in_c: int
    out_c: int
    kernel: int
    stride: int
    groups: int
    has_bias: bool
    act: str
    output: str

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.in_c == self.out_c and self.groups > 1

    @property
    def is_pointwise(self) -> bool:
        return self.kernel == 1 and self.stride == 1 and not self.is_depthwise


def row_block(
    row: Sequence[Convolution], joins: Callable[[str], bool], *, is_stem: bool
) -> tuple[LayerSpec, str] | None:
    """The block that a row begins with, without its shortcut, and the tensor behind its projection.

    Two 1x1 convolutions are an FFN where a shortcut leads around them, and two layers otherwise.
    The first convolution of a network is its stem.

    Args:
        row: convolutions, each the only reader of what the one before it gives.
        joins: ``joins(tensor)`` says whether a residual addition takes a tensor and what the row
            takes.
        is_stem: whether the row begins the network.

    Returns:
        None where the row does not begin with such a block.
    """
    rest = list(row)
    start = rest.pop(0) if rest[0].is_depthwise and rest[0].act == "none" else None
    if len(rest) < 2 or not all(conv.has_bias for conv in row[:2]):
        return None
    expand = rest.pop(0)
    if expand.act == "none" or expand.groups > 1 or (start is not None and not expand.is_pointwise):
        return None
    middle = None
    if expand.is_pointwise and rest[0].is_depthwise and rest[0].act == expand.act:
        middle = rest.pop(0)
    if not rest or not rest[0].is_pointwise or rest[0].groups > 1 or rest[0].act != "none":
        return None
    end = rest[0].output
    op, kernel, stride = "uib", middle.kernel if middle else 1, 1
    if start is not None:
        if middle is not None and start.stride > 1:
            return None
        stride = (middle or start).stride
    elif not expand.is_pointwise:
        op, kernel, stride = "fused_mbconv", expand.kernel, expand.stride
    if start is None and (middle is not None or is_stem or (op == "uib" and not joins(end))):
        return None
    in_c, mid_c = expand.in_c, expand.out_c
    block = LayerSpec(
        op,
        in_c,
        rest[0].out_c,
        kernel=kernel,
        stride=stride,
        expand=mid_c // in_c if mid_c % in_c == 0 else mid_c / in_c,
        act=expand.act,
        options=start_options(start.kernel if start else 1),
    )
    return block, end
