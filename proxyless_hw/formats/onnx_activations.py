"""Hard-swish and hard-sigmoid as exporters write them out where ONNX's operator set lacks them.

``relu6(x + 3) / 6`` is the hard sigmoid, with the division also as a multiplication by 1/6; the
hard swish is x times that, or ``x * relu6(x + 3) / 6`` with the division last.
"""

from __future__ import annotations

from proxyless_hw.formats.onnx_graph import Graph, Node


def hard_sigmoid_end(graph: Graph, tensor: str) -> str | None:
    """The input of the written-out hard sigmoid that makes `tensor`, or None for another graph."""
    clipped = _clipped(graph, graph.user(tensor, "Add"))
    return None if clipped is None else _sixth(graph, clipped)


def hard_swish_end(graph: Graph, tensor: str) -> str | None:
    """The input of the written-out hard swish that makes `tensor`, or None for another graph."""
    users = graph.users(tensor)
    shifts = [node for node in users if node.kind == "Add" and node.weights]
    products = [node for node in users if node.kind == "Mul"]
    if len(users) != 2 or len(shifts) != 1 or len(products) != 1:
        return None
    clipped, product = _clipped(graph, shifts[0]), products[0]
    if clipped is None:
        return None
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
    clip = graph.user(shift.output, "Clip")
    return clip.output if clip is not None and clip_bounds(graph, clip) == [0.0, 6.0] else None


def _sixth(graph: Graph, tensor: str) -> str | None:
    """The tensor behind a division of `tensor` by 6."""
    node = graph.user(tensor, "Div", "Mul")
    if node is None or not _is_near(graph, node, 6.0 if node.kind == "Div" else 1 / 6):
        return None
    return node.output


def _is_near(graph: Graph, node: Node, value: float) -> bool:
    """Whether the one constant of a node is a value, to single precision."""
    if len(node.weights) != 1:
        return False
    constant = graph.constant(node.weights[0])
    return bool(constant.size == 1 and abs(float(constant.item()) - value) < 1e-4 * value)
