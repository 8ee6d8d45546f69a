"""What timm's block strings leave open: the layers around the blocks and the deployment shape."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_RESOLUTION
from proxyless_hw.space.specs import op_variant

ACTS: Final = {"r6": "relu6", "re": "relu", "hs": "hswish", "sw": "swish"}
ACT_TOKENS: Final = {name: token for token, name in ACTS.items()}
MAX_LINE: Final = 200
MAX_DIGITS: Final = 9
_SETTING: Final = re.compile(r"#\s*(?P<key>[a-z_]+)\s*:\s*(?P<value>[^\s]+)\s*")


@dataclass(frozen=True, kw_only=True)
class TimmSettings:
    """What block strings leave open; the defaults are timm's.

    Attributes:
        resolution, num_classes: deployment shape.
        stem: channels of the first 3x3 convolution.
        stem_stride: its stride.
        act: activation of blocks that name none, and around them.
        head: channels of the last 1x1 convolution; 0: none. When the last string is a ``cn`` it
            comes before the pooling, and this one after it (MobileNetV3).
        head_bias: whether that convolution after the pooling has a bias.
        head_norm: whether it has a BatchNorm instead (MobileNetV4).
        se: what a squeeze-excite ratio refers to: ``input`` (of the block, sigmoid) or ``middle``
            (the expanded width, in eights, hard sigmoid: MobileNetV3).
        bn_momentum, bn_eps: BatchNorm.
    """

    resolution: int = 224
    num_classes: int = 1000
    stem: int = 32
    stem_stride: int = 2
    act: str = "relu6"
    head: int = 1280
    head_bias: bool = True
    head_norm: bool = False
    se: str = "input"
    bn_momentum: float = 0.1
    bn_eps: float = 1e-5


def timm_settings(arch: Architecture) -> TimmSettings:
    """The settings around the blocks of a network.

    Raises:
        ArchitectureError: stem or head are not of timm's form.
    """
    if arch.wiring or len(arch.stem) != 1 or (arch.stem[0].op, arch.stem[0].kernel) != ("conv", 3):
        raise ArchitectureError("timm's strings are for chains with a 3x3 convolution as stem.")
    stem = arch.stem[0]
    ops = [layer.op for layer in arch.head]
    mobile = ops[:2] == ["conv", "pool"] and len(ops) == 4 and ops[2].startswith("conv")
    if not mobile and ops not in (["classifier"], ["conv", "classifier"]):
        raise ArchitectureError(f"timm's networks have no head of {', '.join(ops)}.")
    last = arch.head[-2] if len(ops) > 1 else None
    if any(layer.act not in (stem.act, "none") or layer.kernel != 1 for layer in arch.head):
        raise ArchitectureError("timm's networks have one activation and 1x1 convolutions there.")
    squeezed = {block.se for block in arch.blocks if block.se}
    if 1 in squeezed and len(squeezed) > 1:
        raise ArchitectureError("squeeze-excite ratios refer either to the input or the middle.")
    return TimmSettings(
        resolution=arch.resolution,
        num_classes=arch.num_classes,
        stem=stem.out_c,
        head=0 if last is None else last.out_c,
        stem_stride=stem.stride,
        act=stem.act,
        head_bias=not mobile or op_variant(ops[2]).bias,
        head_norm=mobile and ops[2] == "conv",
        se="middle" if 1 in squeezed else "input",
        bn_momentum=arch.batch_norm.momentum,
        bn_eps=arch.batch_norm.eps,
    )


_LIMITS: Final = {
    "resolution": (1, MAX_RESOLUTION),
    "num_classes": (1, MAX_CHANNELS),
    "stem": (1, MAX_CHANNELS),
    "stem_stride": (1, 2),
    "head": (0, MAX_CHANNELS),
    "bn_momentum": (1e-12, 1),
    "bn_eps": (1e-12, 1),
}


def settings_of(lines: Sequence[str], source: str) -> dict[str, Any]:
    known = {item.name: item.default for item in fields(TimmSettings)}
    values: dict[str, Any] = {}
    for line in lines:
        match = _SETTING.fullmatch(line[:MAX_LINE])
        if match is None:
            continue
        key, text = match["key"], match["value"]
        if key not in known:
            raise ArchitectureError(f"{source}: no setting '{key}'.{did_you_mean(key, known)}")
        try:
            values[key] = _setting_value(known[key], text)
        except ValueError as cause:
            raise ArchitectureError(f"{source}: {key} must be a number: {text[:80]!r}.") from cause
        low, high = _LIMITS.get(key, (0.0, 1.0))
        wrong = isinstance(values[key], (int, float)) and not low <= values[key] <= high
        choices = {"act": tuple(ACT_TOKENS), "se": ("input", "middle"), "head_bias": (True, False)}
        choices["head_norm"] = (True, False)
        if wrong or values[key] not in choices.get(key, (values[key],)):
            raise ArchitectureError(f"{source}: {key} is out of range: received {text[:80]!r}.")
    return values


def _setting_value(default: object, text: str) -> bool | int | float | str | None:
    if isinstance(default, bool):
        return {"True": True, "False": False}.get(text)
    if isinstance(default, int):
        if len(text) > MAX_DIGITS:
            raise ValueError
        return int(text)
    return float(text) if isinstance(default, float) else text


def settings_document(settings: TimmSettings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(settings)}
