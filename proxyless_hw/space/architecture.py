"""One concrete network: a choice per slot, written out. Immutable, with a JSON file form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_POSITIONS, MAX_RESOLUTION
from proxyless_hw.space.op_registry import is_known_op, known_ops
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import ACTIVATIONS, ZERO, BatchNormSpec, LayerSpec, OpSpec, op_variant
from proxyless_hw.space.wiring import (
    Shape,
    TreeBlock,
    Wiring,
    follow_shapes,
    wiring_from_document,
    wiring_to_document,
)
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import write_text_atomically

SCHEMA = "proxyless-hw-architecture/1"
MAX_STRIDE = 32


@dataclass(frozen=True, slots=True)
class TrainingShape:
    """What a network is trained on, as opposed to where it is deployed.

    Attributes:
        resolution: training resolution in pixels.
        num_classes: classes of the data.
        data: name of the data set.
    """

    resolution: int
    num_classes: int
    data: str


@dataclass(frozen=True)
class Architecture:
    """One network, layer by layer, with its deployment shape.

    Attributes:
        space: id of the search space it comes from, or the name of the published network.
        resolution: deployment input resolution in pixels.
        num_classes: deployment number of classes.
        stem: first layers.
        blocks: the blocks, removed ones included (op ``skip``).
        head: last layers, ending with the classifier.
        batch_norm: settings of every BatchNorm layer.
        wiring: how the blocks connect (see `wiring`); empty for a chain.
        training: the training shape, when it has been searched or trained.
        provenance: where it comes from: table, target_ms, predicted_ms, measured_ms, seed, ...
            Not part of equality.
    """

    space: str
    resolution: int
    num_classes: int
    stem: tuple[LayerSpec, ...]
    blocks: tuple[LayerSpec, ...]
    head: tuple[LayerSpec, ...]
    batch_norm: BatchNormSpec = BatchNormSpec()
    wiring: Wiring = ()
    training: TrainingShape | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    def __post_init__(self) -> None:
        _check_chain(self)

    @classmethod
    def from_choices(
        cls,
        space: SearchSpace,
        choices: Sequence[int],
        *,
        resolution: int | None = None,
        num_classes: int | None = None,
        training: TrainingShape | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Architecture:
        """Writes out the network that `choices` (one candidate index per slot) stand for.

        Raises:
            SpaceError: wrong number of choices, or an index outside its slot.
        """
        classes = space.num_classes if num_classes is None else num_classes
        return cls(
            space=space.id,
            resolution=space.resolution if resolution is None else resolution,
            num_classes=classes,
            stem=space.stem,
            blocks=space.layers(choices),
            head=tuple(layer.with_classes(classes) for layer in space.head),
            batch_norm=space.batch_norm,
            wiring=space.wiring,
            training=training,
            provenance=dict(provenance or {}),
        )

    def choices_in(self, space: SearchSpace) -> tuple[int, ...]:
        """One candidate index per slot of `space`: the inverse of `from_choices`.

        Raises:
            ArchitectureError: the network is not one of the space; the message names the block.
        """
        same = (self.stem, self.wiring) == (space.stem, space.wiring)
        if len(self.blocks) != len(space.positions) or not same:
            raise ArchitectureError(
                f"this network ({len(self.blocks)} blocks) is not one of space '{space.id}' "
                f"({len(space.positions)} blocks): stem, depth or wiring differ."
            )
        choices = []
        for index, (block, position) in enumerate(zip(self.blocks, space.positions, strict=True)):
            if block not in position.candidates:
                raise ArchitectureError(
                    f"block {index} ({describe(block)}) is no candidate there in '{space.id}'."
                )
            if position.is_slot:
                choices.append(position.candidates.index(block))
        return tuple(choices)

    @classmethod
    def load(cls, source: str | Path) -> Architecture:
        """Loads a zoo name, our JSON, a published ``net.config``, or timm block strings.

        A folder is read as a run: its ``architecture.json``.

        Raises:
            ArchitectureError: nothing of that name, or the file breaks a rule.
        """
        path = Path(source)
        if path.is_dir():
            path = path / "architecture.json"
            if not path.is_file():
                raise ArchitectureError(
                    f"{source} holds no architecture.json yet. Is it a finished run? "
                    f"Finish it: proxyless-hw search ... --output {source} --resume"
                )
        if path.is_file():
            return _read_file(path)
        from proxyless_hw.formats.zoo import zoo_architecture

        return zoo_architecture(str(source))

    @classmethod
    def from_json(cls, text: str, source: str = "architecture") -> Architecture:
        """Reads what `to_json` wrote; `source` names it in error messages.

        Raises:
            ArchitectureError: a rule is broken; the message names the field and value.
        """
        return _from_document(parse_json(text, ArchitectureError, source), source)

    def to_json(self) -> str:
        """The JSON form (schema ``proxyless-hw-architecture/1``)."""
        training = self.training
        document = {
            "schema": SCHEMA,
            "space": self.space,
            "resolution": self.resolution,
            "num_classes": self.num_classes,
            "training": None
            if training is None
            else {name.name: getattr(training, name.name) for name in fields(training)},
            "batch_norm": {"momentum": self.batch_norm.momentum, "eps": self.batch_norm.eps},
            "stem": [layer.to_dict() for layer in self.stem],
            "blocks": [layer.to_dict() for layer in self.blocks],
            **({"wiring": wiring_to_document(self.wiring)} if self.wiring else {}),
            "head": [layer.to_dict() for layer in self.head],
            "provenance": dict(self.provenance),
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Writes the JSON form atomically.

        Raises:
            ArchitectureError: the place cannot be written.
        """
        write_text_atomically(Path(path), self.to_json(), ArchitectureError)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """All layers in order, removed blocks included."""
        return self.stem + self.blocks + self.head

    def layer_ops(self, resolution: int | None = None) -> Iterator[tuple[LayerSpec, OpSpec | None]]:
        """Every layer with its op at its input size; None where it costs nothing.

        Costing nothing are removed blocks and plain identities.
        """
        side = self.resolution if resolution is None else resolution
        for layer, shape in zip(self.layers, self.input_shapes(side), strict=True):
            yield layer, None if layer.is_free else layer.at(shape.h, shape.w)

    def input_shapes(self, resolution: int | None = None) -> list[Shape]:
        """The shape that reaches every layer, in the order of `layers`.

        Raises:
            ArchitectureError: a layer does not fit what it receives.
        """
        side = self.resolution if resolution is None else resolution
        stem, shape = follow_shapes(self.stem, (), Shape(3, side, side))
        blocks, shape = follow_shapes(self.blocks, self.wiring, shape)
        head, _ = follow_shapes(self.head, (), shape)
        return stem + blocks + head

    def ops(self, resolution: int | None = None, num_classes: int | None = None) -> list[OpSpec]:
        """The ops that run, in order, repeats kept, at a deployment shape (default: its own)."""
        network = self if num_classes is None else self.with_shape(num_classes=num_classes)
        return [op for _, op in network.layer_ops(resolution) if op is not None]

    def with_shape(
        self, *, resolution: int | None = None, num_classes: int | None = None
    ) -> Architecture:
        """The same network at another deployment shape."""
        classes = self.num_classes if num_classes is None else num_classes
        return replace(
            self,
            resolution=self.resolution if resolution is None else resolution,
            num_classes=classes,
            head=tuple(layer.with_classes(classes) for layer in self.head),
        )

    @property
    def depth(self) -> int:
        """Number of blocks that are there: removed ones do not count, a tree counts as one."""
        if self.wiring:
            return sum(
                isinstance(part, TreeBlock) or not self.blocks[part].is_free for part in self.wiring
            )
        return sum(not block.is_zero for block in self.blocks)


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


def _read_file(path: Path) -> Architecture:
    text = read_text(path, ArchitectureError, "architecture file")
    if not text.lstrip().startswith("{"):
        from proxyless_hw.formats.timm_strings import from_timm_strings

        return from_timm_strings(text, source=str(path))
    document = parse_json(text, ArchitectureError, str(path))
    if "schema" not in document and "name" in document:
        from proxyless_hw.formats.net_config import from_net_config

        return from_net_config(document, source=str(path))
    return _from_document(document, str(path))


_LAYER_FIELDS = {item.name: item for item in fields(LayerSpec)}
_RANGES = {"kernel": (1, 31), "stride": (1, MAX_STRIDE), "se": (0, MAX_CHANNELS)}


def _from_document(document: object, source: str) -> Architecture:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else type(document).__name__
        raise ArchitectureError(
            f"{source}: schema must be '{SCHEMA}': received {str(found)[:80]!r}."
        )
    if not isinstance(document.get("space"), str):
        raise ArchitectureError(
            f"{source}: space must be a name: received {str(document.get('space'))[:80]!r}."
        )
    provenance = document.get("provenance", {})
    if not isinstance(provenance, dict):
        raise ArchitectureError(f"{source}: provenance must be a mapping.")
    return Architecture(
        space=document["space"],
        resolution=_integer(document, "resolution", source, 1, MAX_RESOLUTION),
        num_classes=_integer(document, "num_classes", source, 1, MAX_CHANNELS),
        stem=_layers(document, "stem", source),
        blocks=_layers(document, "blocks", source),
        head=_layers(document, "head", source),
        batch_norm=_batch_norm(document.get("batch_norm", {}), source),
        wiring=wiring_from_document(document.get("wiring", []), source),
        training=_training(document.get("training"), source),
        provenance=provenance,
    )


def _layers(document: Mapping[str, Any], key: str, source: str) -> tuple[LayerSpec, ...]:
    items = document.get(key)
    if not isinstance(items, list) or len(items) > MAX_POSITIONS:
        raise ArchitectureError(
            f"{source}: {key} must be a list of at most {MAX_POSITIONS} layers."
        )
    return tuple(_layer(item, f"{source}: {key}[{index}]") for index, item in enumerate(items))


def _layer(item: object, where: str) -> LayerSpec:
    if not isinstance(item, dict):
        raise ArchitectureError(f"{where} must be a mapping of fields.")
    for name in item:
        if name not in _LAYER_FIELDS:
            hint = did_you_mean(str(name), _LAYER_FIELDS)
            raise ArchitectureError(f"{where} has an unknown field {str(name)[:60]!r}.{hint}")
    values: dict[str, Any] = {}
    for name in ("in_c", "out_c"):
        values[name] = _integer(item, name, where, 1, MAX_CHANNELS)
    for name, (low, high) in _RANGES.items():
        if name in item:
            values[name] = _integer(item, name, where, low, high)
    op = item.get("op")
    if not isinstance(op, str) or (op != ZERO and not is_known_op(op)):
        hint = did_you_mean(str(op), known_ops())
        raise ArchitectureError(f"{where}.op is unknown: received {str(op)[:80]!r}.{hint}")
    act = item.get("act", "none")
    if act not in ACTIVATIONS:
        raise ArchitectureError(
            f"{where}.act must be one of {', '.join(ACTIVATIONS)}: received {str(act)[:80]!r}."
        )
    expand = item.get("expand", 1)
    if type(expand) not in (int, float) or not 0 < expand <= 64:
        raise ArchitectureError(
            f"{where}.expand must lie in (0, 64]: received {str(expand)[:80]!r}."
        )
    skip = item.get("skip", False)
    if type(skip) is not bool:
        raise ArchitectureError(f"{where}.skip must be true or false: received {str(skip)[:80]!r}.")
    return LayerSpec(op=op, expand=expand, skip=skip, act=act, **values)


def _integer(fields_: Mapping[str, Any], key: str, where: str, low: int, high: int) -> int:
    value = fields_.get(key)
    if type(value) is not int or not low <= value <= high:
        raise ArchitectureError(
            f"{where}.{key} must be a whole number from {low} to {high}: "
            f"received {str(value)[:80]!r}."
        )
    return value


def _batch_norm(value: object, source: str) -> BatchNormSpec:
    if not isinstance(value, dict) or not set(value) <= {"momentum", "eps"}:
        raise ArchitectureError(f"{source}: batch_norm must hold momentum and eps only.")
    for name, number in value.items():
        if type(number) not in (int, float) or not 0 < number <= 1 or not math.isfinite(number):
            raise ArchitectureError(f"{source}: batch_norm.{name} must lie in (0, 1].")
    return BatchNormSpec(**value)


def _training(value: object, source: str) -> TrainingShape | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        raise ArchitectureError(f"{source}: training must hold resolution, num_classes and data.")
    where = f"{source}: training"
    return TrainingShape(
        resolution=_integer(value, "resolution", where, 1, MAX_RESOLUTION),
        num_classes=_integer(value, "num_classes", where, 1, MAX_CHANNELS),
        data=value["data"],
    )


def _check_chain(arch: Architecture) -> None:
    """Checks every layer by itself, and that it takes what the ones before it give."""
    if not arch.head or arch.head[-1].op != "classifier":
        last = describe(arch.head[-1]) if arch.head else "no layer at all"
        raise ArchitectureError(f"a network ends with a classifier: received {last} at the end.")
    for index, layer in enumerate(arch.layers):
        _check_layer(layer, f"layer {index} ({describe(layer)})")
        if layer.op == "classifier" and layer is not arch.head[-1]:
            raise ArchitectureError(f"layer {index}: only the last layer may be the classifier.")
    if arch.wiring:
        arch.input_shapes()
    else:
        channels = 3
        for index, layer in enumerate(arch.layers):
            if layer.in_c != channels:
                raise ArchitectureError(
                    f"layer {index} ({describe(layer)}) takes {layer.in_c} channels but receives "
                    f"{channels}."
                )
            channels = layer.out_c
    if arch.head[-1].out_c != arch.num_classes:
        raise ArchitectureError(
            f"the classifier gives {arch.head[-1].out_c} classes, the network names "
            f"{arch.num_classes}."
        )


def _check_layer(layer: LayerSpec, name: str) -> None:
    variant = op_variant(layer.op)
    pooling = variant.base in ("avgpool", "maxpool")
    if layer.kernel % 2 == 0 and not (pooling and layer.stride > 1):
        raise ArchitectureError(f"{name}: kernel sizes are odd: received {layer.kernel}.")
    if layer.stride > 2 and not pooling:
        raise ArchitectureError(f"{name}: strides are 1 or 2: received {layer.stride}.")
    if layer.mid_c < 1:
        raise ArchitectureError(
            f"{name}: an expansion by {layer.expand:g} of {layer.in_c} channels leaves none."
        )
    same_channels = layer.in_c == layer.out_c
    if (layer.skip or layer.is_zero) and not (layer.stride == 1 and same_channels):
        raise ArchitectureError(
            f"{name}: a shortcut needs stride 1 and equal channels: received stride "
            f"{layer.stride}, {layer.in_c} to {layer.out_c} channels."
        )
    if (pooling or variant.base in ("identity", "pool")) and not same_channels:
        raise ArchitectureError(
            f"{name} keeps its channels: received {layer.in_c} to {layer.out_c}."
        )
    if variant.groups > 1 and (layer.in_c % variant.groups or layer.out_c % variant.groups):
        raise ArchitectureError(
            f"{name}: {variant.groups} groups must divide its channels: received {layer.in_c} to "
            f"{layer.out_c}."
        )
