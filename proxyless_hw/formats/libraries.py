"""Whose names a checkpoint has: ours by torchvision's, timm's or Once-for-All's.

A library is recognised by the names of its first layers. Its tensors are then matched with a
network by name, so that the order in a file does not matter. BatchNorm's eps is not in a file: it
is the recognised library's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, has_expansion

Prefixes = Iterator[tuple[str, str]]
"""Pairs of names of a module: ours and the library's."""


@dataclass(frozen=True)
class Library:
    """The names that a library gives to the modules of its networks.

    Attributes:
        name: for messages.
        batch_norm: its settings; None where the architecture's own hold.
        prefixes: the pairs of an architecture; the names of the file are given too.
        exceptions: settings of networks, by the zoo's name, whose published weights have others.
    """

    name: str
    batch_norm: BatchNormSpec | None
    prefixes: Callable[[Architecture, Collection[str]], Prefixes]
    exceptions: Mapping[str, BatchNormSpec] = field(default_factory=dict)

    def settings(self, arch: Architecture) -> Architecture:
        """The architecture with the library's BatchNorm."""
        batch_norm = self.exceptions.get(arch.space, self.batch_norm)
        return arch if batch_norm is None else replace(arch, batch_norm=batch_norm)


def recognised(names: Collection[str]) -> Library | None:
    """The library whose names these are; None for the published ones and for any others."""
    if "conv_stem.weight" in names:
        return TIMM
    if "layers.0.weight" in names and "layers.3.weight" in names:
        return TORCHVISION_MNASNET
    if "features.1.0.block.0.0.weight" in names:
        return TORCHVISION_EFFICIENTNET
    if "features.0.0.weight" in names:
        blocks = any(name.startswith("features.1.block.") for name in names)
        return TORCHVISION_V3 if blocks else TORCHVISION_V2
    return None


def _body(index: int, layer: LayerSpec) -> str:
    return f"blocks.{index}.body" if layer.skip else f"blocks.{index}"


def _conv_bn(ours: str, conv: str, norm: str) -> Prefixes:
    yield f"{ours}.conv", conv
    yield f"{ours}.bn", norm


def _parts(layer: LayerSpec) -> list[str]:
    """The convolutions of an inverted bottleneck, by our names, in order."""
    return (["expand"] if has_expansion(layer) else []) + ["depthwise", "project"]


def _torchvision_v2(arch: Architecture, names: Collection[str]) -> Prefixes:
    yield from _conv_bn("stem.0", "features.0.0", "features.0.1")
    for index, layer in enumerate(arch.blocks):
        theirs = f"features.{index + 1}.conv"
        *before, last = _parts(layer)
        for number, part in enumerate(before):
            conv, norm = f"{theirs}.{number}.0", f"{theirs}.{number}.1"
            yield from _conv_bn(f"{_body(index, layer)}.{part}", conv, norm)
        number = len(before)
        ours = f"{_body(index, layer)}.{last}"
        yield from _conv_bn(ours, f"{theirs}.{number}", f"{theirs}.{number + 1}")
    end = len(arch.blocks) + 1
    yield from _conv_bn("head.0", f"features.{end}.0", f"features.{end}.1")
    yield f"head.{len(arch.head) - 1}.linear", "classifier.1"


def _torchvision_block(ours: str, theirs: str, layer: LayerSpec) -> Prefixes:
    """A block of MobileNetV3 or EfficientNet: layers and squeeze-excite are numbered in order."""
    number = 0
    for part in _parts(layer):
        if part == "project" and layer.se:
            yield f"{ours}.se.reduce", f"{theirs}.{number}.fc1"
            yield f"{ours}.se.expand", f"{theirs}.{number}.fc2"
            number += 1
        yield from _conv_bn(f"{ours}.{part}", f"{theirs}.{number}.0", f"{theirs}.{number}.1")
        number += 1


def _torchvision_v3(arch: Architecture, names: Collection[str]) -> Prefixes:
    yield from _conv_bn("stem.0", "features.0.0", "features.0.1")
    for index, layer in enumerate(arch.blocks):
        theirs = f"features.{index + 1}.block"
        yield from _torchvision_block(_body(index, layer), theirs, layer)
    end = len(arch.blocks) + 1
    yield from _conv_bn("head.0", f"features.{end}.0", f"features.{end}.1")
    yield "head.2.conv", "classifier.0"
    yield f"head.{len(arch.head) - 1}.linear", "classifier.3"


_EFFICIENTNET_BLOCKS: Final = re.compile(r"features\.(\d{1,3})\.(\d{1,3})\.block\.0\.0\.weight")


def _torchvision_efficientnet(arch: Architecture, names: Collection[str]) -> Prefixes:
    yield from _conv_bn("stem.0", "features.0.0", "features.0.1")
    places = _places(_EFFICIENTNET_BLOCKS, names)
    for (index, layer), (stage, block) in zip(enumerate(arch.blocks), places, strict=False):
        theirs = f"features.{stage}.{block}.block"
        yield from _torchvision_block(_body(index, layer), theirs, layer)
    end = places[-1][0] + 1 if places else 1
    yield from _conv_bn("head.0", f"features.{end}.0", f"features.{end}.1")
    yield f"head.{len(arch.head) - 1}.linear", "classifier.1"


_MNASNET_BLOCKS: Final = re.compile(r"layers\.(\d{1,3})\.(\d{1,3})\.layers\.0\.weight")


def _torchvision_mnasnet(arch: Architecture, names: Collection[str]) -> Prefixes:
    yield from _conv_bn("stem.0", "layers.0", "layers.1")
    first = _body(0, arch.blocks[0])
    yield from _conv_bn(f"{first}.depthwise", "layers.3", "layers.4")
    yield from _conv_bn(f"{first}.project", "layers.6", "layers.7")
    places = _places(_MNASNET_BLOCKS, names)
    for index, (stack, block) in zip(range(1, len(arch.blocks)), places, strict=False):
        ours, theirs = _body(index, arch.blocks[index]), f"layers.{stack}.{block}.layers"
        for part, number in (("expand", 0), ("depthwise", 3), ("project", 6)):
            yield from _conv_bn(f"{ours}.{part}", f"{theirs}.{number}", f"{theirs}.{number + 1}")
    yield from _conv_bn("head.0", "layers.14", "layers.15")
    yield f"head.{len(arch.head) - 1}.linear", "classifier.1"


_TIMM_BLOCKS: Final = re.compile(
    r"blocks\.(\d{1,3})\.(\d{1,3})\.(?:conv|conv_dw|conv_exp|pw_exp\.conv)\.weight"
)
_UNIVERSAL: Final = {
    "start": "dw_start",
    "expand": "pw_exp",
    "depthwise": "dw_mid",
    "project": "pw_proj",
}
"""Parts of timm's universal inverted bottleneck, by our names."""


def _timm(arch: Architecture, names: Collection[str]) -> Prefixes:
    yield from _conv_bn("stem.0", "conv_stem", "bn1")
    places = _places(_TIMM_BLOCKS, names)
    present = [item for item in enumerate(arch.blocks) if not item[1].is_zero]
    for (index, layer), (stage, block) in zip(present, places, strict=False):
        yield from _timm_block(_body(index, layer), layer, f"blocks.{stage}.{block}", names)
    if any(layer.op == "pool" for layer in arch.head):
        # MobileNetV3 and V4: the last block is a convolution, and another one follows the pooling.
        stage, block = places[-1] if places else (0, 0)
        yield from _conv_bn("head.0", f"blocks.{stage}.{block}.conv", f"blocks.{stage}.{block}.bn1")
        yield from _conv_bn(f"head.{len(arch.head) - 2}", "conv_head", "norm_head")
    else:
        yield from _conv_bn("head.0", "conv_head", "bn2")
    yield f"head.{len(arch.head) - 1}.linear", "classifier"


def _timm_block(ours: str, layer: LayerSpec, theirs: str, names: Collection[str]) -> Prefixes:
    if layer.op == "conv":
        yield from _conv_bn(ours, f"{theirs}.conv", f"{theirs}.bn1")
        return
    if f"{theirs}.pw_exp.conv.weight" in names:
        for part, name in _UNIVERSAL.items():
            yield f"{ours}.{part}", f"{theirs}.{name}"
        return
    if layer.op == "fused_mbconv":
        parts, convolutions = ["expand", "project"], ["conv_exp", "conv_pwl"]
    else:
        parts, convolutions = _parts(layer), ["conv_dw", "conv_pw"]
        if has_expansion(layer):
            convolutions = ["conv_pw", "conv_dw", "conv_pwl"]
    for number, (part, conv) in enumerate(zip(parts, convolutions, strict=True)):
        yield from _conv_bn(f"{ours}.{part}", f"{theirs}.{conv}", f"{theirs}.bn{number + 1}")
    yield f"{ours}.se.reduce", f"{theirs}.se.conv_reduce"
    yield f"{ours}.se.expand", f"{theirs}.se.conv_expand"


def _places(pattern: re.Pattern[str], names: Collection[str]) -> list[tuple[int, int]]:
    """Stage and block of everything that a pattern finds, in order."""
    found = (pattern.fullmatch(name) for name in names)
    return sorted({(int(match[1]), int(match[2])) for match in found if match})


TORCHVISION_V2: Final = Library(
    "torchvision", BatchNormSpec(momentum=0.1, eps=1e-5), _torchvision_v2
)
TORCHVISION_V3: Final = Library(
    "torchvision", BatchNormSpec(momentum=0.01, eps=1e-3), _torchvision_v3
)
TORCHVISION_MNASNET: Final = Library(
    "torchvision", BatchNormSpec(momentum=0.0003, eps=1e-5), _torchvision_mnasnet
)
TORCHVISION_EFFICIENTNET: Final = Library(
    "torchvision", BatchNormSpec(momentum=0.1, eps=1e-5), _torchvision_efficientnet
)
TIMM: Final = Library(
    "timm",
    BatchNormSpec(momentum=0.1, eps=1e-5),
    _timm,
    # timm builds this network with another eps where it loads the published weights.
    exceptions={"fbnet-c": BatchNormSpec(momentum=0.1, eps=1e-3)},
)
