"""Blocks that are convolutions in a row: what ``uib`` and ``fused_mbconv`` consist of.

The one place that says so. The torch module, the counts of weights, multiply-accumulates and
bytes, and what a regression sees of such a block all follow from `inner_convolutions`. Each
convolution has a BatchNorm behind it.

The universal inverted bottleneck (Qin et al., MobileNetV4, ECCV 2024, section 3) has a 1x1
expansion and a 1x1 projection, and optionally a depthwise convolution before and another one
between them: ExtraDW has both, ConvNext the first, FFN neither. The fourth form, with only the
second, is the inverted bottleneck: op ``mbconv``, so that one block has one row in a table.

The fused inverted bottleneck (EfficientNet-EdgeTPU, EfficientNetV2) expands by a k x k convolution
and projects by a 1x1 one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxyless_hw.errors import did_you_mean
from proxyless_hw.space.op_names import START_KERNEL
from proxyless_hw.space.op_options import NO_OPTIONS, OpOptions
from proxyless_hw.space.specs import LayerSpec, OpSpec

MAX_KERNEL: Final = 31


@dataclass(frozen=True, slots=True)
class InnerConvolution:
    """One convolution of a block, with BatchNorm.

    Attributes:
        name: of its module.
        in_c, out_c: channels in and out.
        kernel, stride: as of a layer; padding is half the kernel.
        depthwise: one group per channel; otherwise one group.
        activated: whether the block's activation follows.
    """

    name: str
    in_c: int
    out_c: int
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    activated: bool = False

    @property
    def groups(self) -> int:
        """Groups of the convolution."""
        return self.in_c if self.depthwise else 1

    @property
    def weights(self) -> int:
        """Weights, without those of its BatchNorm."""
        return self.kernel**2 * self.in_c * self.out_c // self.groups


def inner_convolutions(layer: LayerSpec | OpSpec) -> tuple[InnerConvolution, ...]:
    """The convolutions of a ``uib`` or ``fused_mbconv``, in the order in which they run."""
    return tuple(_uib(layer) if layer.op == "uib" else _fused(layer))


def sized_convolutions(op: OpSpec) -> Iterator[tuple[InnerConvolution, int, int]]:
    """The convolutions of a block at a size, each with height times width in and out."""
    height, width = op.in_h, op.in_w
    for convolution in inner_convolutions(op):
        area_in = height * width
        height, width = -(-height // convolution.stride), -(-width // convolution.stride)
        yield convolution, area_in, height * width


def _uib(layer: LayerSpec | OpSpec) -> Iterator[InnerConvolution]:
    in_c, mid_c, start, middle = layer.in_c, layer.mid_c, layer.start_kernel, layer.kernel
    if start > 1:
        stride = layer.stride if middle == 1 else 1
        yield InnerConvolution("start", in_c, in_c, start, stride, depthwise=True)
    yield InnerConvolution("expand", in_c, mid_c, activated=True)
    if middle > 1:
        yield InnerConvolution(
            "depthwise", mid_c, mid_c, middle, layer.stride, depthwise=True, activated=True
        )
    yield InnerConvolution("project", mid_c, layer.out_c)


def _fused(layer: LayerSpec | OpSpec) -> Iterator[InnerConvolution]:
    mid_c = layer.mid_c
    yield InnerConvolution("expand", layer.in_c, mid_c, layer.kernel, layer.stride, activated=True)
    yield InnerConvolution("project", mid_c, layer.out_c)


def start_options(kernel: int) -> OpOptions:
    """The options of a ``uib`` with a depthwise convolution of this size at its start (1: none)."""
    return NO_OPTIONS if kernel == 1 else OpOptions({START_KERNEL: kernel})


def built_in_options(op: str, given: Mapping[str, object]) -> OpOptions:
    """The options of a built-in op. What says nothing is left out: one block has one key.

    Raises:
        ValueError: the op takes no such option, or the value is not one of its.
    """
    known = (START_KERNEL,) if op == "uib" else ()
    for name in given:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no options"
            near = did_you_mean(str(name), known)
            raise ValueError(f"op '{op}' {takes}: received {str(name)[:60]}.{near}")
    kernel = given.get(START_KERNEL, 1)
    if type(kernel) is not int or not 1 <= kernel <= MAX_KERNEL or kernel % 2 == 0:
        raise ValueError(
            f"{START_KERNEL} is an odd kernel from 1 (no convolution) to {MAX_KERNEL}: received "
            f"{str(kernel)[:60]!r}"
        )
    return start_options(kernel)


def broken_rule(layer: LayerSpec) -> str | None:
    """The rule that a ``uib`` or ``fused_mbconv`` breaks, with the next step; None without one."""
    if layer.se:
        return f"'{layer.op}' has no squeeze-and-excite: received se {layer.se}. Write mbconv"
    if layer.op == "fused_mbconv":
        return None
    if layer.kernel > 1 and layer.start_kernel == 1:
        return (
            "a 'uib' with a depthwise convolution in its middle alone is the inverted bottleneck. "
            "Write mbconv, its one name (mbconv_pw where it does not expand)"
        )
    if layer.stride > 1 and layer.kernel == layer.start_kernel == 1:
        return (
            f"a 'uib' without depthwise convolutions has stride 1: received {layer.stride}. Give "
            f"{START_KERNEL}, or write mbconv"
        )
    return None
