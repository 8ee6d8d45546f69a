"""Named networks: the published ones and the baselines, with what was published about them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any, Final

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.formats.timm_strings import from_timm_strings
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import ZERO, BatchNormSpec, LayerSpec, make_divisible

_MOBILENET_V2: Final = re.compile(r"mobilenet-v2(?:-(?P<width>\d(?:\.\d{1,3})?))?")
# Sandler et al., CVPR 2018, table 2: expansion, width, repeats, stride.
_MOBILENET_V2_STAGES: Final = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
_PAPER: Final = "as compared in Cai, Zhu, Han, ICLR 2019 (arXiv 1812.00332)"
_BLOCK: Final = re.compile(
    r"k(?P<kernel>\d+)(?:e(?P<expand>\d+)(?P<pw>pw)?|m(?P<middle>\d+))(?P<se>se\d*)?"
)


@dataclass(frozen=True)
class Published:
    """What a publication says about a network; None where it says nothing.

    Attributes:
        top1, top5: ImageNet accuracy in percent.
        test_error: CIFAR-10 test error in percent.
        latency_ms: device to latency.
        parameters, macs: counts.
        source: where the figures stand.
    """

    top1: float | None = None
    top5: float | None = None
    test_error: float | None = None
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None
    macs: float | None = None
    source: str = ""


def zoo_names() -> list[str]:
    """The names of all networks; MobileNetV2 exists at every width (``mobilenet-v2-1.4``).

    Example:
        >>> import proxyless_hw as ph
        >>> "proxyless-mobile" in ph.zoo_names()
        True
    """
    return [*_entries(), "mobilenet-v2", "mobilenet-v2-1.4"]


def zoo_architecture(name: str) -> Architecture:
    """A network by its name.

    Raises:
        ArchitectureError: no network of that name; the nearest is suggested.
    """
    match = _MOBILENET_V2.fullmatch(name)
    if match is not None:
        return _mobilenet_v2(name, float(match["width"] or 1))
    entry = _entries().get(name)
    if entry is None:
        raise ArchitectureError(
            f"no file, and no network of the zoo, is named '{name[:120]}'."
            f"{did_you_mean(name, zoo_names())} "
            f"Zoo: {', '.join(zoo_names())}."
        )
    if "choices" in entry:
        space = SearchSpace.load(entry["space"])
        choices = [int(digit) for row in entry["choices"] for digit in row]
        return replace(Architecture.from_choices(space, choices), space=name)
    if "timm" in entry:
        arch = from_timm_strings(_with_settings(entry["timm"], entry["settings"]), name)
        return replace(arch, space=name, provenance={})
    return _chain(name, entry)


def zoo_published(name: str) -> Published:
    """What was published about a network of the zoo."""
    if name == "mobilenet-v2":
        pixel = {"Google Pixel 1, batch 1": 75.0, "NVIDIA V100, batch 8": 6.1}
        return Published(top1=72.0, top5=91.0, latency_ms=pixel, source=_PAPER)
    if name == "mobilenet-v2-1.4":
        pixel = {"Google Pixel 1, batch 1": 143.0}
        return Published(top1=74.6, latency_ms=pixel, source=f"{_PAPER}, at equal accuracy")
    return Published(**_entries().get(name, {}).get("published", {}))


@cache
def _entries() -> dict[str, Any]:
    path = resources.files("proxyless_hw") / "formats" / "zoo_data" / "networks.json"
    text = path.read_text("utf-8")
    entries: dict[str, Any] = json.loads(text)
    return entries


def _with_settings(rows: Iterable[str], settings: Mapping[str, object]) -> str:
    """timm's text form: the settings around the blocks, then rows of block strings."""
    return "\n".join([*(f"# {key}: {value}" for key, value in settings.items()), *rows])


def _chain(name: str, entry: Mapping[str, Any]) -> Architecture:
    act = entry["act"]
    stem = LayerSpec("conv", 3, entry["stem"], kernel=3, stride=2, act=act)
    blocks: list[LayerSpec] = []
    in_c = stem.out_c
    for stage in entry["stages"]:
        width = stage["width"]
        for index, text in enumerate(stage["blocks"].split()):
            stride = stage["stride"] if index == 0 else 1
            blocks.append(_block(text, in_c, width, stride, stage.get("act", act)))
            in_c = width
    head: list[LayerSpec] = []
    for op, *width in entry["head"]:
        out_c = width[0] if width else in_c
        head.append(LayerSpec(op, in_c, out_c, act="none" if op == "pool" else act))
        in_c = out_c
    momentum, eps = entry["batch_norm"]
    return Architecture(
        space=name,
        resolution=entry["resolution"],
        num_classes=entry["num_classes"],
        stem=(stem,),
        blocks=tuple(blocks),
        head=(*head, LayerSpec("classifier", in_c, entry["num_classes"])),
        batch_norm=BatchNormSpec(momentum=momentum, eps=eps),
    )


def _block(text: str, in_c: int, out_c: int, stride: int, act: str) -> LayerSpec:
    """``-`` is a removed block; ``k5e6``, ``k3e1pw`` (with a first 1x1 convolution), ``k5e6se10``
    (squeezes to 10), ``k5m120se`` (to a quarter).
    """
    if text == "-":
        return LayerSpec(ZERO, in_c, out_c, skip=True)
    match = _BLOCK.fullmatch(text)
    assert match is not None, f"malformed zoo data: {text}"
    expand = float(match["expand"]) if match["expand"] else int(match["middle"]) / in_c
    squeeze = match["se"]
    return LayerSpec(
        "mbconv_pw" if match["pw"] else "mbconv",
        in_c,
        out_c,
        kernel=int(match["kernel"]),
        stride=stride,
        expand=int(expand) if expand.is_integer() else expand,
        skip=stride == 1 and in_c == out_c,
        act=act,
        se=0 if squeeze is None else int(squeeze[2:] or 1),
    )


def _mobilenet_v2(name: str, width: float) -> Architecture:
    if not 0.1 <= width <= 4:
        raise ArchitectureError(f"a width multiplier lies between 0.1 and 4: received {width:g}.")
    stem = LayerSpec("conv", 3, make_divisible(32 * width), kernel=3, stride=2, act="relu6")
    blocks = list(_mobilenet_v2_blocks(width, stem.out_c))
    last = make_divisible(1280 * max(1.0, width))
    return Architecture(
        space=name,
        resolution=224,
        num_classes=1000,
        stem=(stem,),
        blocks=tuple(blocks),
        head=(
            LayerSpec("conv", blocks[-1].out_c, last, act="relu6"),
            LayerSpec("classifier", last, 1000),
        ),
        batch_norm=BatchNormSpec(momentum=0.1, eps=1e-5),
    )


def _mobilenet_v2_blocks(width: float, in_c: int) -> Iterable[LayerSpec]:
    for expand, channels, repeats, stride in _MOBILENET_V2_STAGES:
        out_c = make_divisible(channels * width)
        for index in range(repeats):
            step = stride if index == 0 else 1
            yield LayerSpec(
                "mbconv",
                in_c,
                out_c,
                kernel=3,
                stride=step,
                expand=expand,
                skip=step == 1 and in_c == out_c,
                act="relu6",
            )
            in_c = out_c
