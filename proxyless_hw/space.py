"""Search spaces: which op may stand at each position of a network. Data from YAML, not code."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

from proxyless_hw.documents import parse_yaml, read_text
from proxyless_hw.errors import SpaceError, did_you_mean
from proxyless_hw.specs import ACTIVATIONS, ZERO, LayerSpec, OpSpec

SCHEMA = "proxyless-hw-space/1"
MAX_CHANNELS = 65536
MAX_POSITIONS = 4096
MAX_RESOLUTION = 8192

_SPACE_KEYS = frozenset(
    (
        *("schema", "id", "resolution", "resolutions", "num_classes", "batch_norm"),
        *("stem", "candidates", "zero", "stages", "head"),
    )
)
_STAGE_KEYS = frozenset(("width", "depth", "stride", "zero", "candidates"))
_LAYER_KEYS = frozenset(("op", "kernel", "stride", "width", "expand", "act", "se"))


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


@dataclass(frozen=True)
class SearchSpace:
    """A chain of positions between a fixed stem and a fixed head.

    Attributes:
        id: name of the space, kept with every run and checkpoint.
        resolution: default deployment resolution in pixels.
        resolutions: input resolutions that an outer search may choose from.
        num_classes: default number of classes.
        batch_norm: settings of every BatchNorm layer.
        stem: fixed first layers.
        positions: fixed blocks and slots, in order.
        head: fixed last layers, ending with the classifier.
    """

    id: str
    resolution: int
    resolutions: tuple[int, ...]
    num_classes: int
    batch_norm: BatchNormSpec
    stem: tuple[LayerSpec, ...]
    positions: tuple[Position, ...]
    head: tuple[LayerSpec, ...]

    @classmethod
    def load(cls, name_or_path: str | Path) -> SearchSpace:
        """Loads a shipped space by name, or a YAML file by path.

        Raises:
            SpaceError: no such space, or the file breaks a rule (the message names the field).
        """
        path = Path(name_or_path)
        if path.suffix in (".yaml", ".yml") or path.is_file():
            return cls.from_yaml(read_text(path, SpaceError, "space file"), str(path))
        name = str(name_or_path)
        shipped = shipped_spaces()
        if name not in shipped:
            raise SpaceError(
                f"no search space '{name}'.{did_you_mean(name, shipped)} "
                f"Shipped: {', '.join(sorted(shipped))}; or give the path of a YAML file."
            )
        return cls.from_yaml(shipped[name].read_text(encoding="utf-8"), f"{name}.yaml")

    @classmethod
    def from_yaml(cls, text: str, source: str = "space") -> SearchSpace:
        """Builds a space from YAML text; `source` names it in error messages.

        Raises:
            SpaceError: a rule is broken; the message names the source, field and value.
        """
        return _SpaceReader(source).read(parse_yaml(text, SpaceError, source))

    @cached_property
    def slots(self) -> tuple[Position, ...]:
        """The searchable positions, in order; their candidates have Zero last."""
        return tuple(position for position in self.positions if position.is_slot)

    @property
    def max_candidates(self) -> int:
        """Largest number of candidates in a slot: the width of the padded alpha tensor."""
        return max(len(slot.candidates) for slot in self.slots)

    @property
    def num_candidates(self) -> int:
        """Candidates over all slots."""
        return sum(len(slot.candidates) for slot in self.slots)

    def check_choices(self, choices: Sequence[int]) -> tuple[int, ...]:
        """Returns one candidate index per slot as plain ints.

        Raises:
            SpaceError: wrong number of choices, or an index outside its slot.
        """
        plain = tuple(int(choice) for choice in choices)
        if len(plain) != len(self.slots):
            raise SpaceError(
                f"space '{self.id}' has {len(self.slots)} slots: received {len(plain)} choices."
            )
        for index, (slot, choice) in enumerate(zip(self.slots, plain, strict=True)):
            if not 0 <= choice < len(slot.candidates):
                raise SpaceError(
                    f"slot {index} of space '{self.id}' has candidates 0 to "
                    f"{len(slot.candidates) - 1}: received {choice}."
                )
        return plain

    def layers(self, choices: Sequence[int]) -> tuple[LayerSpec, ...]:
        """The block at every position (fixed ones included) for one choice per slot."""
        remaining = iter(self.check_choices(choices))
        return tuple(
            position.candidates[next(remaining) if position.is_slot else 0]
            for position in self.positions
        )

    def position_sizes(self, resolution: int) -> list[tuple[int, int]]:
        """Spatial input size (height, width) of every position."""
        size = (resolution, resolution)
        for layer in self.stem:
            size = layer.output_size(*size)
        sizes = []
        for position in self.positions:
            sizes.append(size)
            size = position.candidates[0].output_size(*size)
        return sizes

    def slot_ops(self, resolution: int | None = None) -> list[list[OpSpec | None]]:
        """For each slot the priced op of each candidate; None for Zero, which costs nothing."""
        sizes = self.position_sizes(self._check_resolution(resolution))
        return [
            [None if layer.is_zero else layer.at(*size) for layer in position.candidates]
            for position, size in zip(self.positions, sizes, strict=True)
            if position.is_slot
        ]

    def fixed_ops(
        self, resolution: int | None = None, num_classes: int | None = None
    ) -> list[OpSpec]:
        """The ops every network of the space has: stem, fixed blocks, head. Repeats are kept."""
        size = (self._check_resolution(resolution),) * 2
        ops = []
        for layer in self.stem:
            ops.append(layer.at(*size))
            size = layer.output_size(*size)
        for position in self.positions:
            if not position.is_slot:
                ops.append(position.candidates[0].at(*size))
            size = position.candidates[0].output_size(*size)
        for layer in self.head:
            ops.append(layer.with_classes(num_classes or self.num_classes).at(*size))
            size = layer.output_size(*size)
        return ops

    def ops(self, resolution: int | None = None, num_classes: int | None = None) -> list[OpSpec]:
        """Every distinct op the space can use at a resolution, in order of first use."""
        return list(dict.fromkeys(self._all_ops(resolution, num_classes)))

    def _all_ops(self, resolution: int | None, num_classes: int | None) -> Iterator[OpSpec]:
        yield from self.fixed_ops(resolution, num_classes)
        for candidates in self.slot_ops(resolution):
            yield from (op for op in candidates if op is not None)

    def _check_resolution(self, resolution: int | None) -> int:
        value = self.resolution if resolution is None else resolution
        if not 1 <= value <= MAX_RESOLUTION:
            raise SpaceError(
                f"a resolution lies between 1 and {MAX_RESOLUTION} pixels: received {value}."
            )
        return value


def shipped_spaces() -> dict[str, Any]:
    """The shipped spaces: name to readable resource."""
    folder = resources.files("proxyless_hw") / "spaces"
    return {
        item.name.removesuffix(".yaml"): item
        for item in folder.iterdir()
        if item.name.endswith(".yaml")
    }


class _SpaceReader:
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
        stem = self.fixed_layer(root.get("stem"), "stem", in_c=3)
        if stem.op != "conv":
            self.fail("stem.op", "must be 'conv'", stem.op)
        positions = self.stages(root, stem.out_c)
        if not any(position.is_slot for position in positions):
            self.fail("stages", "must hold at least one slot with two candidates", "none")
        return SearchSpace(
            id=space_id,
            resolution=resolution,
            resolutions=self.resolutions(root, resolution),
            num_classes=num_classes,
            batch_norm=self.batch_norm(root.get("batch_norm", {})),
            stem=(stem,),
            positions=positions,
            head=self.head(root.get("head"), positions[-1].candidates[0].out_c, num_classes),
        )

    def resolutions(self, root: Mapping[str, Any], default: int) -> tuple[int, ...]:
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

    def stages(self, root: Mapping[str, Any], in_c: int) -> tuple[Position, ...]:
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
            choices = stage.get("candidates", root.get("candidates"))
            name = f"{where}.candidates" if "candidates" in stage else "candidates"
            if not isinstance(choices, list) or not 1 <= len(choices) <= 256:
                self.fail(name, "must be a list of 1 to 256 ops", choices)
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

    def candidate(self, value: object, where: str, in_c: int, out_c: int, stride: int) -> LayerSpec:
        fields = self.mapping(value, where, _LAYER_KEYS)
        for name in ("width", "stride"):
            if name in fields:
                self.fail(f"{where}.{name}", "is set by the stage, not the candidate", fields[name])
        layer = self.layer(fields, where, in_c, out_c, stride)
        if layer.op in ("classifier", "pool"):
            self.fail(f"{where}.op", "must be an op that keeps a feature map", layer.op)
        return layer

    def fixed_layer(self, value: object, where: str, in_c: int) -> LayerSpec:
        fields = self.mapping(value, where, _LAYER_KEYS)
        stride = self.integer(fields, "stride", f"{where}.stride", 1, 2, default=1)
        width = self.integer(fields, "width", f"{where}.width", 1, MAX_CHANNELS)
        return self.layer(fields, where, in_c, width, stride)

    def head(self, value: object, in_c: int, num_classes: int) -> tuple[LayerSpec, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= 16:
            self.fail("head", "must be a list of 1 to 16 layers ending with the classifier", value)
        layers: list[LayerSpec] = []
        for index, item in enumerate(value):
            where = f"head[{index}]"
            fields = self.mapping(item, where, _LAYER_KEYS)
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
        self, fields: Mapping[str, Any], where: str, in_c: int, out_c: int, stride: int
    ) -> LayerSpec:
        from proxyless_hw.op_registry import is_known_op, known_ops

        op = fields.get("op")
        if not isinstance(op, str) or not is_known_op(op):
            hint = did_you_mean(str(op), known_ops())
            self.fail(f"{where}.op", f"must be one of {', '.join(sorted(known_ops()))}", op, hint)
        kernel = self.integer(fields, "kernel", f"{where}.kernel", 1, 31, default=1)
        if kernel % 2 == 0:
            self.fail(f"{where}.kernel", "must be odd", kernel)
        expand = self.number(fields.get("expand", 1), f"{where}.expand", 0.01, 64)
        act = fields.get("act", "relu6" if op in ("conv", "mbconv") else "none")
        if act not in ACTIVATIONS:
            self.fail(f"{where}.act", f"must be one of {', '.join(ACTIVATIONS)}", act)
        layer = LayerSpec(
            op=op,
            in_c=in_c,
            out_c=out_c,
            kernel=kernel,
            stride=stride,
            expand=int(expand) if float(expand).is_integer() else expand,
            skip=op == "mbconv" and stride == 1 and in_c == out_c,
            act=act,
            se=self.integer(fields, "se", f"{where}.se", 0, MAX_CHANNELS, default=0),
        )
        return layer if layer.mid_c >= 1 else replace(layer, expand=1 / in_c)

    def mapping(self, value: object, where: str, allowed: frozenset[str]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.fail(where, "must be a mapping of fields", value)
        for key in value:
            if key not in allowed:
                hint = did_you_mean(str(key), allowed)
                self.fail(where, f"has an unknown field '{str(key)[:60]}'", value[key], hint)
        return value

    def integer(
        self,
        fields: Mapping[str, Any],
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
