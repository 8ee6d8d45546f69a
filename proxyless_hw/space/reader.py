"""Turns the YAML of a search space into a `SearchSpace`, naming the field of every fault."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NoReturn

from proxyless_hw.errors import SpaceError, did_you_mean
from proxyless_hw.space.bottlenecks import broken_rule
from proxyless_hw.space.limits import (
    MAX_CANDIDATES,
    MAX_CHANNELS,
    MAX_IMAGE_CHANNELS,
    MAX_POSITIONS,
    MAX_RESOLUTION,
)
from proxyless_hw.space.op_names import (
    CONVOLUTION_BLOCKS,
    SHORTCUT_OPS,
    START_KERNEL,
    uib_form,
)
from proxyless_hw.space.op_options import OpOptions
from proxyless_hw.space.op_registry import (
    STANDARD_KEYS,
    is_known_op,
    known_ops,
    op_options,
    own_op,
)
from proxyless_hw.space.search_space import SCHEMA, SearchSpace
from proxyless_hw.space.specs import (
    ACTIVATIONS,
    ZERO,
    BatchNormSpec,
    LayerSpec,
    Position,
    op_variant,
    usual_activation,
)
from proxyless_hw.space.wiring import Wiring

MAX_POOL_STRIDE = 32

_SPACE_KEYS = frozenset(
    (
        *("schema", "id", "resolution", "resolutions", "num_classes", "batch_norm"),
        *("input", "stem", "candidates", "zero", "stages", "tree", "head"),
    )
)
_STAGE_KEYS = frozenset(("width", "depth", "stride", "zero", "candidates", "act", "se"))


class SpaceReader:
    """Turns a parsed YAML document into a `SearchSpace`, naming the field of every fault."""

    def __init__(self, source: str) -> None:
        self.source = source

    def read(self, document: object) -> SearchSpace:
        root = self.mapping(document, "document", _SPACE_KEYS)
        if root.get("schema") != SCHEMA:
            self.fail("schema", f"must be '{SCHEMA}'", root.get("schema"))
        space_id = root.get("id")
        if not isinstance(space_id, str) or not space_id or len(space_id) > 80:
            self.fail("id", "must be a name of 1 to 80 characters", space_id)
        resolution = self.integer(root, "resolution", "resolution", 1, MAX_RESOLUTION)
        num_classes = self.integer(root, "num_classes", "num_classes", 1, MAX_CHANNELS)
        if ("tree" in root) == ("stages" in root):
            self.fail("document", "holds either 'stages' (a chain) or 'tree'", sorted(root))
        stem = self.stem(root.get("stem"), self.input_channels(root.get("input", {})))
        wiring: Wiring = ()
        if "tree" in root:
            from proxyless_hw.space.tree import read_tree

            positions, wiring = read_tree(self, root["tree"], root, stem[-1].out_c)
        else:
            positions = self.stages(root, stem[-1].out_c)
        if not any(position.is_slot for position in positions):
            self.fail("stages", "must hold at least one slot with two candidates", "none")
        return SearchSpace(
            id=space_id,
            resolution=resolution,
            resolutions=self.resolutions(root, resolution),
            num_classes=num_classes,
            batch_norm=self.batch_norm(root.get("batch_norm", {})),
            stem=stem,
            positions=positions,
            head=self.head(root.get("head"), positions[-1].candidates[0].out_c, num_classes),
            wiring=wiring,
        )

    def input_channels(self, value: object) -> int:
        fields = self.mapping(value, "input", frozenset(("channels",)))
        return self.integer(fields, "channels", "input.channels", 1, MAX_IMAGE_CHANNELS, default=3)

    def stem(self, value: object, in_c: int) -> tuple[LayerSpec, ...]:
        items = value if isinstance(value, list) else [value]
        if not 1 <= len(items) <= 16:
            self.fail("stem", "must be a layer or a list of 1 to 16 layers", value)
        layers: list[LayerSpec] = []
        for index, item in enumerate(items):
            where = f"stem[{index}]" if isinstance(value, list) else "stem"
            layers.append(self.fixed_layer(item, where, in_c))
            if op_variant(layers[0].op).base != "conv":
                self.fail(f"{where}.op", "must be 'conv'", layers[0].op)
            in_c = layers[-1].out_c
        return tuple(layers)

    def resolutions(self, root: Mapping[str, object], default: int) -> tuple[int, ...]:
        values = root.get("resolutions", [default])
        if not isinstance(values, list) or not 1 <= len(values) <= 64:
            self.fail("resolutions", "must be a list of 1 to 64 resolutions", values)
        checked = [
            self.integer({"item": value}, "item", f"resolutions[{index}]", 1, MAX_RESOLUTION)
            for index, value in enumerate(values)
        ]
        return tuple(sorted(set(checked)))

    def batch_norm(self, value: object) -> BatchNormSpec:
        fields = self.mapping(value, "batch_norm", frozenset(("momentum", "eps")))
        settings = {}
        for name, low, high in (("momentum", 0.0, 1.0), ("eps", 1e-12, 1.0)):
            if name in fields:
                settings[name] = self.number(fields[name], f"batch_norm.{name}", low, high)
        return BatchNormSpec(**settings)

    def stages(self, root: Mapping[str, object], in_c: int) -> tuple[Position, ...]:
        stages = root.get("stages")
        if not isinstance(stages, list) or not stages:
            self.fail("stages", "must be a non-empty list", stages)
        positions: list[Position] = []
        for index, value in enumerate(stages):
            where = f"stages[{index}]"
            stage = self.mapping(value, where, _STAGE_KEYS)
            depth = self.integer(stage, "depth", f"{where}.depth", 1, MAX_POSITIONS)
            stride = self.integer(stage, "stride", f"{where}.stride", 1, 2)
            width = self.integer(stage, "width", f"{where}.width", 1, MAX_CHANNELS)
            zero = stage.get("zero", root.get("zero", False))
            if not isinstance(zero, bool):
                self.fail(f"{where}.zero", "must be true or false", zero)
            choices = self.with_defaults(stage, stage.get("candidates", root.get("candidates")))
            name = f"{where}.candidates" if "candidates" in stage else "candidates"
            if not isinstance(choices, list) or not 1 <= len(choices) <= 256:
                self.fail(name, "must be a list of 1 to 256 ops", choices)
            if (len(positions) + depth) * len(choices) > MAX_CANDIDATES:
                self.fail(
                    name, f"may give at most {MAX_CANDIDATES} candidates in all", len(choices)
                )
            for block in range(depth):
                block_stride = stride if block == 0 else 1
                candidates = tuple(
                    self.candidate(choice, f"{name}[{number}]", in_c, width, block_stride)
                    for number, choice in enumerate(choices)
                )
                if len(set(candidates)) != len(candidates):
                    self.fail(name, "must not repeat a candidate", choices)
                if zero and block_stride == 1 and in_c == width:
                    candidates += (LayerSpec(op=ZERO, in_c=in_c, out_c=width, skip=True),)
                positions.append(Position(candidates, stage=index))
                in_c = width
            if len(positions) > MAX_POSITIONS:
                self.fail("stages", f"may hold at most {MAX_POSITIONS} blocks", len(positions))
        return tuple(positions)

    def with_defaults(self, stage: Mapping[str, object], choices: object) -> object:
        """A stage's activation and squeeze-excite hold for its candidates that name none."""
        defaults = {key: stage[key] for key in ("act", "se") if key in stage}
        if not defaults or not isinstance(choices, list):
            return choices
        return [{**defaults, **item} if isinstance(item, dict) else item for item in choices]

    def candidate(self, value: object, where: str, in_c: int, out_c: int, stride: int) -> LayerSpec:
        fields = self.op_mapping(value, where)
        for name in ("width", "stride"):
            if name in fields:
                self.fail(f"{where}.{name}", "is set by the stage, not the candidate", fields[name])
        layer = self.layer(fields, where, in_c, out_c, stride)
        if layer.op in ("classifier", "pool"):
            self.fail(f"{where}.op", "must be an op that keeps a feature map", layer.op)
        return layer

    def fixed_layer(self, value: object, where: str, in_c: int) -> LayerSpec:
        fields = self.op_mapping(value, where)
        base = op_variant(str(fields.get("op"))).base
        pooling = base in ("avgpool", "maxpool")
        longest = MAX_POOL_STRIDE if pooling else 2
        stride = self.integer(fields, "stride", f"{where}.stride", 1, longest, default=1)
        keeps = in_c if pooling or base == "identity" else None
        width = self.integer(fields, "width", f"{where}.width", 1, MAX_CHANNELS, default=keeps)
        if keeps is not None and width != in_c:
            self.fail(f"{where}.width", f"of '{fields['op']}' is that of its input, {in_c}", width)
        return self.layer(fields, where, in_c, width, stride)

    def head(self, value: object, in_c: int, num_classes: int) -> tuple[LayerSpec, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= 16:
            self.fail("head", "must be a list of 1 to 16 layers ending with the classifier", value)
        layers: list[LayerSpec] = []
        for index, item in enumerate(value):
            where = f"head[{index}]"
            fields = self.op_mapping(item, where)
            last = index == len(value) - 1
            if (fields.get("op") == "classifier") != last:
                self.fail(f"{where}.op", "the classifier is the last layer", fields.get("op"))
            if last:
                layers.append(LayerSpec(op="classifier", in_c=in_c, out_c=num_classes))
            elif fields.get("op") == "pool":
                layers.append(LayerSpec(op="pool", in_c=in_c, out_c=in_c))
            else:
                layers.append(self.fixed_layer(fields, where, in_c))
            in_c = layers[-1].out_c
        return tuple(layers)

    def layer(
        self, fields: Mapping[str, object], where: str, in_c: int, out_c: int, stride: int
    ) -> LayerSpec:
        op = fields.get("op")
        if not isinstance(op, str) or not is_known_op(op):
            hint = did_you_mean(str(op), known_ops())
            self.fail(f"{where}.op", f"must be one of {', '.join(sorted(known_ops()))}", op, hint)
        kernel = self.integer(fields, "kernel", f"{where}.kernel", 1, 31, default=1)
        variant = op_variant(op)
        pooling = variant.base in ("avgpool", "maxpool")
        if kernel % 2 == 0 and not (pooling and stride > 1):
            self.fail(f"{where}.kernel", "must be odd", kernel)
        expand = self.number(fields.get("expand", 1), f"{where}.expand", 0.01, 64)
        act = fields.get("act", usual_activation(op))
        if act not in ACTIVATIONS:
            self.fail(f"{where}.act", f"must be one of {', '.join(ACTIVATIONS)}", act)
        if variant.groups > 1 and any(
            width % variant.groups for width in (in_c, round(in_c * expand), out_c)
        ):
            self.fail(f"{where}.op", f"has groups that divide {in_c} and {out_c} channels", op)
        if variant.pw and expand != 1:
            self.fail(f"{where}.expand", "must be 1 in 'mbconv_pw' (write mbconv)", expand)
        if in_c != out_c and (pooling or variant.base == "identity"):
            self.fail(f"{where}.op", f"keeps its channels; here {in_c} become {out_c}", op)
        shortcut = variant.base in SHORTCUT_OPS or (variant.is_custom and own_op(op).shortcut)
        layer = LayerSpec(
            op,
            in_c,
            out_c,
            kernel=kernel,
            stride=stride,
            expand=int(expand) if float(expand).is_integer() else expand,
            skip=shortcut and stride == 1 and in_c == out_c,
            act=act,
            se=self.squeeze(fields.get("se", 0), f"{where}.se", in_c),
            options=self.options(op, fields, where),
        )
        layer = layer if layer.mid_c >= 1 else replace(layer, expand=1 / in_c)
        return self.convolution_block(layer, where) if op in CONVOLUTION_BLOCKS else layer

    def convolution_block(self, layer: LayerSpec, where: str) -> LayerSpec:
        """The block under its one name: a ``uib`` of the form IB is an ``mbconv``."""
        form = uib_form(layer.start_kernel, layer.kernel)
        if layer.op == "uib" and form == "IB":
            return replace(layer, op="mbconv_pw" if layer.expand == 1 else "mbconv")
        rule = broken_rule(layer)
        if rule is not None:
            raise SpaceError(f"{self.source}: {where}: {rule}.")
        return layer

    def squeeze(self, value: object, where: str, in_c: int) -> int:
        """Squeeze-excite as `OpSettings.se` has it; a share is one of the input channels."""
        if type(value) is not float:
            return self.integer({"se": value}, "se", where, 0, MAX_CHANNELS)
        squeezed = round(in_c * value) if 0 < value < 1 else 0
        if squeezed < 2:
            self.fail(where, f"must be a share that leaves 2 of {in_c} channels or more", value)
        return squeezed

    def options(self, op: str, fields: Mapping[str, object], where: str) -> OpOptions:
        given = {key: value for key, value in fields.items() if key not in STANDARD_KEYS}
        try:
            return op_options(op, given)
        except ValueError as cause:
            raise SpaceError(f"{self.source}: {where}: {cause}.") from cause

    def op_mapping(self, value: object, where: str) -> Mapping[str, object]:
        """An op's fields; what an own op takes beyond the standard ones is checked by `options`."""
        allowed = STANDARD_KEYS
        if isinstance(value, dict) and value.get("op") == "uib":
            allowed |= {START_KERNEL}
        if isinstance(value, dict) and op_variant(str(value.get("op"))).is_custom:
            allowed = frozenset(value)
        return self.mapping(value, where, allowed)

    def mapping(self, value: object, where: str, allowed: frozenset[str]) -> Mapping[str, object]:
        if not isinstance(value, dict):
            self.fail(where, "must be a mapping of fields", value)
        for key in value:
            if key not in allowed:
                hint = did_you_mean(str(key), allowed)
                self.fail(where, f"has an unknown field '{str(key)[:60]}'", value[key], hint)
        return value

    def integer(
        self,
        fields: Mapping[str, object],
        key: str,
        where: str,
        low: int,
        high: int,
        default: int | None = None,
    ) -> int:
        value = fields.get(key, default)
        if type(value) is not int or not low <= value <= high:
            self.fail(where, f"must be a whole number from {low} to {high}", value)
        return value

    def number(self, value: object, where: str, low: float, high: float) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
            self.fail(where, f"must be a number from {low:g} to {high:g}", value)
        return value  # type: ignore[return-value]

    def fail(self, where: str, rule: str, value: object, hint: str = "") -> NoReturn:
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        raise SpaceError(f"{self.source}: {where} {rule}: received {shown}.{hint}")
