"""Bytes that a network takes on a device: its weights (flash) and the peak of its activations.

Both follow from the shapes alone. Layers run one after the other, on one image, and each writes a
tensor of its own. BatchNorm is folded into the convolution before it, and activations are fused or
work in place. A tensor is kept until its last reader has run: the input of a residual block until
the addition. What a runtime adds (its code, the graph, scales of quantised tensors, scratch
buffers, alignment) is not counted, and neither is what it saves by working in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from proxyless_hw.errors import SpaceError, did_you_mean
from proxyless_hw.space.architecture import Architecture, require_architecture
from proxyless_hw.space.bottlenecks import sized_convolutions
from proxyless_hw.space.built_counts import built_counts
from proxyless_hw.space.peaks import PeakWords, within_peaks
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec, has_expansion, op_variant, squeeze_width
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.units import format_bytes

Precision = Literal["fp32", "fp16", "int8"]

VALUE_BYTES: Final[dict[Precision, int]] = {"fp32": 4, "fp16": 2, "int8": 1}
"""Of a weight and of an activation."""
BIAS_BYTES: Final[dict[Precision, int]] = {"fp32": 4, "fp16": 2, "int8": 4}
"""Of a bias: int8 networks keep int32 ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a network takes on a device.

    Attributes:
        precision: number format of weights and activations.
        flash: bytes of the weights.
        memory: peak of the activations in bytes; None where it is not known (`memory_bytes`).
    """

    precision: Precision
    flash: int
    memory: int | None

    def to_json(self) -> JsonObject:
        """The object that JSON documents hold."""
        return {
            "precision": self.precision,
            "flash_bytes": self.flash,
            "memory_bytes": self.memory,
        }

    def sentence(self) -> str:
        """In words: ``flash 4.11 MB, memory 1.20 MB in int8``."""
        memory = "" if self.memory is None else f", memory {format_bytes(self.memory)}"
        return f"flash {format_bytes(self.flash)}{memory} in {self.precision}"


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as executed: what it stores, and the elements that it writes.

    Attributes:
        weights, biases: stored values.
        writes: elements of its output.
        extra: elements beside input and output that are needed while it runs.
    """

    weights: int
    biases: int
    writes: int
    extra: int = 0


def op_flash_bytes(op: OpSpec, precision: Precision = "fp32") -> int:
    """Bytes of an op's weights and biases, BatchNorm folded.

    Of an op of one's own, parameters of one dimension count as biases, and nothing is folded.

    Raises:
        ArchitectureError, BackendUnavailableError: an op of one's own cannot be built or run.
    """
    if op_variant(op.op).is_custom:
        counts = built_counts(op)
        weights, biases = counts.parameters - counts.biases, counts.biases
    else:
        layers = list(_layers(op))
        weights = sum(layer.weights for layer in layers)
        biases = sum(layer.biases for layer in layers)
    return VALUE_BYTES[precision] * weights + BIAS_BYTES[precision] * biases


def op_memory_bytes(op: OpSpec, precision: Precision = "fp32") -> int:
    """Bytes of the tensors that are alive at once while an op runs on one image, at their most.

    Each layer of the op needs its input and its output; where the op ends with a residual
    addition, the op's input as well.

    Raises:
        SpaceError: the op is one of the user's own, whose layers are not known.
    """
    if op_variant(op.op).is_custom:
        raise SpaceError(
            f"memory is counted layer by layer, and the layers of your own op '{op.op}' are not "
            "known. Leave the memory limit out, or search without that op."
        )
    size_in = reads = op.in_h * op.in_w * op.in_c
    most = size_in
    for number, layer in enumerate(_layers(op)):
        kept = size_in if op.skip and number else 0
        most = max(most, reads + layer.writes + layer.extra + kept)
        reads = layer.writes
    if op.skip:
        most = max(most, 3 * size_in)  # the addition reads two tensors and writes a third
    return VALUE_BYTES[precision] * most


def flash_bytes(arch: Architecture, precision: Precision = "fp32") -> int:
    """Bytes of a network's weights, BatchNorm folded into the convolutions.

    Weights take 4, 2 or 1 bytes in ``fp32``, ``fp16`` and ``int8``, biases 4, 2 and 4.

    Args:
        arch: the network.
        precision: number format.

    Raises:
        ArchitectureError, BackendUnavailableError: an op of one's own cannot be built or run.
        ArchitectureError, SpaceError: `arch` is not an architecture; no such precision.

    Example:
        >>> import proxyless_hw as ph
        >>> arch = ph.load_architecture("proxyless-mobile")
        >>> ph.flash_bytes(arch), ph.flash_bytes(arch, "int8")
        (16253056, 4118008)
    """
    require_architecture(arch)
    _require_precision(precision)
    return sum(op_flash_bytes(op, precision) for op in arch.ops())


def memory_bytes(
    arch: Architecture, precision: Precision = "fp32", resolution: int | None = None
) -> int | None:
    """Peak of a network's activations on one image, in bytes.

    Args:
        arch: the network.
        precision: number format.
        resolution: of the image, in pixels; the network's own when None.

    Returns:
        The largest sum of tensors that are alive at once; None for trees, whose peak depends on
        the order in which a runtime takes their branches, and for networks with an op of one's own.

    Raises:
        ArchitectureError, SpaceError: `arch` is not an architecture; no such precision.

    Example:
        >>> import proxyless_hw as ph
        >>> arch = ph.load_architecture("proxyless-mobile")
        >>> ph.memory_bytes(arch), ph.memory_bytes(arch, "int8", resolution=112)
        (3211264, 200704)
    """
    require_architecture(arch)
    _require_precision(precision)
    ops = arch.ops(resolution)
    if arch.wiring or any(op_variant(op.op).is_custom for op in ops):
        return None
    return max(op_memory_bytes(op, precision) for op in ops)


def _require_precision(precision: str) -> None:
    if precision not in VALUE_BYTES:
        raise SpaceError(
            f"precision is one of {', '.join(VALUE_BYTES)}: received {str(precision)[:40]!r}."
            f"{did_you_mean(str(precision), VALUE_BYTES)}"
        )


def footprint(arch: Architecture, precision: Precision) -> Footprint:
    """Flash and memory of a network at its own resolution."""
    return Footprint(
        precision=precision,
        flash=flash_bytes(arch, precision),
        memory=memory_bytes(arch, precision),
    )


def within_memory(
    space: SearchSpace,
    limit: float,
    precision: Precision = "fp32",
    resolution: int | None = None,
    num_classes: int | None = None,
) -> SearchSpace:
    """The space without the candidates that need more memory than a limit while they run.

    In a chain the peak of a network is that of one of its ops. The space that is left therefore
    holds exactly the networks whose `memory_bytes` is at most the limit.

    Args:
        space: the search space, a chain.
        limit: bytes.
        precision: number format of the activations.
        resolution, num_classes: deployment shape; the space's own when None.

    Raises:
        InfeasibleTargetError: no network, or only one, stays within the limit; the message gives
            the smallest memory of a network of the space.
        SpaceError: the space is a tree, or holds an op of one's own; `space` is not a space,
            `limit` not a number of bytes, or there is no such precision.

    Example:
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("imagenet")
        >>> small = ph.within_memory(space, 1.3e6, "int8")
        >>> space.num_candidates, small.num_candidates
        (141, 138)
    """
    if not isinstance(space, SearchSpace):
        raise SpaceError(
            f"space must be a SearchSpace: received {type(space).__name__}. Load one by name or "
            "path: SearchSpace.load(NAME)."
        )
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise SpaceError(f"limit is a number of bytes above 0: received {limit!r}.")
    _require_precision(precision)
    return within_peaks(
        space,
        limit,
        lambda op: op_memory_bytes(op, precision),
        PeakWords(
            memory=f"memory in {precision}",
            text=format_bytes,
            exact=lambda need: f"{format_bytes(need)} ({need:.0f} bytes)",
        ),
        resolution,
        num_classes,
    )


def _layers(op: OpSpec) -> Iterator[_Layer]:
    """The layers of a built-in op, in the order in which they run, but for the addition."""
    variant = op_variant(op.op)
    if variant.base == "mbconv":
        yield from _mbconv_layers(op)
        return
    size_in, size_out = op.in_h * op.in_w * op.in_c, op.out_h * op.out_w * op.out_c
    taps = op.kernel * op.kernel
    has_norm, shuffled = not variant.no_norm, variant.shuffle and variant.groups > 1
    if variant.pre and (has_norm or op.act != "none"):
        # Nothing stands before it to be folded into.
        yield _Layer(0, 2 * op.in_c if has_norm else 0, size_in)
    folds = has_norm and not variant.pre and not shuffled
    biases = op.out_c if variant.bias or folds else 0
    match variant.base:
        case "conv":
            yield _Layer(taps * op.in_c * op.out_c // variant.groups, biases, size_out)
        case "sepconv":
            yield _Layer(taps * op.in_c, 0, op.out_h * op.out_w * op.in_c)
            yield _Layer(op.in_c * op.out_c // variant.groups, biases, size_out)
        case "uib" | "fused_mbconv":
            for inner, _, area_out in sized_convolutions(op):
                yield _Layer(inner.weights, inner.out_c, area_out * inner.out_c)
        case "classifier":
            yield _Layer(0, 0, op.in_c)
            yield _Layer(op.in_c * op.out_c, op.out_c, op.out_c)
        case "pool" | "avgpool" | "maxpool":
            yield _Layer(0, 0, size_out)
        case "identity" if op.act != "none" and not variant.pre:
            yield _Layer(0, 0, size_out)
    if shuffled:
        yield _Layer(0, 0, size_out)
        if has_norm and not variant.pre:
            yield _Layer(0, 2 * op.out_c, size_out)


def _mbconv_layers(op: OpSpec) -> Iterator[_Layer]:
    mid_c, area_out = op.mid_c, op.out_h * op.out_w
    variant = op_variant(op.op)
    before, after = op.in_h * op.in_w * mid_c, area_out * mid_c
    if has_expansion(op):
        yield _Layer(op.in_c * mid_c // variant.groups, mid_c, before)
    if variant.shuffle:
        yield _Layer(0, 0, before)
    yield _Layer(op.kernel * op.kernel * mid_c, mid_c, after)
    if op.se:
        squeezed = squeeze_width(mid_c, op.se)
        # Its gates are computed beside the map that they multiply.
        yield _Layer(2 * mid_c * squeezed, mid_c + squeezed, after, extra=mid_c)
    yield _Layer(mid_c * op.out_c // variant.groups, op.out_c, area_out * op.out_c)
