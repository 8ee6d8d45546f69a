"""What the name of a built-in op says: a base op and its modifiers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

BASE_OPS: Final = (
    *("conv", "sepconv", "mbconv", "avgpool", "maxpool", "identity", "pool", "classifier"),
    "uib",
    "fused_mbconv",
)
CONVOLUTION_BLOCKS: Final = ("uib", "fused_mbconv")
"""Blocks that are convolutions in a row (see `space.bottlenecks`)."""

SHORTCUT_OPS: Final = ("mbconv", *CONVOLUTION_BLOCKS)
"""Base ops with a residual addition where stride is 1 and channels match."""

START_KERNEL: Final = "start_kernel"
"""Option of ``uib``: kernel of the depthwise convolution before the expansion."""

_VARIANT = re.compile(
    r"(?P<base>conv|sepconv|avgpool|maxpool|identity)(?P<pre>_pre)?(?P<no_norm>_nobn)?"
    r"(?P<bias>_bias)?(?:_g(?P<groups>[1-9]\d{0,4}))?(?P<shuffle>_shuffle)?"
    r"(?:_d(?P<dilation>[1-9]\d?))?"
)
_MBCONV = re.compile(
    r"(?P<base>mbconv)(?:(?P<pw>_pw)|_g(?P<groups>[1-9]\d{0,4})(?P<shuffle>_shuffle)?)"
)


@dataclass(frozen=True, slots=True)
class OpVariant:
    """What an op's name says: a base op and the modifiers after it, as in ``conv_pre_g2_shuffle``.

    Attributes:
        base: one of `BASE_OPS`, or ``custom``.
        pre: BatchNorm and activation come before the weights (``bn_act_weight``).
        no_norm: there is no BatchNorm.
        bias: the (last) convolution has a bias.
        groups: groups of the (last) convolution; of ``mbconv`` those of both 1x1 convolutions.
        shuffle: the channels of the groups are interleaved afterwards (ShuffleNet); in ``mbconv``
            behind the expansion (FBNet).
        dilation: dilation of the (first) convolution.
        pw: an ``mbconv`` that begins with its 1x1 convolution at expansion 1 too.
    """

    base: str
    pre: bool = False
    no_norm: bool = False
    bias: bool = False
    groups: int = 1
    shuffle: bool = False
    dilation: int = 1
    pw: bool = False

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
        words += ["pw"] if self.pw else []
        words += [f"g{self.groups}"] if self.groups > 1 else []
        words += ["shuffle"] if self.shuffle else []
        words += [f"d{self.dilation}"] if self.dilation > 1 else []
        return "_".join(words)


def uib_form(start_kernel: int, kernel: int) -> str:
    """What MobileNetV4 calls a universal inverted bottleneck of these depthwise kernels.

    Args:
        start_kernel: of the one before the expansion; 1 for none.
        kernel: of the one after the expansion; 1 for none.
    """
    if kernel == 1:
        return "FFN" if start_kernel == 1 else "ConvNext"
    return "IB" if start_kernel == 1 else "ExtraDW"


@lru_cache(maxsize=4096)
def op_variant(op: str) -> OpVariant:
    """Reads an op's name; a name that is not built in gives the base ``custom``."""
    if op in BASE_OPS:
        return OpVariant(op)
    match = _VARIANT.fullmatch(op) or _MBCONV.fullmatch(op)
    if match is None:
        return OpVariant("custom")
    text = dict.fromkeys(_VARIANT.groupindex) | match.groupdict()
    variant = OpVariant(
        base=match["base"],
        pre=text["pre"] is not None,
        no_norm=text["no_norm"] is not None,
        bias=text["bias"] is not None,
        groups=int(text["groups"] or 1),
        shuffle=text["shuffle"] is not None,
        dilation=int(text["dilation"] or 1),
        pw=text.get("pw") is not None,
    )
    # One name per op: a modifier that says nothing makes another name, hence no built-in op.
    weighted = variant.base in ("conv", "sepconv", "mbconv")
    says_nothing = not weighted and replace(variant, pre=False) != OpVariant(variant.base)
    return variant if variant.name == op and not says_nothing else OpVariant("custom")
