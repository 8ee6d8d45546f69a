"""PyramidTreeNet, the published CIFAR-10 network, as an architecture wired as trees, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.net_config_fields import (
    NORM_FIRST,
    PYRAMID,
    batch_norm_from,
    batch_norm_to,
    check_keys,
    mapping,
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
from proxyless_hw.space.wiring import MAX_TREE_DEPTH, Branch, Node, TreeBlock, Wiring, shares

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


def tree_from(document: Mapping[str, Any], source: str) -> Architecture:
    """Reads a PyramidTreeNet.

    Raises:
        ArchitectureError: a rule is broken; the message names the place.
    """
    check_keys({k: v for k, v in document.items() if k not in _OPTIONAL}, _REQUIRED_KEYS, source)
    if document.get("tree_node_config") not in (None, {}):
        raise ArchitectureError(f"{source}: tree_node_config must be empty; write the nodes out.")
    no_drop(document.get("cell_drop_rate", 0), f"{source}: cell_drop_rate")
    blocks = document["blocks"]
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= MAX_POSITIONS:
        raise ArchitectureError(f"{source}: blocks must be a list of 1 to {MAX_POSITIONS} blocks.")
    reader = _TreeReader(source)
    transitions: list[list[LayerSpec] | None] = [
        reader.transition(block, f"{source}: blocks[{index}]")
        if mapping(block, f"{source}: blocks[{index}]").get("name") == "TransitionBlock"
        else None
        for index, block in enumerate(blocks)
    ]
    stem = transitions[0] or []
    tail = (transitions[-1] or []) if len(blocks) > 1 else []
    for index in range(1 if stem else 0, len(blocks) - (1 if tail else 0)):
        where = f"{source}: blocks[{index}]"
        layers = transitions[index]
        if layers is None:
            reader.block(blocks[index], where)
        else:
            if (index and transitions[index - 1] is not None) or index + 1 == len(blocks):
                raise ArchitectureError(f"{where}: two TransitionBlocks in a row; join them.")
            reader.wiring += [reader.add(layer) for layer in layers]
    before, classifier = linear_from(document["classifier"], f"{source}: classifier")
    norm = document.get("bn")
    arch = Architecture(
        space=PYRAMID,
        resolution=RESOLUTION,
        num_classes=classifier.out_c,
        stem=tuple(stem),
        blocks=tuple(reader.layers),
        head=(*tail, *before, classifier),
        batch_norm=BATCH_NORM if norm is None else batch_norm_from(norm, source),
        wiring=tuple(reader.wiring),
    )
    end = arch.input_shapes()[-1 - len(before)]
    if (end.h, end.w) != (1, 1):
        raise ArchitectureError(
            f"{source}: the classifier takes a 1x1 map: at {RESOLUTION} pixels it receives "
            f"{end.h}x{end.w}."
        )
    return arch


_REQUIRED_KEYS: Final = ("name", "blocks", "classifier")


def no_drop(value: object, where: str) -> None:
    """Checks that a drop rate is zero: the published code scales outputs by it, also in use.

    Raises:
        ArchitectureError: it is not.
    """
    if type(value) not in (int, float) or value != 0:
        raise ArchitectureError(
            f"{where} must be 0 (set drop-path when training): received {str(value)[:80]!r}."
        )


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

    def transition(self, value: Mapping[str, Any], where: str) -> list[LayerSpec]:
        check_keys(value, ("name", "layers"), where)
        layers = value["layers"]
        if not isinstance(layers, list) or not 1 <= len(layers) <= 64:
            raise ArchitectureError(f"{where}.layers must be a list of 1 to 64 layers.")
        return [layer_from(item, f"{where}.layers[{index}]") for index, item in enumerate(layers)]

    def block(self, value: Mapping[str, Any], where: str) -> None:
        if value.get("name") != "ResidualTreeBlock":
            raise ArchitectureError(
                f"{where}.name must be ResidualTreeBlock or TransitionBlock: "
                f"received {str(value.get('name'))[:80]!r}."
            )
        check_keys(value, _BLOCK_KEYS, where)
        no_drop(value["cell_drop_rate"], f"{where}.cell_drop_rate")
        final_bn = self.flag(value["final_bn"], f"{where}.final_bn")
        shortcut = self.add(layer_from(value["shortcut"], f"{where}.shortcut"))
        in_bottle = self.optional(value["in_bottle"], f"{where}.in_bottle")
        cell = self.node(value["cell"], f"{where}.cell", 1)
        out_bottle = self.optional(value["out_bottle"], f"{where}.out_bottle")
        out_c = cell.out_c if out_bottle is None else self.layers[out_bottle].out_c
        norm = self.add(LayerSpec("identity_pre", out_c, out_c)) if final_bn else None
        self.wiring.append(TreeBlock(shortcut, cell, in_bottle, out_bottle, norm))

    def node(self, value: object, where: str, depth: int) -> Node:
        if depth > MAX_TREE_DEPTH:
            raise ArchitectureError(f"{where}: trees are at most {MAX_TREE_DEPTH} nodes deep.")
        fields = mapping(value, where)
        check_keys(fields, _NODE_KEYS, where)
        if fields["name"] != "TreeNode":
            raise ArchitectureError(f"{where}.name must be TreeNode.")
        no_drop(fields["path_drop_rate"], f"{where}.path_drop_rate")
        edges, children = fields["edges"], fields["child_nodes"]
        lists = isinstance(edges, list) and isinstance(children, list)
        if not lists or len(edges) != len(children) or not 1 <= len(edges) <= 16:
            raise ArchitectureError(f"{where} needs 1 to 16 edges and as many child_nodes.")
        in_c, out_c = (self.channels(fields, key, where) for key in ("in_channels", "out_channels"))
        split, merge = fields["split_type"], fields["merge_type"]
        alone = len(edges) == 1
        if split not in ("copy", "split") and not (split is None and alone):
            raise ArchitectureError(f"{where}.split_type must be copy or split.")
        if merge not in ("add", "concat") and not (merge is None and alone):
            raise ArchitectureError(f"{where}.merge_type must be add or concat.")
        has_norm = self.flag(fields["has_branch_bn"], f"{where}.has_branch_bn")
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
            node = None if child is None else self.node(child, below, depth + 1)
            width = outputs[index]
            norm = self.add(LayerSpec("identity_pre", width, width)) if has_norm else None
            branches.append(Branch(number, node, norm))
        return Node(tuple(branches), in_c, out_c, split or "copy", merge or "add")

    def optional(self, value: object, where: str) -> int | None:
        return None if value is None else self.add(layer_from(value, where))

    def flag(self, value: object, where: str) -> bool:
        if type(value) is not bool:
            raise ArchitectureError(f"{where} must be true or false: received {str(value)[:80]!r}.")
        return value

    def channels(self, fields: Mapping[str, Any], key: str, where: str) -> int:
        value = fields[key]
        if type(value) is not int or not 1 <= value <= MAX_CHANNELS:
            raise ArchitectureError(
                f"{where}.{key} must be a whole number from 1 to {MAX_CHANNELS}: "
                f"received {str(value)[:80]!r}."
            )
        return value


def tree_to(arch: Architecture) -> dict[str, Any]:
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
    document = {"name": PYRAMID, "blocks": blocks, "classifier": linear_to(last, NORM_FIRST)}
    if arch.batch_norm != BATCH_NORM:
        document["bn"] = batch_norm_to(arch.batch_norm)
    return document


def _blocks(layers: tuple[LayerSpec, ...], wiring: Wiring) -> Iterator[dict[str, Any]]:
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


def _optional(layers: tuple[LayerSpec, ...], number: int | None) -> dict[str, Any] | None:
    return None if number is None else layer_to(layers[number], NORM_FIRST)


def _transition(layers: Any) -> dict[str, Any]:
    return {
        "name": "TransitionBlock",
        "layers": [layer_to(layer, NORM_FIRST) for layer in layers],
    }


def _node(node: Node, layers: tuple[LayerSpec, ...]) -> dict[str, Any]:
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
