"""A channel shuffle as exporters write it: into groups, groups and channels swapped, back again."""

from __future__ import annotations

from proxyless_hw.formats.onnx_graph import Graph, Node


def shuffled(graph: Graph, tensor: str, channels: int, groups: int) -> str | None:
    """The tensor behind a channel shuffle of `tensor`; None where there is none.

    Args:
        graph: the graph.
        tensor: a map of `channels` channels, (N, channels, H, W).
        channels: its channels.
        groups: groups of the convolution that made it.
    """
    apart = graph.user(tensor, "Reshape")
    if apart is None or groups < 2:
        return None
    swapped = graph.user(apart.output, "Transpose")
    if swapped is None or list(swapped.attributes.get("perm", ())) != [0, 2, 1, 3, 4]:
        return None
    joined = graph.user(swapped.output, "Reshape")
    if joined is None or _sizes(graph, apart)[1:3] != [groups, channels // groups]:
        return None
    return joined.output if _sizes(graph, joined)[1:2] == [channels] else None


def _sizes(graph: Graph, reshape: Node) -> list[int]:
    """The shape that a Reshape gives; empty where it is no constant."""
    if len(reshape.weights) != 1:
        return []
    return [int(size) for size in graph.constant(reshape.weights[0]).ravel()]
