"""PyramidTreeNet, the published CIFAR-10 network, as an architecture wired as trees, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.net_config_fields import (
    NORM_FIRST,
    PYRAMID,
    batch_norm_from,
    batch_norm_to,
)
from proxyless_hw.formats.net_config_layers import (
    layer_from,
    layer_to,
    linear_from,
    linear_to,
)
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_POSITIONS
from proxyless_hw.space.specs import BatchNormSpec, LayerSpec, op_variant
from proxyless_hw.space.wiring import (
    MAX_TREE_DEPTH,
    Branch,
    Merge,
    Node,
    Split,
    TreeBlock,
    Wiring,
    shares,
)
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.fields import Fields, Word

SPLITS: Final[tuple[Split, Split]] = ("copy", "split")
MERGES: Final[tuple[Merge, Merge]] = ("add", "concat")
MAX_EDGES: Final = 16
RESOLUTION: Final = 32
# The published code leaves BatchNorm at PyTorch's own settings here.
BATCH_NORM: Final = BatchNormSpec(momentum=0.1, eps=1e-5)
_OPTIONAL: Final = ("bn", "tree_node_config", "cell_drop_rate", "cell_drop_scheme")
_NODE_KEYS: Final = (
    *("name", "in_channels", "out_channels", "split_type", "merge_type"),
    *("has_branch_bn", "path_drop_rate", "edges", "child_nodes"),
)
_BLOCK_KEYS: Final = (
    *("name", "cell_drop_rate", "final_bn", "shortcut", "in_bottle", "out_bottle", "cell"),
)


def tree_from(root: Fields) -> Architecture:
    """Reads a PyramidTreeNet.

    Raises:
        ArchitectureError: a rule is broken; the message names the place.
    """
    root.exactly((*_REQUIRED_KEYS, *(key for key in _OPTIONAL if key in root)))
    if root.values.get("tree_node_config") not in (None, {}):
        root.fail("tree_node_config", "must be empty, with the nodes written out")
    no_drop(root, "cell_drop_rate")
    blocks = root.rows("blocks", MAX_POSITIONS, least=1)
    reader = _TreeReader(root.where)
    transitions: list[list[LayerSpec] | None] = [
        reader.transition(block)
        if block.choice("name", ("TransitionBlock", "ResidualTreeBlock")) == "TransitionBlock"
        else None
        for block in blocks
    ]
    stem = transitions[0] or []
    tail = (transitions[-1] or []) if len(blocks) > 1 else []
    for index in range(1 if stem else 0, len(blocks) - (1 if tail else 0)):
        layers = transitions[index]
        if layers is None:
            reader.block(blocks[index])
        else:
            if (index and transitions[index - 1] is not None) or index + 1 == len(blocks):
                raise ArchitectureError(
                    f"{blocks[index].where}: two TransitionBlocks in a row; join them."
                )
            reader.wiring += [reader.add(layer) for layer in layers]
    before, classifier = linear_from(*root.at("classifier"))
    arch = Architecture(
        space=PYRAMID,
        resolution=RESOLUTION,
        num_classes=classifier.out_c,
        stem=tuple(stem),
        blocks=tuple(reader.layers),
        head=(*tail, *before, classifier),
        batch_norm=BATCH_NORM if root.values.get("bn") is None else batch_norm_from(root),
        wiring=tuple(reader.wiring),
    )
    end = arch.input_shapes()[-1 - len(before)]
    if (end.h, end.w) != (1, 1):
        raise ArchitectureError(
            f"{root.where}: the classifier takes a 1x1 map: at {RESOLUTION} pixels it receives "
            f"{end.h}x{end.w}."
        )
    return arch


_REQUIRED_KEYS: Final = ("name", "blocks", "classifier")


def no_drop(fields: Fields, key: str) -> None:
    """Checks that a drop rate is zero: the published code scales outputs by it, also in use.

    Raises:
        ArchitectureError: it is not.
    """
    if fields.number(key, default=0) != 0:
        fields.fail(key, "must be 0 (set drop-path when training)")


class _TreeReader:
    """Collects layers in running order and keeps their numbers in the wiring."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.layers: list[LayerSpec] = []
        self.wiring: list[TreeBlock | int] = []

    def add(self, layer: LayerSpec) -> int:
        if len(self.layers) >= MAX_POSITIONS:
            raise ArchitectureError(f"{self.source} holds more than {MAX_POSITIONS} layers.")
        self.layers.append(layer)
        return len(self.layers) - 1

    def transition(self, block: Fields) -> list[LayerSpec]:
        block.exactly(("name", "layers"))
        place = block.place("layers")
        layers = block.items("layers", 64, least=1)
        return [layer_from(item, f"{place}[{index}]") for index, item in enumerate(layers)]

    def block(self, block: Fields) -> None:
        block.exactly(_BLOCK_KEYS)
        no_drop(block, "cell_drop_rate")
        final_bn = block.flag("final_bn")
        shortcut = self.add(layer_from(*block.at("shortcut")))
        in_bottle = self.optional(block, "in_bottle")
        cell = self.node(*block.at("cell"), 1)
        out_bottle = self.optional(block, "out_bottle")
        out_c = cell.out_c if out_bottle is None else self.layers[out_bottle].out_c
        norm = self.add(LayerSpec("identity_pre", out_c, out_c)) if final_bn else None
        self.wiring.append(TreeBlock(shortcut, cell, in_bottle, out_bottle, norm))

    def node(self, value: object, where: str, depth: int) -> Node:
        if depth > MAX_TREE_DEPTH:
            raise ArchitectureError(f"{where}: trees are at most {MAX_TREE_DEPTH} nodes deep.")
        node = Fields(value, where, ArchitectureError, inside=True)
        node.exactly(_NODE_KEYS)
        node.choice("name", ("TreeNode",))
        no_drop(node, "path_drop_rate")
        edges = node.items("edges", MAX_EDGES, least=1)
        children = node.items("child_nodes", len(edges), least=len(edges))
        in_c = node.whole("in_channels", 1, MAX_CHANNELS)
        out_c = node.whole("out_channels", 1, MAX_CHANNELS)
        alone = len(edges) == 1
        split = self.joining(node, "split_type", SPLITS, alone)
        merge = self.joining(node, "merge_type", MERGES, alone)
        has_norm = node.flag("has_branch_bn")
        inputs = shares(in_c, len(edges)) if split == "split" else [in_c] * len(edges)
        outputs = shares(out_c, len(edges)) if merge == "concat" else [out_c] * len(edges)
        branches = []
        for index, (edge, child) in enumerate(zip(edges, children, strict=True)):
            number = (
                self.add(LayerSpec("identity", inputs[index], inputs[index]))
                if edge is None
                else self.add(layer_from(edge, f"{where}.edges[{index}]"))
            )
            below = f"{where}.child_nodes[{index}]"
            inner = None if child is None else self.node(child, below, depth + 1)
            width = outputs[index]
            norm = self.add(LayerSpec("identity_pre", width, width)) if has_norm else None
            branches.append(Branch(number, inner, norm))
        return Node(tuple(branches), in_c, out_c, split, merge)

    def joining(self, node: Fields, key: str, options: tuple[Word, Word], alone: bool) -> Word:
        """How branches are fed or joined; null, for the first option, where there is only one."""
        return options[0] if alone and node.get(key) is None else node.choice(key, options)

    def optional(self, block: Fields, key: str) -> int | None:
        return None if block.get(key) is None else self.add(layer_from(*block.at(key)))


def tree_to(arch: Architecture) -> JsonObject:
    """The published form of an architecture wired as trees.

    Raises:
        ArchitectureError: the published form cannot hold it.
    """
    *tail, classifier = arch.head
    last = [classifier]
    if len(tail) > 1 and tail[-2].op == "pool" and op_variant(tail[-1].op).base == "identity":
        last.insert(0, tail[-1])
        tail = tail[:-2]
    blocks = [_transition(arch.stem)] if arch.stem else []
    blocks += _blocks(arch.blocks, arch.wiring)
    if tail:
        blocks.append(_transition(tail))
    document: JsonObject = {
        "name": PYRAMID,
        "blocks": blocks,
        "classifier": linear_to(last, NORM_FIRST),
    }
    if arch.batch_norm != BATCH_NORM:
        document["bn"] = batch_norm_to(arch.batch_norm)
    return document


def _blocks(layers: tuple[LayerSpec, ...], wiring: Wiring) -> Iterator[JsonObject]:
    for alone, parts in groupby(wiring, key=lambda part: isinstance(part, int)):
        if alone:
            yield _transition([layers[part] for part in parts if isinstance(part, int)])
            continue
        for part in parts:
            if isinstance(part, TreeBlock):
                yield {
                    "name": "ResidualTreeBlock",
                    "cell_drop_rate": 0.0,
                    "final_bn": part.norm is not None,
                    "shortcut": layer_to(layers[part.shortcut], NORM_FIRST),
                    "in_bottle": _optional(layers, part.in_bottle),
                    "out_bottle": _optional(layers, part.out_bottle),
                    "cell": _node(part.cell, layers),
                }


def _optional(layers: tuple[LayerSpec, ...], number: int | None) -> JsonObject | None:
    return None if number is None else layer_to(layers[number], NORM_FIRST)


def _transition(layers: Sequence[LayerSpec]) -> JsonObject:
    return {
        "name": "TransitionBlock",
        "layers": [layer_to(layer, NORM_FIRST) for layer in layers],
    }


def _node(node: Node, layers: tuple[LayerSpec, ...]) -> JsonObject:
    alone = len(node.branches) == 1 and node.split == "copy" and node.merge == "add"
    return {
        "name": "TreeNode",
        "in_channels": node.in_c,
        "out_channels": node.out_c,
        "split_type": None if alone else node.split,
        "merge_type": None if alone else node.merge,
        "has_branch_bn": any(branch.norm is not None for branch in node.branches),
        "path_drop_rate": 0,
        "edges": [layer_to(layers[branch.edge], NORM_FIRST) for branch in node.branches],
        "child_nodes": [
            None if branch.child is None else _node(branch.child, layers)
            for branch in node.branches
        ],
    }
