"""Parameters, MACs and bytes of ops and networks, from their shapes alone: no forward pass.

Counted as in the published code: multiply-accumulates of convolutions and linear layers; pooling,
normalisation, activations and additions count as none. Ops of one's own are counted by torch,
on the built module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proxyless_hw.space.architecture import Architecture, require_architecture
from proxyless_hw.space.bottlenecks import sized_convolutions
from proxyless_hw.space.built_counts import built_counts
from proxyless_hw.space.specs import OpSpec, has_expansion, op_variant, squeeze_width

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Part:
    """One primitive inside an op: a weight layer with what it reads and writes, in elements."""

    weights: int
    macs: int
    reads: int
    writes: int


def op_parameters(op: OpSpec) -> int:
    """Trainable parameters of an op.

    Raises:
        ArchitectureError, BackendUnavailableError: an op of one's own cannot be built or run.
    """
    if _is_custom(op):
        return built_counts(op).parameters
    return sum(part.weights for part in _parts(op))


def op_macs(op: OpSpec) -> int:
    """Multiply-accumulates of an op on one image.

    Raises:
        ArchitectureError, BackendUnavailableError: an op of one's own cannot be built or run.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.op_macs(ph.OpSpec("conv", 32, 32, 3, 16, 16, 8, kernel=3, stride=2))
        55296
    """
    return built_counts(op).macs if _is_custom(op) else sum(part.macs for part in _parts(op))


def op_bytes(op: OpSpec) -> int:
    """Bytes an op moves in float32 when every layer reads its input and writes its output once.

    BatchNorm and activation are taken as fused into the layer before them, as runtimes do.

    Raises:
        ArchitectureError, BackendUnavailableError: an op of one's own cannot be built or run.
    """
    if _is_custom(op):
        elements = op_parameters(op) + _size_in(op) + _size_out(op)
    else:
        elements = sum(part.weights + part.reads + part.writes for part in _parts(op))
    return FLOAT32_BYTES * (elements + (2 * _size_out(op) if op.skip else 0))


def count_parameters(arch: Architecture) -> int:
    """Trainable parameters of a network.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.count_parameters(ph.load_architecture("proxyless-mobile"))
        4080512
    """
    require_architecture(arch)
    return sum(op_parameters(op) for op in arch.ops())


def count_macs(arch: Architecture, resolution: int | None = None) -> int:
    """Multiply-accumulates of a network on one image at a resolution (default: its own).

    Example:
        >>> import proxyless_hw as ph
        >>> ph.count_macs(ph.load_architecture("proxyless-mobile"))
        320427584
    """
    require_architecture(arch)
    return sum(op_macs(op) for op in arch.ops(resolution))


def _size_in(op: OpSpec) -> int:
    return op.in_h * op.in_w * op.in_c


def _size_out(op: OpSpec) -> int:
    return op.out_h * op.out_w * op.out_c


def _parts(op: OpSpec) -> Iterator[_Part]:
    variant = op_variant(op.op)
    size_in, size_out = _size_in(op), _size_out(op)
    area_in, area_out = op.in_h * op.in_w, op.out_h * op.out_w
    norm = 0 if variant.no_norm else 2 * (op.in_c if variant.pre else op.out_c)
    taps = op.kernel * op.kernel
    match variant.base:
        case "conv":
            weights = taps * op.in_c * op.out_c // variant.groups
            bias = op.out_c if variant.bias else 0
            yield _Part(weights + bias + norm, weights * area_out, size_in, size_out)
        case "sepconv":
            middle = area_out * op.in_c
            yield _Part(taps * op.in_c, taps * middle, size_in, middle)
            weights = op.in_c * op.out_c // variant.groups
            bias = op.out_c if variant.bias else 0
            yield _Part(weights + bias + norm, weights * area_out, middle, size_out)
        case "mbconv":
            yield from _mbconv_parts(op, area_in, area_out)
        case "uib" | "fused_mbconv":
            for inner, before, after in sized_convolutions(op):
                weights = inner.weights
                reads, writes = before * inner.in_c, after * inner.out_c
                yield _Part(weights + 2 * inner.out_c, weights * after, reads, writes)
        case "classifier":
            weights = op.in_c * op.out_c
            yield _Part(weights + op.out_c, weights, size_in, op.out_c)
        case "pool":
            yield _Part(0, 0, size_in, size_out)
        case "avgpool" | "maxpool":
            yield _Part(norm if variant.pre else 0, 0, size_in, size_out)
        case "identity" if variant.pre or op.act != "none":
            yield _Part(norm if variant.pre else 0, 0, size_in, size_out)


def _mbconv_parts(op: OpSpec, area_in: int, area_out: int) -> Iterator[_Part]:
    mid_c = op.mid_c
    before, after = area_in * mid_c, area_out * mid_c
    groups = op_variant(op.op).groups
    if has_expansion(op):
        weights = op.in_c * mid_c // groups
        yield _Part(weights + 2 * mid_c, weights * area_in, _size_in(op), before)
    taps = op.kernel * op.kernel
    yield _Part(taps * mid_c + 2 * mid_c, taps * after, before, after)
    if op.se:
        squeezed = squeeze_width(mid_c, op.se)
        weights = 2 * mid_c * squeezed
        yield _Part(weights + mid_c + squeezed, weights, 2 * after, after)
    weights = mid_c * op.out_c // groups
    yield _Part(weights + 2 * op.out_c, weights * area_out, after, _size_out(op))


def _is_custom(op: OpSpec) -> bool:
    return op_variant(op.op).is_custom
