"""timm's block strings (its EfficientNet family) as architectures, and back.

A string such as ``ir_r2_k5_s2_e3_c40_se0.25_nre`` gives block type, repeats, kernel, stride,
expansion, channels, squeeze-excite ratio and activation. It says nothing of the layers around the
blocks; those are settings, written as ``# key: value`` lines in the text form. In that form a line
``# skip`` is a removed block, which timm does not write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.timm_blocks import parse_block
from proxyless_hw.formats.timm_settings import (
    ACT_TOKENS,
    TimmSettings,
    settings_document,
    settings_of,
    timm_settings,
)
from proxyless_hw.space.architecture import Architecture, require_architecture
from proxyless_hw.space.limits import MAX_POSITIONS
from proxyless_hw.space.specs import (
    ZERO,
    BatchNormSpec,
    LayerSpec,
    has_expansion,
    make_divisible,
)

PROVENANCE: Final = "timm_strings"
SKIP: Final = "skip"
_WRITTEN: Final = ("ds", "ir", "cn", "er", "uir", SKIP)
"""Types that are written; others come back as they were read."""

_WRITTEN_OPS: Final = ("conv", "mbconv", "mbconv_pw", "uib", "fused_mbconv", ZERO)


def from_timm_strings(
    strings: Sequence[Any] | str,
    source: str = "timm strings",
    settings: TimmSettings | None = None,
) -> Architecture:
    """Reads block strings.

    Args:
        strings: a list of strings, timm's list of lists, or the text form.
        source: names it in messages.
        settings: what the strings leave open; ``# key: value`` lines of a text come on top.

    Raises:
        ArchitectureError: an unknown block or option, or one that cannot be held.
    """
    lines = strings.splitlines() if isinstance(strings, str) else list(_flat(strings, source))
    values = settings_of(lines, source)
    texts: list[str] = []
    for line in lines:
        if line.strip() == f"# {SKIP}":
            texts.append(SKIP)
        elif not line.startswith("#"):
            texts += line.split()
    if not texts:
        raise ArchitectureError(f"{source} holds no block string.")
    around = replace(settings or _usual_settings(texts), **values)
    arch = _Reader(source, around).read(texts)
    kept: dict[str, Any] = {"settings": settings_document(around)}
    others = any(text.partition("_")[0] not in _WRITTEN for text in texts)
    others = others or any(block.op not in _WRITTEN_OPS for block in arch.blocks)
    if others or _written(arch, around) != texts:
        kept["strings"] = texts
    return replace(arch, provenance={PROVENANCE: kept})


def _usual_settings(texts: Sequence[str]) -> TimmSettings:
    """timm's own around such blocks: its networks of ``uir`` blocks have MobileNetV4's head."""
    universal = any(text.startswith("uir_") for text in texts)
    return TimmSettings(head_bias=not universal, head_norm=universal)


def to_timm_strings(arch: Architecture) -> list[str]:
    """The block strings of a network; removed blocks are ``skip``.

    Raises:
        ArchitectureError: a block that timm's strings cannot express.
    """
    around = timm_settings(arch)
    kept = arch.provenance.get(PROVENANCE)
    strings = kept.get("strings") if isinstance(kept, dict) else None
    if isinstance(strings, list) and all(isinstance(text, str) for text in strings):
        read = _Reader("provenance", around).read(strings)
        if read == replace(arch, space=_SPACE, training=None):
            return list(strings)
    return _written(arch, around)


def to_timm_text(arch: Architecture) -> str:
    """The text form: settings, then one block string a line. `from_timm_strings` reads it back.

    Raises:
        ArchitectureError: a block that timm's strings cannot express.

    Example:
        >>> import proxyless_hw as ph
        >>> ph.to_timm_text(ph.load_architecture("mobilenet-v2")).splitlines()[-1]
        'ir_r1_k3_s1_e6_c320'
    """
    require_architecture(arch)
    lines = [f"# {key}: {value}" for key, value in settings_document(timm_settings(arch)).items()]
    lines += [f"# {SKIP}" if text == SKIP else text for text in to_timm_strings(arch)]
    return "\n".join(lines) + "\n"


_SPACE: Final = "timm"


def _flat(strings: Sequence[Any], source: str, depth: int = 0) -> Iterator[str]:
    for item in strings:
        if isinstance(item, str):
            yield item.strip()
        elif isinstance(item, (list, tuple)) and depth < 2:
            yield from _flat(item, source, depth + 1)
        else:
            raise ArchitectureError(f"{source} must hold strings: received {str(item)[:80]!r}.")


class _Reader:
    """Turns block strings into layers, one after the other."""

    def __init__(self, source: str, settings: TimmSettings) -> None:
        self.source = source
        self.settings = settings

    def read(self, texts: Sequence[str]) -> Architecture:
        settings = self.settings
        stem = LayerSpec(
            "conv", 3, settings.stem, kernel=3, stride=settings.stem_stride, act=settings.act
        )
        blocks: list[LayerSpec] = []
        in_c = stem.out_c
        head: list[LayerSpec] = []
        for index, text in enumerate(texts):
            layers = list(self.layers(text, in_c))
            in_c = layers[-1].out_c
            if index == len(texts) - 1 and layers[-1].op == "conv" and len(layers) == 1:
                head = [*layers, LayerSpec("pool", in_c, in_c)]
            else:
                blocks += layers
            if len(blocks) > MAX_POSITIONS:
                raise ArchitectureError(f"{self.source} holds more than {MAX_POSITIONS} blocks.")
        if settings.head:
            bias = "_bias" if settings.head_bias else ""
            op = f"conv_nobn{bias}" if head and not settings.head_norm else "conv"
            head.append(LayerSpec(op, in_c, settings.head, act=settings.act))
            in_c = settings.head
        return Architecture(
            space=_SPACE,
            resolution=settings.resolution,
            num_classes=settings.num_classes,
            stem=(stem,),
            blocks=tuple(blocks),
            head=(*head, LayerSpec("classifier", in_c, settings.num_classes)),
            batch_norm=BatchNormSpec(momentum=settings.bn_momentum, eps=settings.bn_eps),
        )

    def layers(self, text: str, in_c: int) -> Iterator[LayerSpec]:
        if text == SKIP:
            yield LayerSpec(ZERO, in_c, in_c, skip=True)
        else:
            yield from parse_block(text, self.source, self.settings).layers(in_c)


def _written(arch: Architecture, settings: TimmSettings) -> list[str]:
    blocks = list(arch.blocks)
    if len(arch.head) == 4:
        blocks.append(arch.head[0])
    texts: list[str] = []
    previous: tuple[str, int] | None = None
    for block in blocks:
        if block.is_zero:
            texts.append(SKIP)
            previous = None
            continue
        head, tail = _block_text(block, settings)
        same = f"{head}_{tail}"
        if previous is not None and previous[0] == same and _repeats(block):
            count = previous[1] + 1
            texts[-1] = texts[-1].replace(f"_r{previous[1]}_", f"_r{count}_", 1)
            previous = (same, count)
        else:
            kind, kernels = head.split("_", 1)
            texts.append(f"{kind}_r1_{kernels}_s{block.stride}_{tail}")
            previous = (same, 1)
    return texts


def _repeats(block: LayerSpec) -> bool:
    return block.stride == 1 and block.in_c == block.out_c


def _block_text(block: LayerSpec, settings: TimmSettings) -> tuple[str, str]:
    """(type and kernels, the options behind the stride), which all repeats share."""
    if block.op not in _WRITTEN_OPS:
        raise ArchitectureError(f"timm's strings have no block for op '{block.op}'.")
    joins = block.stride == 1 and block.in_c == block.out_c
    words = [f"c{block.out_c}"]
    kind, kernels = "cn", f"k{block.kernel}"
    if block.op in ("mbconv", "mbconv_pw"):
        kind = "ir" if has_expansion(block) else "ds"
    elif block.op == "uib":
        sizes = (0 if size == 1 else size for size in (block.start_kernel, block.kernel))
        kind, kernels = "uir", "a{}_k{}".format(*sizes)
    elif block.op == "fused_mbconv":
        kind = "er"
    if kind not in ("cn", "ds"):
        words.insert(0, f"e{_ratio(block)}")
    if block.se:
        words.append(f"se{_squeeze_ratio(block)}")
    if block.act != settings.act:
        if block.act not in ACT_TOKENS:
            raise ArchitectureError(f"timm's strings have no activation '{block.act}'.")
        words.append(f"n{ACT_TOKENS[block.act]}")
    if joins and block.skip != (block.op != "conv"):
        words.append("skip" if block.skip else "noskip")
    return f"{kind}_{kernels}", "_".join(words)


def _ratio(block: LayerSpec) -> str:
    for digits in range(1, 12):
        text = f"{block.expand:.{digits}g}"
        if "e" not in text and make_divisible(block.in_c * float(text)) == block.mid_c:
            return text
    raise ArchitectureError(
        f"timm rounds expanded widths to multiples of 8: {block.in_c} channels expanded to "
        f"{block.mid_c} cannot be written."
    )


def _squeeze_ratio(block: LayerSpec) -> str:
    if block.se == 1:
        return "0.25"
    for digits in range(1, 12):
        text = f"{block.se / block.in_c:.{digits}g}"
        if "e" not in text and round(block.in_c * float(text)) == block.se:
            return text
    raise ArchitectureError(f"squeeze-excite to {block.se} channels cannot be written as a ratio.")
