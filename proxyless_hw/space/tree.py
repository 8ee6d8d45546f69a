"""The tree part of a search space: residual tree blocks of which every edge is a slot.

As in the published CIFAR-10 network (Cai, Zhu, Han, ICLR 2019): a pyramid of bottleneck
blocks; each bottleneck doubles its width by a grouped 3x3 convolution, splits it in two halves, and
sends each half through a tree of candidate ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxyless_hw.space.limits import MAX_CANDIDATES, MAX_CHANNELS, MAX_POSITIONS
from proxyless_hw.space.specs import LayerSpec, Position
from proxyless_hw.space.wiring import Branch, Node, TreeBlock, Wiring

if TYPE_CHECKING:
    from proxyless_hw.space.reader import SpaceReader

_TREE_KEYS = frozenset(
    ("blocks", "first_width", "last_width", "multiple", "expand", "reduce_at", "branches", "depth")
)
_HALVES = 2


def read_tree(
    reader: SpaceReader, value: object, root: Mapping[str, object], in_c: int
) -> tuple[tuple[Position, ...], Wiring]:
    """Reads the field ``tree``.

    Args:
        reader: reports faults.
        value: blocks, first_width, last_width, multiple (bottleneck widths rise evenly from the
            first, exclusive, to the last, inclusive, rounded down to a multiple), expand (output
            over bottleneck width), reduce_at (blocks that halve the map), branches, depth.
        root: the document, for its candidates.
        in_c: channels that the stem gives.

    Returns:
        The positions, in the order in which they run, and how they connect.

    Raises:
        SpaceError: a rule is broken.
    """
    fields = reader.mapping(value, "tree", _TREE_KEYS)

    def number(key: str, low: int, high: int, default: int | None = None) -> int:
        return reader.integer(fields, key, f"tree.{key}", low, high, default)

    blocks = number("blocks", 1, 512)
    first, last = number("first_width", 2, MAX_CHANNELS), number("last_width", 2, MAX_CHANNELS)
    multiple, expand = number("multiple", 1, 64, 1), number("expand", 1, 16, 1)
    branches, depth = number("branches", 1, 4, 2), number("depth", 1, 3, 2)
    reduce_at = fields.get("reduce_at", [])
    if not isinstance(reduce_at, list) or not all(
        type(index) is int and 0 <= index < blocks for index in reduce_at
    ):
        reader.fail("tree.reduce_at", f"must list blocks from 0 to {blocks - 1}", reduce_at)
    choices = root.get("candidates")
    if not isinstance(choices, list) or not 2 <= len(choices) <= 256:
        reader.fail("candidates", "must be a list of 2 to 256 ops", choices)
    slots = 2 * blocks * sum(branches**level for level in range(1, depth + 1))
    if slots * len(choices) > MAX_CANDIDATES:
        reader.fail("tree", f"may give at most {MAX_CANDIDATES} candidates in all", slots)
    builder = _TreeBuilder(reader, choices, branches, depth)
    for index in range(blocks):
        middle = round(first + (last - first) * (index + 1) / blocks) // multiple * multiple
        if middle < 1 or middle * expand < in_c:
            reader.fail("tree", f"gives block {index} fewer channels than it receives", middle)
        builder.add_block(in_c, middle, middle * expand, 2 if index in reduce_at else 1, index)
        in_c = middle * expand
    return tuple(builder.positions), tuple(builder.blocks)


class _TreeBuilder:
    """Lays down positions in running order and keeps their numbers in the wiring."""

    def __init__(
        self, reader: SpaceReader, choices: list[object], branches: int, depth: int
    ) -> None:
        self.reader = reader
        self.choices = choices
        self.branches = branches
        self.depth = depth
        self.positions: list[Position] = []
        self.blocks: list[TreeBlock] = []

    def add_block(self, in_c: int, middle: int, out_c: int, stride: int, index: int) -> None:
        self.stage = index
        shortcut = "identity" if stride == 1 else "avgpool"
        block = TreeBlock(
            shortcut=self.fixed(LayerSpec(shortcut, in_c, in_c, kernel=stride, stride=stride)),
            in_bottle=self.fixed(LayerSpec("conv_pre", in_c, middle)),
            cell=self.cell(middle, stride),
            out_bottle=self.fixed(LayerSpec("conv_pre", middle, out_c, act="relu")),
            norm=self.fixed(LayerSpec("identity_pre", out_c, out_c)),
        )
        self.blocks.append(block)
        if len(self.positions) > MAX_POSITIONS:
            self.reader.fail("tree", f"may hold at most {MAX_POSITIONS} layers", self.choices)

    def cell(self, width: int, stride: int) -> Node:
        wide = _HALVES * width
        grouped = LayerSpec("conv_pre_g2_shuffle", width, wide, kernel=3, stride=stride, act="relu")
        edge = self.fixed(grouped)
        halves = []
        for _ in range(_HALVES):
            start = self.fixed(LayerSpec("identity", width, width))
            tree = self.tree(width, self.depth)
            halves.append(Branch(start, tree, self.fixed(LayerSpec("identity_pre", width, width))))
        node = Node(tuple(halves), in_c=wide, out_c=width, split="split")
        return Node((Branch(edge, node),), in_c=width, out_c=width)

    def tree(self, width: int, depth: int) -> Node:
        branches = []
        for _ in range(self.branches):
            slot = self.slot(width)
            branches.append(Branch(slot, self.tree(width, depth - 1) if depth > 1 else None))
        return Node(tuple(branches), in_c=width, out_c=width)

    def slot(self, width: int) -> int:
        candidates = tuple(
            self.reader.candidate(choice, f"candidates[{number}]", width, width, 1)
            for number, choice in enumerate(self.choices)
        )
        if len(set(candidates)) != len(candidates):
            self.reader.fail("candidates", "must not repeat a candidate", self.choices)
        self.positions.append(Position(candidates, stage=self.stage))
        return len(self.positions) - 1

    def fixed(self, layer: LayerSpec) -> int:
        self.positions.append(Position((layer,), stage=self.stage))
        return len(self.positions) - 1
