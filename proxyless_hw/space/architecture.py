"""One concrete network: a choice per slot, written out. Immutable, with a JSON file form."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path

from proxyless_hw.errors import ArchitectureError, SpaceError
from proxyless_hw.space.layer_rules import check_layers
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import (
    BatchNormSpec,
    LayerSpec,
    OpSpec,
    describe,
)
from proxyless_hw.space.wiring import (
    Shape,
    TreeBlock,
    Wiring,
    follow_shapes,
    wiring_to_document,
)
from proxyless_hw.storage.documents import parse_json, read_text
from proxyless_hw.storage.files import write_text_atomically

SCHEMA = "proxyless-hw-architecture/1"

REPR_BLOCKS = 30
"""Blocks that the short form lists."""


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

    Example:
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("imagenet")
        >>> arch = ph.Architecture.from_choices(space, [0] * len(space.slots), num_classes=10)
        >>> ph.Architecture.from_json(arch.to_json()) == arch
        True
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
    provenance: Mapping[str, object] = field(default_factory=dict, compare=False, hash=False)

    def __post_init__(self) -> None:
        check_layers(self.layers, self.num_classes, chained=not self.wiring)
        if self.wiring:
            self.input_shapes()

    @classmethod
    def from_choices(
        cls,
        space: SearchSpace,
        choices: Sequence[int],
        *,
        resolution: int | None = None,
        num_classes: int | None = None,
        training: TrainingShape | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> Architecture:
        """Writes out the network that `choices` (one candidate index per slot) stand for.

        Raises:
            SpaceError: no space, wrong number of choices, or an index outside its slot.
        """
        if not isinstance(space, SearchSpace):
            raise SpaceError(
                f"a space is a SearchSpace: received {type(space).__name__}. Load it: "
                "SearchSpace.load(NAME)."
            )
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
        """Loads our JSON from a file, or from the ``architecture.json`` of a run folder.

        Other forms (a zoo name, ``net.config``, timm block strings) go to `load_architecture`,
        with a DeprecationWarning.

        Raises:
            ArchitectureError: nothing has that name, or the file breaks a rule.
        """
        path = architecture_file(source)
        if path.is_file():
            text = read_text(path, ArchitectureError, "architecture file")
            if text.lstrip().startswith("{"):
                document = parse_json(text, ArchitectureError, str(path))
                if "schema" in document or "name" not in document:
                    return cls.from_document(document, str(path))
        # The only import of a later layer; it goes with the next release.
        from proxyless_hw.formats.load import load_architecture

        arch = load_architecture(source)
        warnings.warn(
            f"Architecture.load reads our own JSON only. {source} has another form: use "
            "proxyless_hw.load_architecture, which reads every form.",
            DeprecationWarning,
            stacklevel=2,
        )
        return arch

    @classmethod
    def from_json(cls, text: str, source: str = "architecture") -> Architecture:
        """Reads what `to_json` wrote; `source` names it in error messages.

        Raises:
            ArchitectureError: a rule is broken; the message names the field and value.
        """
        return cls.from_document(parse_json(text, ArchitectureError, source), source)

    @classmethod
    def from_document(cls, document: object, source: str = "architecture") -> Architecture:
        """Reads the parsed JSON that `to_json` wrote; `source` names it in error messages.

        Raises:
            ArchitectureError: a rule is broken; the message names the field and value.
        """
        from proxyless_hw.space.architecture_reader import architecture_from

        return architecture_from(document, source)

    def to_dict(self) -> dict[str, object]:
        """The JSON form as an object (schema ``proxyless-hw-architecture/1``)."""
        training = self.training
        return {
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

    def to_json(self) -> str:
        """The JSON form as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

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

    def __repr__(self) -> str:
        """Short form: space, shape and blocks."""
        blocks = ", ".join(describe(block) for block in self.blocks[:REPR_BLOCKS])
        more = ", ..." if len(self.blocks) > REPR_BLOCKS else ""
        return (
            f"Architecture({self.space!r}, {self.resolution} px, {self.num_classes} classes: "
            f"{blocks}{more})"
        )

    def _repr_html_(self) -> str:
        """For notebooks: one row a layer."""
        rows = "".join(
            f"<tr><td>{number}</td><td>{escape(describe(layer))}</td>"
            f"<td>{escape('' if op is None else str(op))}</td></tr>"
            for number, (layer, op) in enumerate(self.layer_ops())
        )
        head = f"{self.space}, {self.resolution} px, {self.num_classes} classes"
        return f"<p><b>{escape(head)}</b></p><table>{rows}</table>"

    def __iter__(self) -> Iterator[LayerSpec]:
        """The layers, in order."""
        return iter(self.layers)

    @property
    def in_channels(self) -> int:
        """Channels of the input images."""
        return self.layers[0].in_c

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
        stem, shape = follow_shapes(self.stem, (), Shape(self.in_channels, side, side))
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


def architecture_file(source: str | Path) -> Path:
    """The file that a path stands for: ``architecture.json`` where it is a run folder.

    Raises:
        ArchitectureError: a folder holds no architecture.json.
    """
    path = Path(source)
    if not path.is_dir():
        return path
    if not (path / "architecture.json").is_file():
        raise ArchitectureError(
            f"{source} holds no architecture.json yet. Is it a finished run? "
            f"Finish it: proxyless-hw search ... --output {source} --resume"
        )
    return path / "architecture.json"


def require_architecture(given: object) -> None:
    """Refuses what is no architecture.

    Raises:
        ArchitectureError: it is something else, such as a name or a module.
    """
    if not isinstance(given, Architecture):
        raise ArchitectureError(
            f"a network is described by an Architecture: received {type(given).__name__}. Load one "
            "by name or path: load_architecture(NAME); a module that build_network made has "
            "network.arch."
        )
