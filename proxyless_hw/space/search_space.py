"""Search spaces: which op may stand at each position of a network. Data from YAML, not code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from proxyless_hw.errors import SpaceError, did_you_mean
from proxyless_hw.space.limits import MAX_RESOLUTION
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, OpSpec, Position, make_divisible
from proxyless_hw.space.wiring import Shape, Wiring, follow_shapes
from proxyless_hw.storage.documents import parse_yaml, read_text

SCHEMA = "proxyless-hw-space/1"
_SCALED_NAME = re.compile(r"(?P<base>[a-z0-9-]+?)-w(?P<width>\d(?:\.\d{1,3})?)")


@dataclass(frozen=True)
class SearchSpace:
    """Positions, in a chain or wired as trees, between a fixed stem and a fixed head.

    Attributes:
        id: name of the space, kept with every run and checkpoint.
        resolution: default deployment resolution in pixels.
        resolutions: input resolutions among which a search may choose.
        num_classes: default number of classes.
        batch_norm: settings of every BatchNorm layer.
        stem: fixed first layers.
        positions: fixed blocks and slots, in order.
        head: fixed last layers, ending with the classifier.
        wiring: how the positions connect (see `wiring`); empty for a chain.

    Example:
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("imagenet")
        >>> len(space.slots), len(space.ops(resolution=224))
        (21, 70)
    """

    id: str
    resolution: int
    resolutions: tuple[int, ...]
    num_classes: int
    batch_norm: BatchNormSpec
    stem: tuple[LayerSpec, ...]
    positions: tuple[Position, ...]
    head: tuple[LayerSpec, ...]
    wiring: Wiring = ()

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
        scaled = _SCALED_NAME.fullmatch(name)
        base = scaled["base"] if scaled else name
        if base not in shipped:
            raise SpaceError(
                f"no search space '{name[:80]}'.{did_you_mean(name, shipped)} "
                f"Shipped: {', '.join(sorted(shipped))}; any chain of them at another width, as in "
                "imagenet-w1.2; or give the path of a YAML file."
            )
        text = shipped[base].read_text(encoding="utf-8")
        space = cls.from_yaml(text, f"{base}.yaml")
        return scaled_space(text, name, float(scaled["width"])) if scaled else space

    @classmethod
    def from_yaml(cls, text: str, source: str = "space") -> SearchSpace:
        """Builds a space from YAML text; `source` names it in error messages.

        Raises:
            SpaceError: a rule is broken; the message names the source, field and value.
        """
        from proxyless_hw.space.reader import SpaceReader

        return SpaceReader(source).read(parse_yaml(text, SpaceError, source))

    @classmethod
    def from_dict(cls, document: Mapping[str, object], source: str = "space") -> SearchSpace:
        """Builds a space from the mapping that its YAML form stands for.

        Args:
            document: plain dicts, lists, texts and numbers, as YAML gives them.
            source: what error messages call it.

        Raises:
            SpaceError: a rule is broken; the message names the source, field and value.

        Example:
            >>> import proxyless_hw as ph
            >>> space = ph.SearchSpace.from_dict({
            ...     "schema": "proxyless-hw-space/1", "id": "tiny", "resolution": 32,
            ...     "num_classes": 10, "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 8},
            ...     "candidates": [{"op": "mbconv", "kernel": k, "expand": 3} for k in (3, 5)],
            ...     "stages": [{"width": 8, "depth": 2, "stride": 1}],
            ...     "head": [{"op": "classifier"}],
            ... })
            >>> [len(slot.candidates) for slot in space.slots]
            [2, 2]
        """
        from proxyless_hw.space.reader import SpaceReader

        return SpaceReader(source).read(dict(document))

    @property
    def in_channels(self) -> int:
        """Channels of the input images."""
        return self.stem[0].in_c

    def __repr__(self) -> str:
        """Short form: ``SearchSpace('imagenet', 21 slots, 7 candidates at most, 224 px)``."""
        return (
            f"SearchSpace({self.id!r}, {len(self.slots)} slots, {self.max_candidates} candidates "
            f"at most, {self.resolution} px, {self.num_classes} classes)"
        )

    def __iter__(self) -> Iterator[Position]:
        """The slots, in order."""
        return iter(self.slots)

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
        return [(shape.h, shape.w) for shape in self._shapes(resolution)[0]]

    def _shapes(self, resolution: int) -> tuple[list[Shape], Shape]:
        """The shape that reaches every position, and the one that reaches the head."""
        _, start = follow_shapes(self.stem, (), Shape(self.in_channels, resolution, resolution))
        layers = [position.candidates[0] for position in self.positions]
        return follow_shapes(layers, self.wiring, start)

    def slot_ops(self, resolution: int | None = None) -> list[list[OpSpec | None]]:
        """For each slot the priced op of each candidate; None where it costs
        nothing: Zero, and the plain identity of trees."""
        sizes = self.position_sizes(self._check_resolution(resolution))
        return [
            [None if layer.is_free else layer.at(*size) for layer in position.candidates]
            for position, size in zip(self.positions, sizes, strict=True)
            if position.is_slot
        ]

    def fixed_ops(
        self, resolution: int | None = None, num_classes: int | None = None
    ) -> list[OpSpec]:
        """The ops every network of the space has: stem, fixed blocks, head. Repeats are kept."""
        side = self._check_resolution(resolution)
        start = Shape(self.in_channels, side, side)
        inputs, end = self._shapes(side)
        head = [layer.with_classes(num_classes or self.num_classes) for layer in self.head]
        fixed = list(zip(self.stem, follow_shapes(self.stem, (), start)[0], strict=True))
        fixed += [
            (position.candidates[0], shape)
            for position, shape in zip(self.positions, inputs, strict=True)
            if not position.is_slot
        ]
        fixed += zip(head, follow_shapes(head, (), end)[0], strict=True)
        return [layer.at(shape.h, shape.w) for layer, shape in fixed if not layer.is_free]

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


def scaled_space(text: str, name: str, width: float) -> SearchSpace:
    """The space of a YAML text with every width but the candidates' multiplied.

    Widths become multiples of 8 by MobileNetV2's rule; below 1 the head keeps its own, as in the
    published code.

    Raises:
        SpaceError: the width lies outside [0.1, 4], or the space is a tree.
    """
    if not 0.1 <= width <= 4:
        raise SpaceError(f"a width multiplier lies between 0.1 and 4: received {width:g}.")
    document = parse_yaml(text, SpaceError, name)
    if "stages" not in document:
        raise SpaceError(f"'{name}' is no chain: only chains take a width multiplier.")
    from proxyless_hw.space.reader import SpaceReader

    for layer in (document["stem"], *document["stages"]):
        layer["width"] = make_divisible(layer["width"] * width)
    for layer in document["head"]:
        if "width" in layer:
            layer["width"] = make_divisible(layer["width"] * max(1.0, width))
    document["id"] = name
    return SpaceReader(name).read(document)


def shipped_spaces() -> dict[str, Traversable]:
    """The shipped spaces: name to readable resource."""
    folder = resources.files("proxyless_hw") / "space" / "shipped"
    return {
        item.name.removesuffix(".yaml"): item
        for item in folder.iterdir()
        if item.name.endswith(".yaml")
    }
