"""ReLU6, hard-swish and hard-sigmoid as exporters write them out.

ReLU6 is a Clip, or a Relu or Max with 0 and a Min with 6, in either order. ``relu6(x + 3) / 6`` is
the hard sigmoid, with the division also as a multiplication by 1/6; the hard swish is x times that,
with the division also last (``x * relu6(x + 3) / 6``) or first (``x / 6 * relu6(x + 3)``).
"""

from __future__ import annotations

from proxyless_hw.formats.onnx_graph import Graph, Node


def relu6_end(graph: Graph, tensor: str) -> str | None:
    """The tensor behind a ReLU6 of `tensor`, or None for another graph."""
    first = graph.user(tensor, "Clip", "Relu", "Max", "Min")
    if first is None:
        return None
    if first.kind == "Clip":
        return first.output if clip_bounds(graph, first) == [0.0, 6.0] else None
    second = graph.user(first.output, "Relu", "Max", "Min")
    found = {_bound(graph, node) for node in (first, second) if node is not None}
    return second.output if second is not None and found == {"at least 0", "at most 6"} else None


def _bound(graph: Graph, node: Node) -> str:
    if node.kind == "Relu" or (node.kind == "Max" and _is_near(graph, node, 0.0)):
        return "at least 0"
    return "at most 6" if node.kind == "Min" and _is_near(graph, node, 6.0) else "another"


def hard_sigmoid_end(graph: Graph, tensor: str) -> str | None:
    """The input of the written-out hard sigmoid that makes `tensor`, or None for another graph."""
    clipped = _clipped(graph, graph.user(tensor, "Add"))
    return None if clipped is None else _sixth(graph, clipped)


def hard_swish_end(graph: Graph, tensor: str) -> str | None:
    """The input of the written-out hard swish that makes `tensor`, or None for another graph."""
    users = graph.users(tensor)
    shifts = [node for node in users if node.kind == "Add" and node.weights]
    products = [node for node in users if node.kind in ("Mul", "Div")]
    if len(users) != 2 or len(shifts) != 1 or len(products) != 1:
        return None
    clipped, product = _clipped(graph, shifts[0]), products[0]
    if clipped is None:
        return None
    if product.weights:
        last = graph.user(clipped, "Mul") if _is_sixth(graph, product) else None
        return last.output if last and set(last.inputs) == {product.output, clipped} else None
    if set(product.inputs) == {tensor, clipped}:
        return _sixth(graph, product.output)
    sixth = _sixth(graph, clipped)
    return product.output if sixth and set(product.inputs) == {tensor, sixth} else None


def clip_bounds(graph: Graph, node: Node) -> list[float]:
    """The bounds of a Clip, which are attributes up to opset 10 and inputs since."""
    if node.weights:
        bounds = [graph.constant(name) for name in node.weights]
        return [float(bound.item()) for bound in bounds if bound.size == 1]
    return [float(node.attributes.get(name, "nan")) for name in ("min", "max")]


def _clipped(graph: Graph, shift: Node | None) -> str | None:
    """The tensor behind relu6 of a sum with 3."""
    if shift is None or not _is_near(graph, shift, 3.0):
        return None
    return relu6_end(graph, shift.output)


def _sixth(graph: Graph, tensor: str) -> str | None:
    """The tensor behind a division of `tensor` by 6."""
    node = graph.user(tensor, "Div", "Mul")
    return node.output if node is not None and _is_sixth(graph, node) else None


def _is_sixth(graph: Graph, node: Node) -> bool:
    """Whether a Div is by 6, or a Mul by 1/6."""
    return _is_near(graph, node, 6.0 if node.kind == "Div" else 1 / 6)


def _is_near(graph: Graph, node: Node, value: float) -> bool:
    """Whether the one constant of a node is a value, to single precision."""
    if len(node.weights) != 1:
        return False
    constant = graph.constant(node.weights[0])
    return bool(constant.size == 1 and abs(float(constant.item()) - value) <= 1e-4 * value)
