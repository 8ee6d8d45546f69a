"""How the layers of a network connect where they are no chain: the trees of the CIFAR-10 space.

A wiring names layers by their number in a flat list, so that everything which treats layers one by
one (choices, costs, weights) need not know about trees. `flow_through` is the one place that walks
a wiring; it is given an algebra, one over tensors or one over shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.space.specs import LayerSpec

Split = Literal["copy", "split"]
Merge = Literal["add", "concat"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Branch:
    """One path of a node: z = edge(x); y = child(z); with a norm, y = norm(y) + z.

    Attributes:
        edge: number of the layer on the edge.
        child: the node after it, if any.
        norm: number of the BatchNorm layer after it, if any.
    """

    edge: int
    child: Node | None = None
    norm: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """Branches in parallel.

    Attributes:
        in_c, out_c: channels of the input and output.
        split: whether the branches share the input or get a part of its channels each.
        merge: whether their outputs are added or concatenated.
    """

    branches: tuple[Branch, ...]
    in_c: int
    out_c: int
    split: Split = "copy"
    merge: Merge = "add"


@dataclass(frozen=True, slots=True)
class TreeBlock:
    """A residual block around a tree: shortcut(x) + norm(out_bottle(cell(in_bottle(x)))).

    The shortcut gets zero channels appended until it is as wide as the residual. Attributes are
    layer numbers, but for the cell.
    """

    shortcut: int
    cell: Node
    in_bottle: int | None = None
    out_bottle: int | None = None
    norm: int | None = None


Wiring = tuple[TreeBlock | int, ...]
"""Tree blocks and single layers, in order. Empty: all layers form a chain."""


class Flow(Protocol[Value]):
    """What can be done to the values that flow through a network."""

    def layer(self, number: int, x: Value) -> Value:
        """The layer of that number applied to x."""

    def split(self, x: Value, widths: Sequence[int]) -> Sequence[Value]:
        """x cut along its channels."""

    def add(self, parts: Sequence[Value]) -> Value:
        """The sum."""

    def concat(self, parts: Sequence[Value]) -> Value:
        """The concatenation along the channels."""

    def add_widened(self, narrow: Value, wide: Value) -> Value:
        """The sum, with zero channels appended to the first."""


def flow_through(wiring: Wiring, count: int, x: Value, flow: Flow[Value]) -> Value:
    """Sends a value through `count` layers as the wiring connects them."""
    for part in wiring or range(count):
        x = flow.layer(part, x) if isinstance(part, int) else _through_block(part, x, flow)
    return x


def _through_block(block: TreeBlock, x: Value, flow: Flow[Value]) -> Value:
    shortcut = flow.layer(block.shortcut, x)
    if block.in_bottle is not None:
        x = flow.layer(block.in_bottle, x)
    x = _through_node(block.cell, x, flow)
    for number in (block.out_bottle, block.norm):
        if number is not None:
            x = flow.layer(number, x)
    return flow.add_widened(shortcut, x)


def _through_node(node: Node, x: Value, flow: Flow[Value]) -> Value:
    if node.split == "split":
        inputs = flow.split(x, shares(node.in_c, len(node.branches)))
    else:
        inputs = [x] * len(node.branches)
    outputs = [
        _through_branch(branch, part, flow)
        for branch, part in zip(node.branches, inputs, strict=True)
    ]
    if len(outputs) == 1:
        return outputs[0]
    return flow.concat(outputs) if node.merge == "concat" else flow.add(outputs)


def _through_branch(branch: Branch, x: Value, flow: Flow[Value]) -> Value:
    edge = flow.layer(branch.edge, x)
    y = edge if branch.child is None else _through_node(branch.child, edge, flow)
    return y if branch.norm is None else flow.add([flow.layer(branch.norm, y), edge])


def shares(channels: int, parts: int) -> list[int]:
    """Splits a number of channels as evenly as possible, the larger shares first."""
    return [channels // parts + (index < channels % parts) for index in range(parts)]


def layer_numbers(wiring: Wiring) -> Iterator[int]:
    """The numbers in a wiring, in the order in which the layers run."""
    for part in wiring:
        if isinstance(part, int):
            yield part
            continue
        yield part.shortcut
        if part.in_bottle is not None:
            yield part.in_bottle
        yield from _node_numbers(part.cell)
        yield from (number for number in (part.out_bottle, part.norm) if number is not None)


def _node_numbers(node: Node) -> Iterator[int]:
    for branch in node.branches:
        yield branch.edge
        if branch.child is not None:
            yield from _node_numbers(branch.child)
        if branch.norm is not None:
            yield branch.norm


@dataclass(frozen=True, slots=True)
class Shape:
    """Channels, height and width of a feature map."""

    c: int
    h: int
    w: int


class ShapeFlow:
    """Follows shapes through layers and checks that every one gets what it takes.

    Attributes:
        inputs: shape that reached each layer, by its number.
    """

    def __init__(self, layers: Sequence[LayerSpec]) -> None:
        self.layers = layers
        self.inputs: dict[int, Shape] = {}

    def layer(self, number: int, x: Shape) -> Shape:
        layer = self.layers[number]
        if layer.in_c != x.c:
            raise ArchitectureError(
                f"block layer {number} ({layer.op}) takes {layer.in_c} channels but receives {x.c}."
            )
        self.inputs[number] = x
        return Shape(layer.out_c, *layer.output_size(x.h, x.w))

    def split(self, x: Shape, widths: Sequence[int]) -> list[Shape]:
        if sum(widths) != x.c or 0 in widths:
            raise ArchitectureError(
                f"a node splits {sum(widths)} channels into {len(widths)} parts: it receives {x.c}."
            )
        return [Shape(width, x.h, x.w) for width in widths]

    def add(self, parts: Sequence[Shape]) -> Shape:
        if len(set(parts)) != 1:
            raise ArchitectureError(f"branches of one shape are added: received {_listed(parts)}.")
        return parts[0]

    def concat(self, parts: Sequence[Shape]) -> Shape:
        if len({(part.h, part.w) for part in parts}) != 1:
            raise ArchitectureError(
                f"branches of one size are concatenated: received {_listed(parts)}."
            )
        return Shape(sum(part.c for part in parts), parts[0].h, parts[0].w)

    def add_widened(self, narrow: Shape, wide: Shape) -> Shape:
        if narrow.c > wide.c or (narrow.h, narrow.w) != (wide.h, wide.w):
            raise ArchitectureError(
                "a shortcut has the size of its residual and at most its channels: received "
                f"{_listed((narrow, wide))}."
            )
        return wide


def _listed(shapes: Sequence[Shape]) -> str:
    return ", ".join(f"{shape.h}x{shape.w}x{shape.c}" for shape in shapes)


def follow_shapes(
    layers: Sequence[LayerSpec], wiring: Wiring, start: Shape
) -> tuple[list[Shape], Shape]:
    """The shape that reaches every layer, and the one that leaves.

    Raises:
        ArchitectureError: a layer does not fit what it receives, or is not wired exactly once.
    """
    if wiring and sorted(layer_numbers(wiring)) != list(range(len(layers))):
        raise ArchitectureError(
            f"a wiring names each of its {len(layers)} layers once: it names "
            f"{len(list(layer_numbers(wiring)))}."
        )
    flow = ShapeFlow(layers)
    end = flow_through(wiring, len(layers), start, flow)
    return [flow.inputs[number] for number in range(len(layers))], end


def wiring_to_document(wiring: Wiring) -> list[object]:
    """Plain lists and dicts for JSON; fields that hold their default are left out."""
    return [part if isinstance(part, int) else _block_document(part) for part in wiring]


def _block_document(block: TreeBlock) -> dict[str, object]:
    values = {
        "shortcut": block.shortcut,
        "in_bottle": block.in_bottle,
        "cell": _node_document(block.cell),
        "out_bottle": block.out_bottle,
        "norm": block.norm,
    }
    return {key: value for key, value in values.items() if value is not None}


def _node_document(node: Node) -> dict[str, object]:
    return {
        "in_c": node.in_c,
        "out_c": node.out_c,
        "split": node.split,
        "merge": node.merge,
        "branches": [
            [branch.edge, branch.child and _node_document(branch.child), branch.norm]
            for branch in node.branches
        ],
    }


MAX_TREE_DEPTH = 12


def wiring_from_document(document: object, source: str) -> Wiring:
    """Reads what `wiring_to_document` wrote.

    Raises:
        ArchitectureError: a rule is broken.
    """
    if not isinstance(document, list):
        raise ArchitectureError(f"{source}: wiring must be a list.")
    return tuple(
        _number(part, source) if not isinstance(part, dict) else _block_from(part, source)
        for part in document
    )


def _block_from(part: dict[str, object], source: str) -> TreeBlock:
    if not set(part) <= {"shortcut", "in_bottle", "cell", "out_bottle", "norm"}:
        raise ArchitectureError(f"{source}: a tree block holds an unknown field.")
    optional = {
        key: _number(part[key], source)
        for key in ("in_bottle", "out_bottle", "norm")
        if key in part
    }
    return TreeBlock(
        shortcut=_number(part.get("shortcut"), source),
        cell=_node_from(part.get("cell"), source, 1),
        **optional,
    )


def _node_from(value: object, source: str, depth: int) -> Node:
    keys = {"in_c", "out_c", "split", "merge", "branches"}
    if depth > MAX_TREE_DEPTH or not isinstance(value, dict) or set(value) != keys:
        raise ArchitectureError(
            f"{source}: a tree node holds {', '.join(sorted(keys))}, at most {MAX_TREE_DEPTH} deep."
        )
    branches = value["branches"]
    if not isinstance(branches, list) or not 1 <= len(branches) <= 16:
        raise ArchitectureError(f"{source}: a tree node has 1 to 16 branches.")
    if value["split"] not in ("copy", "split") or value["merge"] not in ("add", "concat"):
        raise ArchitectureError(f"{source}: a tree node copies or splits, and adds or concats.")
    read = []
    for item in branches:
        if not isinstance(item, list) or len(item) != 3:
            raise ArchitectureError(f"{source}: a branch is a list of edge, child and norm.")
        edge, child, norm = item
        read.append(
            Branch(
                edge=_number(edge, source),
                child=None if child is None else _node_from(child, source, depth + 1),
                norm=None if norm is None else _number(norm, source),
            )
        )
    return Node(
        branches=tuple(read),
        in_c=_number(value["in_c"], source),
        out_c=_number(value["out_c"], source),
        split=value["split"],
        merge=value["merge"],
    )


def _number(value: object, source: str) -> int:
    if type(value) is not int or not 0 <= value <= 65536:
        raise ArchitectureError(
            f"{source}: a wiring holds whole numbers from 0 on: received {str(value)[:80]!r}."
        )
    return value
