"""What a regression sees of an op: its work (for the baseline), its shape (for the residual).

A table row is one op, but a device runs an `mbconv` as two or three layers whose costs follow
different rules: a 1x1 convolution is bound by arithmetic, a depthwise one by memory. So an op is
split into parts of a *kind*, and each kind gets its own rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.space.bottlenecks import sized_convolutions
from proxyless_hw.space.counting import op_bytes, op_macs
from proxyless_hw.space.op_names import CONVOLUTION_BLOCKS
from proxyless_hw.space.op_options import NO_OPTIONS
from proxyless_hw.space.specs import OpSpec, has_expansion, op_variant, squeeze_width

FloatArray = NDArray[np.float64]

Kind = Literal["pointwise", "depthwise", "dense", "linear", "addition", "squeeze", "other"]
"""1x1 convolution; depthwise; other convolution (grouped 1x1 ones too); linear; residual addition;
squeeze-and-excite; the rest (pooling, channel shuffle, a third party's op)."""

WORK: Final = (
    *("calls", "pointwise_macs", "pointwise_padding", "pointwise_outputs", "depthwise_macs"),
    *("dense_macs",),
    *("dense_outputs", "linear_weights", "added", "other_macs", "other_moved"),
    *("layers", "squeezes", "channels", "activations"),
)
"""Columns of `work_features` that every baseline has.

The last line is what a layer costs however little it computes: its launch, that of
squeeze-and-excite, each channel, and elements of activations that run on their own. Small and
narrow ops spend most of their time there, so a table of wider ops foretells them only if these
have rates of their own.
"""

OPTIONAL_WORK: Final = frozenset({"activations"})
"""Columns whose work an op may do though no row of a table does: it is then extrapolated."""

SEPARATE_ACTIVATIONS: Final = ("hswish", "swish")
"""Not fused into the layer before them by most runtimes."""

BLOCK: Final = 16
"""Channels that wide vector units take at once; a layer of 24 costs them as much as one of 32."""

SHAPE_FEATURES: Final = (
    *("log_area", "log_in_c", "log_out_c", "log_kernel", "log_expand", "stride", "skip"),
    *("squeeze", "hard_swish", "in_alignment", "mid_alignment", "out_alignment", "mbconv", "conv"),
    *("log_macs", "log_bytes", "log_intensity"),
    *("swish", "unexpanded", "log_groups"),
    *("log_start_kernel", "uib", "fused_mbconv"),
)
"""Columns of `shape_features`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One layer inside an op.

    Attributes:
        kind: what rule its cost follows.
        macs: multiply-accumulates.
        moved: activations read and written, in elements.
        weights: weights read, in elements.
        area: output height times width.
        in_c, out_c: channels in and out.
        kernel, stride: of the layer.
    """

    kind: Kind
    macs: float
    moved: float
    weights: float
    area: int
    in_c: int
    out_c: int
    kernel: int = 1
    stride: int = 1


def op_parts(op: OpSpec) -> list[Part]:
    """The layers an op consists of, in the order they run.

    Raises:
        ArchitectureError: a third party's op that does not count itself.
    """
    return [*_layers(op), *([_addition(op)] if op.skip else [])]


def _addition(op: OpSpec) -> Part:
    size = op.out_h * op.out_w * op.out_c
    return Part("addition", 0, 3 * size, 0, op.out_h * op.out_w, op.out_c, op.out_c)


def _layers(op: OpSpec) -> Iterator[Part]:
    area_in, area = op.in_h * op.in_w, op.out_h * op.out_w
    variant = op_variant(op.op)
    match variant.base:
        case "uib" | "fused_mbconv":
            yield from _block_layers(op)
        case "conv" if op.kernel == 1 and variant.groups == 1:
            yield _pointwise(area, op.in_c, op.out_c)
        case "conv":
            weights = op.kernel**2 * op.in_c * op.out_c // variant.groups
            moved = area_in * op.in_c + area * op.out_c
            yield Part(
                "dense", weights * area, moved, weights,
                area, op.in_c, op.out_c, op.kernel, op.stride,
            )  # fmt: skip
        case "sepconv":
            yield _depthwise(op, area_in, area, op.in_c)
            yield _pointwise(area, op.in_c, op.out_c)
        case "mbconv":
            if has_expansion(op):
                yield _pointwise(area_in, op.in_c, op.mid_c, variant.groups)
            if variant.shuffle:
                moved = 2 * area_in * op.mid_c
                yield Part("other", 0, moved, 0, area_in, op.mid_c, op.mid_c)
            yield _depthwise(op, area_in, area, op.mid_c)
            if op.se:
                squeezed = squeeze_width(op.mid_c, op.se)
                weights = 2 * op.mid_c * squeezed
                moved = 3 * area * op.mid_c
                yield Part("squeeze", weights, moved, weights, 1, op.mid_c, op.mid_c)
            yield _pointwise(area, op.mid_c, op.out_c, variant.groups)
        case "classifier":
            weights = op.in_c * op.out_c
            moved = area_in * op.in_c + op.out_c
            yield Part("linear", weights, moved, weights, 1, op.in_c, op.out_c)
        case _:
            yield Part(
                "other", op_macs(op), op_bytes(op) / 4, 0,
                area, op.in_c, op.out_c, op.kernel,
            )  # fmt: skip


def _block_layers(op: OpSpec) -> Iterator[Part]:
    """The convolutions of a ``uib`` or ``fused_mbconv``."""
    for inner, area_in, area in sized_convolutions(op):
        kind: Kind = "pointwise" if inner.kernel == 1 else "dense"
        yield Part(
            kind="depthwise" if inner.depthwise else kind,
            macs=inner.weights * area,
            moved=area_in * inner.in_c + area * inner.out_c,
            weights=inner.weights,
            area=area,
            in_c=inner.in_c,
            out_c=inner.out_c,
            kernel=inner.kernel,
            stride=inner.stride,
        )


def _pointwise(area: int, in_c: int, out_c: int, groups: int = 1) -> Part:
    weights = in_c * out_c // groups
    kind: Kind = "pointwise" if groups == 1 else "dense"
    return Part(kind, weights * area, area * (in_c + out_c), weights, area, in_c, out_c)


def _depthwise(op: OpSpec, area_in: int, area: int, channels: int) -> Part:
    weights = op.kernel**2 * channels
    moved = (area_in + area) * channels
    return Part(
        "depthwise", weights * area, moved, weights,
        area, channels, channels, op.kernel, op.stride,
    )  # fmt: skip


def work_columns(kernels: Sequence[int]) -> list[str]:
    """Names of the columns of `work_features`."""
    return [*WORK, *(f"depthwise_k{kernel}_macs" for kernel in kernels)]


def work_features(ops: Sequence[OpSpec], kernels: Sequence[int] = ()) -> FloatArray:
    """Amounts of work whose weighted sum is the baseline's cost, (n, len(work_columns(kernels))).

    All in millions, except for calls, layers and squeeze-and-excites (counts) and channels
    (thousands).

    Args:
        ops: the ops.
        kernels: depthwise kernel sizes with a rate of their own on top of the common one: some
            runtimes have a fast routine for some sizes only.

    Raises:
        ArchitectureError: a third party's op that does not count itself.
    """
    names = work_columns(kernels)
    at = {name: column for column, name in enumerate(names)}
    rows = np.zeros((len(ops), len(names)))
    for row, op in zip(rows, ops, strict=True):
        row[at["calls"]] = 1.0
        for name, amount in _work(op):
            if name in at:
                row[at[name]] += amount / 1e6
    return rows


def _work(op: OpSpec) -> Iterator[tuple[str, float]]:
    for part in op_parts(op):
        yield from _beside_arithmetic(part)
        match part.kind:
            case "pointwise":
                yield "pointwise_macs", part.macs
                yield "pointwise_padding", _padded(part) - part.macs
                # A matrix product starts and ends once per output, however few inputs it sums.
                yield "pointwise_outputs", float(part.area * part.out_c)
            case "depthwise":
                yield "depthwise_macs", part.macs
                yield f"depthwise_k{part.kernel}_macs", part.macs
            case "dense":
                yield "dense_macs", part.macs
                yield "dense_outputs", float(part.area * part.out_c)
            case "linear":
                yield "linear_weights", part.weights
            case "addition":
                yield "added", part.moved / 3
            case _:
                yield "other_macs", part.macs
                yield "other_moved", part.moved
    yield "activations", float(sum(activation_sizes(op)))


def _beside_arithmetic(part: Part) -> Iterator[tuple[str, float]]:
    if part.kind == "squeeze":
        yield "squeezes", 1e6
    if part.kind in ("pointwise", "depthwise", "dense", "linear"):
        yield "layers", 1e6
    if part.kind in ("pointwise", "depthwise", "dense"):
        yield "channels", 1e3 * part.out_c


def activation_sizes(op: OpSpec) -> list[int]:
    """Elements of each activation of an op that runs on its own, not fused into a layer."""
    if op.act not in SEPARATE_ACTIVATIONS:
        return []
    if op.op in CONVOLUTION_BLOCKS:
        sized = sized_convolutions(op)
        return [area * inner.out_c for inner, _, area in sized if inner.activated]
    area, area_in = op.out_h * op.out_w, op.in_h * op.in_w
    if op_variant(op.op).base != "mbconv":
        return [area * op.out_c]
    return [area * op.mid_c, *([area_in * op.mid_c] if has_expansion(op) else [])]


def shape_features(ops: Sequence[OpSpec]) -> FloatArray:
    """What tells ops apart, scaled so that 1 is a notable difference, (n, len(SHAPE_FEATURES))."""
    return np.array([_shape_row(op) for op in ops]).reshape(len(ops), len(SHAPE_FEATURES))


def _shape_row(op: OpSpec) -> list[float]:
    parts = op_parts(op)
    macs = sum(part.macs for part in parts) + 1.0
    moved = 4 * sum(part.moved + part.weights for part in parts) + 1.0
    variant = op_variant(op.op)
    grouped = variant.groups if variant.base == "mbconv" else 1
    values = {
        "log_area": math.log(op.in_h * op.in_w) / 1.5,
        "log_in_c": math.log(op.in_c) / 0.8,
        "log_out_c": math.log(op.out_c) / 0.8,
        "log_kernel": math.log(op.kernel) / 0.35,
        "log_expand": math.log(op.expand) / 0.35,
        "stride": 2.0 * op.stride,
        "skip": 2.0 * op.skip,
        "squeeze": 2.0 * (op.se > 0),
        "hard_swish": 2.0 * (op.act == "hswish"),
        "swish": 2.0 * (op.act == "swish"),
        "in_alignment": 4.0 * _alignment(op.in_c),
        "mid_alignment": 4.0 * _alignment(op.mid_c),
        "out_alignment": 4.0 * _alignment(op.out_c),
        "mbconv": 4.0 * (variant.base == "mbconv"),
        "conv": 4.0 * (variant.base == "conv"),
        "unexpanded": 2.0 * variant.pw,
        "log_groups": math.log(grouped) / 0.35,
        "log_start_kernel": math.log(op.start_kernel) / 0.35,
        "uib": 4.0 * (op.op == "uib"),
        "fused_mbconv": 4.0 * (op.op == "fused_mbconv"),
        "log_macs": math.log(macs),
        "log_bytes": math.log(moved),
        "log_intensity": math.log(macs / moved),
    }
    return [values[name] for name in SHAPE_FEATURES]


def _padded(part: Part) -> float:
    """Multiply-accumulates of a 1x1 convolution whose channels are filled up to whole blocks."""
    blocks_in, blocks_out = math.ceil(part.in_c / BLOCK), math.ceil(part.out_c / BLOCK)
    return float(part.area * BLOCK * blocks_in * BLOCK * blocks_out)


def _alignment(channels: int) -> float:
    """Share of the lanes in use when channels are packed in blocks."""
    return channels / (BLOCK * math.ceil(channels / BLOCK))


def shape_group(op: OpSpec) -> str:
    """What ops of one shape share: every column but kernels and expand."""
    options = NO_OPTIONS if op.op == "uib" else op.options
    return replace(op, kernel=1, expand=1, options=options).key


def family(op: OpSpec) -> tuple[str, int, int]:
    """(op, kernel, stride): ops that a runtime treats alike, up to size.

    A ``uib`` is named with the kernel at its start: ``uib 5``.
    """
    name = f"{op.op} {op.start_kernel}" if op.start_kernel > 1 else op.op
    return name, op.kernel, op.stride
