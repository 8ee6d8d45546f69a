"""What pricing needs of an ONNX graph: nodes, weight shapes, and which node uses which tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np

from proxyless_hw.errors import PredictorError

MAX_BYTES: Final = 2 * 2**30
KNOWN_NODES: Final = frozenset(
    (
        *("Conv", "Clip", "Relu", "HardSwish", "Sigmoid", "HardSigmoid", "Mul", "Add", "Div"),
        *("GlobalAveragePool", "ReduceMean", "Flatten", "Reshape", "Squeeze", "Gemm", "Softmax"),
        *("BatchNormalization", "Constant", "Identity", "Dropout", "Transpose"),
        *("Swish", "Min", "Max"),
    )
)
"""Node types that can be part of a known op."""


@dataclass(frozen=True)
class Node:
    """One node; `inputs` without the weights.

    Attributes:
        kind: its op type.
        name: its name, or its output's.
        inputs: computed tensors it takes, in order.
        weights: names of the constants it takes, in order.
        output: its first output.
        attributes: its attributes as plain values.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    weights: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any]


class Graph:
    """A graph with one image input and one output.

    Args:
        path: an .onnx file; of weights kept outside it only single values are read.
        resolution: height and width where the file leaves them open.

    Attributes:
        source: the path, for messages.
        input: name of the image input.
        batch_size: its batch; None where that is open.
        channels, height, width: its shape.
        output: name of the output.
        nodes: all nodes but constants and identities, in order.

    Raises:
        PredictorError: the file is no ONNX model, or has a node that no known op holds.
    """

    def __init__(self, path: Path, resolution: int | None = None) -> None:
        self.source = str(path)
        self.folder = path.parent
        graph = self._load(path)
        self._refuse_unknown(graph)
        self._refuse_broken(graph)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._constants |= {
            node.output[0]: self._tensor(node) for node in graph.node if node.op_type == "Constant"
        }
        self._aliases = self._copies(graph)
        self.nodes = [self._node(node) for node in graph.node if self._computes(node)]
        inputs = [item for item in graph.input if item.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            self.fail(f"has {len(inputs)} inputs and {len(graph.output)} outputs, not one of each")
        self.input = inputs[0].name
        sizes = self._image_shape(inputs[0], resolution)
        self.batch_size, (self.channels, self.height, self.width) = sizes[0] or None, sizes[1:]
        self.output = self._resolve(graph.output[0].name)
        self._users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                self._users.setdefault(name, []).append(node)

    def users(self, tensor: str) -> list[Node]:
        """The nodes that take a tensor."""
        return self._users.get(tensor, [])

    def user(self, tensor: str, *kinds: str) -> Node | None:
        """The one node that takes a tensor, when it is of one of these kinds; else None."""
        users = self.users(tensor)
        return users[0] if len(users) == 1 and users[0].kind in kinds else None

    def weight_shape(self, node: Node) -> tuple[int, ...]:
        """Shape of a node's first constant."""
        if not node.weights:
            self.fail(f"has a {node.kind} without constant weights ({node.name[:80]})")
        return tuple(int(size) for size in self._constants[node.weights[0]].dims)

    def constant(self, name: str) -> Any:
        """A constant as an array, wherever its values are kept."""
        from onnx import numpy_helper
        from onnx.checker import ValidationError

        try:
            return numpy_helper.to_array(self._constants[name], base_dir=str(self.folder))
        except (TypeError, ValueError, OSError, ValidationError) as cause:
            raise PredictorError(
                f"{self.source} has a constant that cannot be read, {name[:80]}: {cause}."
            ) from cause

    def fail(self, reason: str) -> NoReturn:
        """Raises a PredictorError that names the file."""
        raise PredictorError(f"{self.source} {reason}.")

    def _load(self, path: Path) -> Any:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            if path.stat().st_size > MAX_BYTES:
                self.fail("is larger than 2 GiB")
            return onnx.load(str(path), load_external_data=False).graph
        except OSError as cause:
            raise PredictorError(f"cannot read {path}: {cause.strerror or cause}.") from cause
        except DecodeError as cause:
            raise PredictorError(f"{path} is not an ONNX model.") from cause

    def _refuse_unknown(self, graph: Any) -> None:
        unknown = [node for node in graph.node if node.op_type not in KNOWN_NODES]
        if unknown:
            kinds = list(dict.fromkeys(node.op_type for node in unknown))
            first = unknown[0].name or ", ".join(unknown[0].output)
            self.fail(
                f"has nodes that no known op holds: {', '.join(kinds)[:300]} (first: "
                f"{first[:100]}). Measure the file itself: proxyless-hw benchmark {self.source}"
            )

    def _refuse_broken(self, graph: Any) -> None:
        made = {"", *(item.name for item in (*graph.input, *graph.initializer))}
        for node in graph.node:
            if not node.output or (not node.input and node.op_type != "Constant"):
                self.fail(
                    f"has a broken {node.op_type} node ({node.name[:80]}): no input or output"
                )
            for name in node.input:
                if name not in made:
                    self.fail(f"uses {name[:80]!r}, which no node before that makes")
            made.update(node.output)

    def _tensor(self, node: Any) -> Any:
        """The value of a Constant node."""
        from onnx import helper, numpy_helper

        kinds = {"value_float": "float32", "value_floats": "float32"}
        kinds |= {"value_int": "int64", "value_ints": "int64"}
        known = [item for item in node.attribute if item.name == "value" or item.name in kinds]
        if len(known) != 1:
            self.fail(f"has a Constant that is not a tensor ({node.output[0][:80]})")
        if known[0].name == "value":
            return known[0].t
        values = np.asarray(helper.get_attribute_value(known[0]), kinds[known[0].name])
        return numpy_helper.from_array(values, node.output[0])

    def _computes(self, node: Any) -> bool:
        return node.op_type not in ("Constant", "Identity", "Dropout")

    def _copies(self, graph: Any) -> dict[str, str]:
        return {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type in ("Identity", "Dropout")
        }

    def _resolve(self, name: str) -> str:
        for _ in range(len(self._aliases) + 1):
            if name not in self._aliases:
                break
            name = self._aliases[name]
        return name

    def _node(self, node: Any) -> Node:
        from onnx import helper

        names = [self._resolve(name) for name in node.input if name]
        return Node(
            kind=node.op_type,
            name=node.name or node.output[0],
            inputs=tuple(name for name in names if name not in self._constants),
            weights=tuple(name for name in names if name in self._constants),
            output=node.output[0],
            attributes={item.name: helper.get_attribute_value(item) for item in node.attribute},
        )

    def _image_shape(self, item: Any, resolution: int | None) -> list[int]:
        """N, C, H, W; N is 0 where it is open."""
        sizes = [max(size.dim_value, 0) for size in item.type.tensor_type.shape.dim]
        if len(sizes) != 4 or not sizes[1]:
            self.fail(
                f"must take images (N, C, H, W) with a fixed C: its input has shape {sizes}, where "
                "0 stands for an open size"
            )
        if 0 in sizes[2:] and resolution is None:
            self.fail(
                "leaves the height and width of its images open. Say which are priced: "
                "--resolution N"
            )
        return [*sizes[:2], *(size or resolution or 0 for size in sizes[2:])]
