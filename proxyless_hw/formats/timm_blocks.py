"""One block string of timm (its EfficientNet family) as the layers that it stands for.

timm's rules, from its ``_efficientnet_builder`` (1.0): a block of type ``ir``, ``ds``, ``er`` or
``uir`` has a shortcut where stride is 1 and channels match, unless it says ``noskip``; a ``cn``
block has one only where it says ``skip``. ``a`` and ``p`` are the kernels of the convolution at
the start and at the end (of ``uir``: depthwise ones, 0 for none). ``d`` of ``ir`` and ``ds`` turns
space into depth.

``er`` is ``fused_mbconv``; ``uir`` is ``uib``, or ``mbconv`` where its only depthwise convolution
is the one in the middle. What no op here is (``dsa``, a ``uir`` with ``p`` or, at two depthwise
convolutions, with ``se``) is read as the parts that it consists of where no shortcut leads around
them, and refused otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.formats.timm_settings import ACTS, MAX_DIGITS, MAX_LINE, TimmSettings
from proxyless_hw.space.bottlenecks import start_options
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_STRIDE
from proxyless_hw.space.op_options import NO_OPTIONS, OpOptions
from proxyless_hw.space.specs import LayerSpec, make_divisible

MAX_KERNEL: Final = 31
_TYPES: Final = ("ds", "ir", "cn", "er", "uir", "dsa")
_OPTION: Final = re.compile(r"(?P<key>se|[a-z])(?P<value>\d+(?:\.\d+)?)")
_KEYS: Final = ("r", "k", "s", "e", "c", "se", "a", "p", "d")


@dataclass(frozen=True, slots=True)
class TimmBlock:
    """A block string, taken apart.

    Attributes:
        text: the string.
        kind: its type.
        options: values by key.
        words: ``skip``, ``noskip`` and, under ``n``, the activation.
        source: names the file in messages.
        settings: what the strings leave open.
    """

    text: str
    kind: str
    options: Mapping[str, str]
    words: Mapping[str, str]
    source: str
    settings: TimmSettings

    def layers(self, in_c: int) -> Iterator[LayerSpec]:
        """The layers of all its repeats.

        Raises:
            ArchitectureError: a value is out of range, or no op here holds the block.
        """
        out_c = self.whole("c", 1, MAX_CHANNELS)
        for index in range(self.whole("r", 1, 256)):
            stride = self.whole("s", 1, min(2, MAX_STRIDE)) if index == 0 else 1
            yield from self.block(in_c, out_c, stride)
            in_c = out_c

    def block(self, in_c: int, out_c: int, stride: int) -> Iterator[LayerSpec]:
        """The layers of one block."""
        asked = "skip" in self.words if self.kind == "cn" else "noskip" not in self.words
        joins = asked and stride == 1 and in_c == out_c and self.kind != "dsa"
        kernel = self.kernel("k", 0 if self.kind == "uir" else 1)
        around = 0 if self.kind == "uir" else 1
        start, end = self.kernel("a", 0, around), self.kernel("p", 0, around)
        if self.kind != "uir" and (start, end) != (1, 1):
            self.fail("must have pointwise convolutions around its kernel (a1, p1)")
        if self.kind == "cn":
            yield LayerSpec(
                "conv", in_c, out_c, kernel=kernel, stride=stride, skip=joins, act=self.act
            )
        elif self.kind in ("ds", "ir"):
            yield self._bottleneck(in_c, out_c, stride, kernel, joins)
        elif self.kind == "er":
            yield self._expanding("fused_mbconv", in_c, out_c, stride, kernel, joins)
        elif self.kind == "uir":
            yield from self._universal(in_c, out_c, stride, (start, kernel, end), joins)
        else:
            yield from self._separable(in_c, out_c, stride, kernel)

    def _bottleneck(
        self, in_c: int, out_c: int, stride: int, kernel: int, joins: bool
    ) -> LayerSpec:
        expand = self.expand(in_c)
        # All but ds have their first 1x1 convolution at expansion 1 too.
        return LayerSpec(
            "mbconv_pw" if expand == 1 and self.kind != "ds" else "mbconv",
            in_c,
            out_c,
            kernel=kernel,
            stride=stride,
            expand=expand,
            skip=joins,
            act=self.act,
            se=self.squeeze(in_c),
        )

    def _separable(self, in_c: int, out_c: int, stride: int, kernel: int) -> Iterator[LayerSpec]:
        """``dsa``: ds with an activation at the end."""
        self.refuse_squeeze()
        yield _depthwise(in_c, kernel, stride, self.act)
        yield LayerSpec("conv", in_c, out_c, act=self.act)

    def _universal(
        self, in_c: int, out_c: int, stride: int, kernels: tuple[int, int, int], joins: bool
    ) -> Iterator[LayerSpec]:
        """``uir`` with depthwise kernels at its start, in its middle and at its end; 0 for none."""
        start, kernel, end = kernels
        if stride > 1 and not any(kernels):
            self.fail("has a stride and no depthwise convolution to take it")
        apart = bool(start and kernel and "se" in self.options)
        if joins and (end or apart):
            self.fail(
                "has a shortcut around what no op here holds together: a uir with a depthwise "
                "convolution at its end (p), or with one at its start and squeeze-excite"
            )
        takes_stride = stride if start or kernel else 1
        if apart:
            yield _depthwise(in_c, start, 1, "none")
        if kernel and (apart or not start):
            yield self._bottleneck(in_c, out_c, takes_stride, kernel, joins)
        else:
            yield self._expanding(
                "uib", in_c, out_c, takes_stride, kernel or 1, joins, start_options(start or 1)
            )
        if end:
            yield _depthwise(out_c, end, 1 if start or kernel else stride, "none")

    def _expanding(
        self,
        op: str,
        in_c: int,
        out_c: int,
        stride: int,
        kernel: int,
        joins: bool,
        options: OpOptions = NO_OPTIONS,
    ) -> LayerSpec:
        """A block that has its first pointwise or whole convolution at every expansion."""
        self.refuse_squeeze()
        middle = make_divisible(in_c * self.ratio)
        return LayerSpec(
            op,
            in_c,
            out_c,
            kernel=kernel,
            stride=stride,
            expand=_ratio_of(in_c, middle, self.ratio),
            skip=joins,
            act=self.act,
            options=options,
        )

    def refuse_squeeze(self) -> None:
        """Raises the error of a squeeze-and-excite that no op here has."""
        if "se" in self.options:
            self.fail("has squeeze-excite between its convolutions, which no op here holds")

    @property
    def act(self) -> str:
        """Its activation."""
        return self.words.get("n", self.settings.act)

    def fail(self, rule: str) -> NoReturn:
        """Raises the error of this block."""
        raise ArchitectureError(f"{self.source}: block {self.text[:80]!r} {rule}.")

    def whole(self, key: str, low: int, high: int) -> int:
        """A whole number."""
        value = self.options[key]
        if not value.isdigit() or len(value) > MAX_DIGITS or not low <= int(value) <= high:
            self.fail(f"must have {key} from {low} to {high}")
        return int(value)

    def kernel(self, key: str, low: int, default: int = 0) -> int:
        """An odd kernel; 0 for none where that is allowed."""
        size = self.whole(key, low, MAX_KERNEL) if key in self.options else default
        if size and size % 2 == 0:
            self.fail("must have odd kernels" if key != "k" else "must have an odd kernel")
        return size

    @property
    def ratio(self) -> float:
        """Expanded width over input width."""
        ratio = float(self.options.get("e", "1"))
        if not 0 < ratio <= 64:
            self.fail("must expand by at most 64")
        return ratio

    def expand(self, in_c: int) -> float:
        """The ratio that gives timm's rounded width."""
        ratio = self.ratio
        if self.kind == "ds":
            if ratio != 1:
                self.fail("of type ds has no expansion")
            return 1
        middle = make_divisible(in_c * ratio)
        return _ratio_of(in_c, middle, ratio)

    def squeeze(self, in_c: int) -> int:
        """Squeeze-excite, as `OpSettings.se` has it."""
        if "se" not in self.options:
            return 0
        ratio = float(self.options["se"])
        if self.settings.se == "middle":
            if ratio != 0.25:
                self.fail("must squeeze to a quarter of the middle (se0.25)")
            return 1
        squeezed = round(in_c * ratio)
        if not 2 <= squeezed <= MAX_CHANNELS:
            self.fail("must squeeze to 2 channels or more")
        return squeezed


def parse_block(text: str, source: str, settings: TimmSettings) -> TimmBlock:
    """Takes a block string apart.

    Raises:
        ArchitectureError: an unknown type or option, or one that is missing.
    """
    kind, *tokens = text.split("_")
    options: dict[str, str] = {}
    words: dict[str, str] = {}
    block = TimmBlock(text, kind, options, words, source, settings)
    if len(text) > MAX_LINE:
        block.fail(f"is longer than {MAX_LINE} characters")
    if kind not in _TYPES:
        block.fail(f"must be of type {', '.join(_TYPES)}.{did_you_mean(kind, _TYPES)}")
    for token in tokens:
        match = _OPTION.fullmatch(token)
        if token in ("skip", "noskip"):
            words[token] = token
        elif token[:1] == "n" and token[1:] in ACTS:
            words["n"] = ACTS[token[1:]]
        elif match is None or match["key"] not in _KEYS:
            block.fail(f"has an option that is not known here: '{token[:40]}'")
        elif match["key"] in options:
            block.fail(f"gives '{match['key']}' twice")
        else:
            options[match["key"]] = match["value"]
    if float(options.get("d", "0")) > 0:
        block.fail(
            "turns space into depth (d), which no op here does"
            if kind in ("ir", "ds", "dsa")
            else f"gives d, which timm does not read in {kind} blocks. Leave it out"
        )
    if len(words.keys() & {"skip", "noskip"}) > 1:
        block.fail("says skip and noskip")
    for key in ("r", "k", "s", "c"):
        if key not in options:
            block.fail(f"lacks '{key}'")
    return block


def _depthwise(channels: int, kernel: int, stride: int, act: str) -> LayerSpec:
    op = "conv" if channels == 1 else f"conv_g{channels}"
    return LayerSpec(op, channels, channels, kernel=kernel, stride=stride, act=act)


def _ratio_of(in_c: int, middle: int, asked: float) -> float:
    """The expansion that gives a middle of this width; the one asked for where it does."""
    exact = asked if round(in_c * asked) == middle else middle / in_c
    return int(exact) if float(exact).is_integer() else exact
