"""What an op is: a layer of a network (no spatial size) and the same layer at a size, as priced."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, TypedDict

from proxyless_hw.space.op_names import SHORTCUT_OPS, START_KERNEL, uib_form
from proxyless_hw.space.op_names import OpVariant as OpVariant
from proxyless_hw.space.op_names import op_variant as op_variant
from proxyless_hw.space.op_options import NO_OPTIONS, OpOptions, read_options

ZERO: Final = "skip"
"""Op name of a removed block: only the identity shortcut remains."""

ACTIVATIONS: Final = ("relu6", "relu", "hswish", "swish", "none")

_KEY = re.compile(
    r"(?P<op>[a-z][a-z0-9_]*)-(?P<in_h>\d+)x(?P<in_w>\d+)x(?P<in_c>\d+)"
    r"-(?P<out_h>\d+)x(?P<out_w>\d+)x(?P<out_c>\d+)-k(?P<kernel>\d+)-s(?P<stride>\d+)"
    r"-e(?P<expand>\d+(?:\.\d+)?)-skip(?P<skip>[01])-(?P<act>[a-z0-9]+)-se(?P<se>\d+)"
    r"(?:-(?P<options>[a-z].*))?"
)


def usual_activation(op: str) -> str:
    """Where none is given: ReLU6, as in MobileNetV2 and ProxylessNAS, if an op has one at all."""
    return "relu6" if op == "conv" or op_variant(op).base in SHORTCUT_OPS else "none"


def make_divisible(value: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor` that is at least 90% of `value` (MobileNetV2's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def squeeze_width(mid_c: int, se: int) -> int:
    """Channels that a squeeze-and-excite over `mid_c` channels squeezes to (see `OpSpec.se`)."""
    return make_divisible(mid_c // 4) if se == 1 else se


def squeeze_act(act: str, se: int) -> str:
    """Activation between the two layers of a squeeze-and-excite in a block with `act`."""
    return "relu" if se == 1 or act == "none" else act


def format_expand(expand: float) -> str:
    """Formats an expansion ratio so that reading it back gives the same number."""
    return str(int(expand)) if float(expand).is_integer() else repr(float(expand))


class SettingFields(TypedDict):
    """The fields of `OpSettings`, to be passed on by name."""

    kernel: int
    stride: int
    expand: float
    skip: bool
    act: str
    se: int
    options: OpOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSettings:
    """What an op is beside its name and shape; layers and ops share it.

    Attributes:
        kernel: kernel size: of the depthwise convolution for ``mbconv``, of the one after the
            expansion for ``uib`` (1: none), of the expansion for ``fused_mbconv``.
        stride: stride, 1 or 2.
        expand: expanded width over input width (``mbconv``, ``uib``, ``fused_mbconv``); 1 for
            other ops.
        skip: whether the residual addition is part of the op.
        act: activation, one of `ACTIVATIONS`.
        se: squeeze-and-excite: 0 none; 1 the MobileNetV3 form (a quarter of the expanded width,
            rounded to a multiple of 8, ReLU, hard sigmoid); n > 1 the EfficientNet form (n
            channels, the block's activation, sigmoid).
        options: what an op takes beyond these: one of one's own (see `register_op`), and
            ``start_kernel`` of ``uib``.
    """

    kernel: int = 1
    stride: int = 1
    expand: float = 1
    skip: bool = False
    act: str = "none"
    se: int = 0
    options: OpOptions = NO_OPTIONS

    @property
    def settings(self) -> SettingFields:
        """These fields by name."""
        return SettingFields(
            kernel=self.kernel,
            stride=self.stride,
            expand=self.expand,
            skip=self.skip,
            act=self.act,
            se=self.se,
            options=self.options,
        )

    @property
    def start_kernel(self) -> int:
        """Kernel of the depthwise convolution before the expansion of a ``uib``; 1 for none."""
        value = self.options.get(START_KERNEL, 1)
        return value if isinstance(value, int) else 1

    @property
    def largest_kernel(self) -> int:
        """The larger kernel of a ``uib``; that of every other op."""
        return max(self.kernel, self.start_kernel)


@dataclass(frozen=True, slots=True)
class OpSpec(OpSettings):
    """One op at one input size: the unit that is measured and priced. See `OpSettings`.

    Attributes:
        op: ``conv``, ``mbconv``, ``classifier``, ... or the name of a registered op.
        in_h, in_w, in_c: input height, width, channels.
        out_h, out_w, out_c: output height, width, channels.

    Example:
        >>> import proxyless_hw as ph
        >>> op = ph.OpSpec("conv", 32, 32, 3, 16, 16, 8, kernel=3, stride=2, act="relu6")
        >>> op.key
        'conv-32x32x3-16x16x8-k3-s2-e1-skip0-relu6-se0'
        >>> ph.OpSpec.from_key(op.key) == op
        True
    """

    op: str
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int

    @property
    def mid_c(self) -> int:
        """Expanded width in channels."""
        return round(self.in_c * self.expand)

    @property
    def layer(self) -> LayerSpec:
        """The layer that this op is at an input size."""
        return LayerSpec(self.op, self.in_c, self.out_c, **self.settings)

    @property
    def key(self) -> str:
        """A readable name that identifies the op; `OpSpec.from_key` reads it back."""
        options = f"-{self.options.to_text('-')}" if self.options else ""
        return (
            f"{self.op}-{self.in_h}x{self.in_w}x{self.in_c}-{self.out_h}x{self.out_w}x{self.out_c}"
            f"-k{self.kernel}-s{self.stride}-e{format_expand(self.expand)}"
            f"-skip{int(self.skip)}-{self.act}-se{self.se}{options}"
        )

    @classmethod
    def from_key(cls, key: str) -> OpSpec:
        """Reads what `key` wrote.

        Raises:
            ValueError: the text is not such a key.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"not an op key: {key[:120]!r}")
        text = match.groupdict(default="")
        # A value may hold a minus: only one before NAME= begins the next option.
        options = re.sub(r"-(?=[a-z][a-z0-9_]*=)", "\n", text["options"])
        return cls(
            op=text["op"],
            expand=float(text["expand"]),
            skip=text["skip"] == "1",
            act=text["act"],
            options=read_options(options, "\n"),
            **{name: int(text[name]) for name in _INT_FIELDS},
        )

    def __str__(self) -> str:
        """Short form for messages: ``mbconv 56x56x24->28x28x40 k5 e3 s2``."""
        text = (
            f"{self.op} {self.in_h}x{self.in_w}x{self.in_c}->{self.out_h}x{self.out_w}x{self.out_c}"
        )
        if op_variant(self.op).base in SHORTCUT_OPS:
            text += f" k{self.kernel} e{format_expand(self.expand)} s{self.stride}"
        elif self.op != "classifier":
            text += f" k{self.kernel} s{self.stride}"
        if self.skip:
            text += " +skip"
        if self.act not in ("relu6", "none"):
            text += f" {self.act}"
        if self.se:
            text += " se" if self.se == 1 else f" se{self.se}"
        return f"{text} {self.options.to_text(' ')}" if self.options else text


_INT_FIELDS = ("in_h", "in_w", "in_c", "out_h", "out_w", "out_c", "kernel", "stride", "se")


@dataclass(frozen=True, slots=True)
class LayerSpec(OpSettings):
    """One layer of a network, independent of the spatial size. See `OpSettings`.

    Attributes:
        op: as in `OpSpec`, or `ZERO`.
        in_c, out_c: input and output channels.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.LayerSpec("mbconv", 16, 24, kernel=3, stride=2, expand=6).at(32, 32).out_h
        16
    """

    op: str
    in_c: int
    out_c: int

    @property
    def is_zero(self) -> bool:
        """Whether the block is removed (identity shortcut only)."""
        return self.op == ZERO

    @property
    def mid_c(self) -> int:
        """Expanded width in channels."""
        return round(self.in_c * self.expand)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Spatial output size for an input size; padding is half the kernel."""
        if self.op in ("classifier", "pool"):
            return 1, 1
        if self.stride > 1 and op_variant(self.op).base in ("avgpool", "maxpool"):
            # Strided pooling is not padded, as in the published code.
            return _pooled(height, self), _pooled(width, self)
        return -(-height // self.stride), -(-width // self.stride)

    def at(self, height: int, width: int) -> OpSpec:
        """The same layer at an input size, as it stands in a table."""
        out_h, out_w = self.output_size(height, width)
        return OpSpec(self.op, height, width, self.in_c, out_h, out_w, self.out_c, **self.settings)

    @property
    def is_free(self) -> bool:
        """Whether the layer costs nothing: a removed block, or a plain identity."""
        return self.is_zero or (self.op == "identity" and self.act == "none")

    def with_classes(self, num_classes: int) -> LayerSpec:
        """The same layer with `num_classes` outputs when it is the classifier, else itself."""
        return replace(self, out_c=num_classes) if self.op == "classifier" else self

    def to_dict(self) -> dict[str, object]:
        """A plain dict for JSON; `expand` is an int where it is whole."""
        values: dict[str, object] = {"op": self.op, "in_c": self.in_c, "out_c": self.out_c}
        values |= self.settings
        if float(self.expand).is_integer():
            values["expand"] = int(self.expand)
        del values["options"]
        return {**values, "options": dict(self.options)} if self.options else values


def _pooled(size: int, layer: LayerSpec) -> int:
    return max(1, (size - layer.kernel) // layer.stride + 1)


def has_expansion(op: OpSpec | LayerSpec) -> bool:
    """Whether an ``mbconv`` begins with a 1x1 convolution.

    A plain one does so where it expands, as in MobileNetV2; a grouped one and ``mbconv_pw`` always
    do, as in FBNet.
    """
    variant = op_variant(op.op)
    return op.expand != 1 or variant.pw or variant.groups > 1


@dataclass(frozen=True, slots=True)
class BatchNormSpec:
    """BatchNorm settings in PyTorch's sense: running-average momentum and epsilon.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.BatchNormSpec(eps=1e-5).momentum
        0.1
    """

    momentum: float = 0.1
    eps: float = 1e-3


@dataclass(frozen=True, slots=True)
class Position:
    """One position of the network; a slot when it has more than one candidate.

    Attributes:
        candidates: complete layers, Zero last where it is allowed.
        stage: index of the stage the position belongs to.
    """

    candidates: tuple[LayerSpec, ...]
    stage: int

    @property
    def is_slot(self) -> bool:
        """Whether there is anything to choose here."""
        return len(self.candidates) > 1


def bottleneck_name(layer: OpSpec | LayerSpec) -> str:
    """Short name of an ``mbconv``: ``MB3``, ``MB1pw``, ``MB1g2`` (two groups)."""
    variant = op_variant(layer.op)
    groups = f"g{variant.groups}" if variant.groups > 1 else ""
    return f"MB{layer.expand:g}{'pw' * variant.pw}{groups}"


def describe(layer: LayerSpec) -> str:
    """Short form for messages and pictures: ``MB3 5x5``, ``ExtraDW4 5x5 3x3``, ``conv 1x1``."""
    if layer.is_zero:
        return "skip"
    if op_variant(layer.op).base == "mbconv":
        return f"{bottleneck_name(layer)} {layer.kernel}x{layer.kernel}"
    if layer.op in ("classifier", "pool"):
        return layer.op
    if layer.op == "fused_mbconv":
        return f"fusedMB{layer.expand:g} {layer.kernel}x{layer.kernel}"
    if layer.op == "uib":
        kernels = [size for size in (layer.start_kernel, layer.kernel) if size > 1]
        name = f"{uib_form(layer.start_kernel, layer.kernel)}{layer.expand:g}"
        return " ".join([name, *(f"{size}x{size}" for size in kernels)])
    options = f" {layer.options.to_text(' ')}" if layer.options else ""
    return f"{layer.op} {layer.kernel}x{layer.kernel}{options}"
