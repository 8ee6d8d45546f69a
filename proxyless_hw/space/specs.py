"""What an op is: a layer of a network (no spatial size) and the same layer at a size, as priced."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final

ZERO: Final = "skip"
"""Op name of a removed block: only the identity shortcut remains."""

ACTIVATIONS: Final = ("relu6", "relu", "hswish", "swish", "none")

BASE_OPS: Final = (
    *("conv", "sepconv", "mbconv", "avgpool", "maxpool", "identity", "pool", "classifier"),
)
_VARIANT = re.compile(
    r"(?P<base>conv|sepconv|avgpool|maxpool|identity)(?P<pre>_pre)?(?P<no_norm>_nobn)?"
    r"(?P<bias>_bias)?(?:_g(?P<groups>[1-9]\d{0,4}))?(?P<shuffle>_shuffle)?"
    r"(?:_d(?P<dilation>[1-9]\d?))?"
)

_KEY = re.compile(
    r"(?P<op>[a-z][a-z0-9_]*)-(?P<in_h>\d+)x(?P<in_w>\d+)x(?P<in_c>\d+)"
    r"-(?P<out_h>\d+)x(?P<out_w>\d+)x(?P<out_c>\d+)-k(?P<kernel>\d+)-s(?P<stride>\d+)"
    r"-e(?P<expand>\d+(?:\.\d+)?)-skip(?P<skip>[01])-(?P<act>[a-z0-9]+)-se(?P<se>\d+)"
)


@dataclass(frozen=True, slots=True)
class OpVariant:
    """What an op's name says: a base op and the modifiers after it, as in ``conv_pre_g2_shuffle``.

    Attributes:
        base: one of `BASE_OPS`, or ``custom``.
        pre: BatchNorm and activation come before the weights (``bn_act_weight``).
        no_norm: there is no BatchNorm.
        bias: the (last) convolution has a bias.
        groups: groups of the (last) convolution.
        shuffle: the channels of the groups are interleaved afterwards (ShuffleNet).
        dilation: dilation of the (first) convolution.
    """

    base: str
    pre: bool = False
    no_norm: bool = False
    bias: bool = False
    groups: int = 1
    shuffle: bool = False
    dilation: int = 1

    @property
    def is_custom(self) -> bool:
        """Whether the op is a third party's (see `op_registry`)."""
        return self.base == "custom"

    @property
    def name(self) -> str:
        """The op's name; `op_variant` reads it back."""
        words = [self.base]
        words += [word for word, there in (("pre", self.pre), ("nobn", self.no_norm)) if there]
        words += ["bias"] if self.bias else []
        words += [f"g{self.groups}"] if self.groups > 1 else []
        words += ["shuffle"] if self.shuffle else []
        words += [f"d{self.dilation}"] if self.dilation > 1 else []
        return "_".join(words)


@lru_cache(maxsize=4096)
def op_variant(op: str) -> OpVariant:
    """Reads an op's name; a name that is not built in gives the base ``custom``."""
    if op in BASE_OPS:
        return OpVariant(op)
    match = _VARIANT.fullmatch(op)
    if match is None:
        return OpVariant("custom")
    text = match.groupdict()
    variant = OpVariant(
        base=match["base"],
        pre=text["pre"] is not None,
        no_norm=text["no_norm"] is not None,
        bias=text["bias"] is not None,
        groups=int(text["groups"] or 1),
        shuffle=text["shuffle"] is not None,
        dilation=int(text["dilation"] or 1),
    )
    # One name per op: a modifier that says nothing makes another name, hence no built-in op.
    weighted = variant.base in ("conv", "sepconv")
    says_nothing = not weighted and replace(variant, pre=False) != OpVariant(variant.base)
    return variant if variant.name == op and not says_nothing else OpVariant("custom")


def make_divisible(value: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor` that is at least 90% of `value` (MobileNetV2's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def squeeze_width(mid_c: int, se: int) -> int:
    """Channels that a squeeze-and-excite over `mid_c` channels squeezes to (see `OpSpec.se`)."""
    return make_divisible(mid_c // 4) if se == 1 else se


def format_expand(expand: float) -> str:
    """Formats an expansion ratio so that reading it back gives the same number."""
    return str(int(expand)) if float(expand).is_integer() else repr(float(expand))


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One op at one input size: the unit that is measured and priced.

    Attributes:
        op: ``conv``, ``mbconv``, ``classifier``, ... or the name of a registered custom op.
        in_h, in_w, in_c: input height, width, channels.
        out_h, out_w, out_c: output height, width, channels.
        kernel: kernel size (of the depthwise convolution for ``mbconv``).
        stride: stride, 1 or 2.
        expand: expanded width over input width (``mbconv``); 1 for other ops.
        skip: whether the residual addition is part of the op.
        act: activation, one of `ACTIVATIONS`.
        se: squeeze-and-excite: 0 none; 1 the MobileNetV3 form (a quarter of the expanded width,
            rounded to a multiple of 8, hard sigmoid); n > 1 squeezes to n channels (sigmoid).
    """

    op: str
    in_h: int
    in_w: int
    in_c: int
    out_h: int
    out_w: int
    out_c: int
    kernel: int = 1
    stride: int = 1
    expand: float = 1
    skip: bool = False
    act: str = "none"
    se: int = 0

    @property
    def mid_c(self) -> int:
        """Expanded width in channels."""
        return round(self.in_c * self.expand)

    @property
    def key(self) -> str:
        """A readable name that identifies the op; `OpSpec.from_key` reads it back."""
        return (
            f"{self.op}-{self.in_h}x{self.in_w}x{self.in_c}-{self.out_h}x{self.out_w}x{self.out_c}"
            f"-k{self.kernel}-s{self.stride}-e{format_expand(self.expand)}"
            f"-skip{int(self.skip)}-{self.act}-se{self.se}"
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
        text = match.groupdict()
        numbers = {name: int(text[name]) for name in _INT_FIELDS}
        return cls(
            op=text["op"],
            expand=float(text["expand"]),
            skip=text["skip"] == "1",
            act=text["act"],
            **numbers,
        )

    def __str__(self) -> str:
        """Short form for messages: ``mbconv 56x56x24->28x28x40 k5 e3 s2``."""
        text = (
            f"{self.op} {self.in_h}x{self.in_w}x{self.in_c}->{self.out_h}x{self.out_w}x{self.out_c}"
        )
        if self.op == "mbconv":
            text += f" k{self.kernel} e{format_expand(self.expand)} s{self.stride}"
        elif self.op != "classifier":
            text += f" k{self.kernel} s{self.stride}"
        if self.skip:
            text += " +skip"
        if self.act not in ("relu6", "none"):
            text += f" {self.act}"
        if self.se:
            text += " se" if self.se == 1 else f" se{self.se}"
        return text


_INT_FIELDS = tuple(field.name for field in fields(OpSpec) if field.type == "int")


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer of a network, independent of the spatial size. Fields as in `OpSpec`."""

    op: str
    in_c: int
    out_c: int
    kernel: int = 1
    stride: int = 1
    expand: float = 1
    skip: bool = False
    act: str = "none"
    se: int = 0

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
        return OpSpec(
            op=self.op,
            in_h=height,
            in_w=width,
            in_c=self.in_c,
            out_h=out_h,
            out_w=out_w,
            out_c=self.out_c,
            kernel=self.kernel,
            stride=self.stride,
            expand=self.expand,
            skip=self.skip,
            act=self.act,
            se=self.se,
        )

    @property
    def is_free(self) -> bool:
        """Whether the layer costs nothing: a removed block, or a plain identity."""
        return self.is_zero or (self.op == "identity" and self.act == "none")

    def with_classes(self, num_classes: int) -> LayerSpec:
        """The same layer with `num_classes` outputs when it is the classifier, else itself."""
        return replace(self, out_c=num_classes) if self.op == "classifier" else self

    def to_dict(self) -> dict[str, Any]:
        """A plain dict for JSON; `expand` is an int where it is whole."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if float(self.expand).is_integer():
            values["expand"] = int(self.expand)
        return values


def _pooled(size: int, layer: LayerSpec) -> int:
    return max(1, (size - layer.kernel) // layer.stride + 1)


@dataclass(frozen=True, slots=True)
class BatchNormSpec:
    """BatchNorm settings in PyTorch's sense: running-average momentum and epsilon."""

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


def describe(layer: LayerSpec) -> str:
    """Short form for messages and pictures: ``MB3 5x5``, ``skip``, ``conv 1x1``."""
    if layer.is_zero:
        return "skip"
    if layer.op == "mbconv":
        return f"MB{layer.expand:g} {layer.kernel}x{layer.kernel}"
    return (
        layer.op
        if layer.op in ("classifier", "pool")
        else f"{layer.op} {layer.kernel}x{layer.kernel}"
    )
