"""What an op is: a layer of a network (no spatial size) and the same layer at a size, as priced."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Final

ZERO: Final = "skip"
"""Op name of a removed block: only the identity shortcut remains."""

ACTIVATIONS: Final = ("relu6", "relu", "hswish", "swish", "none")

_KEY = re.compile(
    r"(?P<op>[a-z][a-z0-9_]*)-(?P<in_h>\d+)x(?P<in_w>\d+)x(?P<in_c>\d+)"
    r"-(?P<out_h>\d+)x(?P<out_w>\d+)x(?P<out_c>\d+)-k(?P<kernel>\d+)-s(?P<stride>\d+)"
    r"-e(?P<expand>\d+(?:\.\d+)?)-skip(?P<skip>[01])-(?P<act>[a-z0-9]+)-se(?P<se>\d+)"
)


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

    def with_classes(self, num_classes: int) -> LayerSpec:
        """The same layer with `num_classes` outputs when it is the classifier, else itself."""
        return replace(self, out_c=num_classes) if self.op == "classifier" else self

    def to_dict(self) -> dict[str, Any]:
        """A plain dict for JSON; `expand` is an int where it is whole."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if float(self.expand).is_integer():
            values["expand"] = int(self.expand)
        return values
