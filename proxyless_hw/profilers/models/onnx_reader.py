"""The inputs, outputs and outside weights that an .onnx file declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import (
    ANONYMOUS,
    ModelInput,
    Size,
    both_ranges,
    integer_range,
)

_DTYPES: Final = {
    **{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64"},
    **{8: "string", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64"},
    **{14: "complex64", 15: "complex128", 16: "bfloat16"},
}
"""Names of TensorProto's data types, by number."""

_PASSING: Final = frozenset(
    ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice")
)


@dataclass(frozen=True)
class OnnxInterface:
    """What an .onnx file says about itself.

    Attributes:
        inputs: what a user gives, in order; weights listed as inputs are left out.
        outputs: sizes of the outputs; None where the file does not say.
        weights: files beside it that hold weights, relative to its folder.
    """

    inputs: tuple[ModelInput, ...]
    outputs: tuple[tuple[Size, ...] | None, ...]
    weights: tuple[str, ...]


def read_onnx(path: Path) -> OnnxInterface:
    """Reads a file's inputs and outputs; weights kept outside it are not needed.

    Raises:
        ProfilingError: it cannot be read, is not an ONNX model, or takes more than tensors.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False, format="protobuf")
    except OSError as cause:
        raise ProfilingError(f"cannot read {path}: {cause.strerror or cause}.") from cause
    except DecodeError as cause:
        raise ProfilingError(f"{path} is not an ONNX model.") from cause
    graph = model.graph
    ranges = _ranges(graph)
    given = {tensor.name for tensor in graph.initializer}
    given |= {tensor.values.name for tensor in graph.sparse_initializer}
    return OnnxInterface(
        inputs=tuple(
            _input(item, ranges.get(item.name), path)
            for item in graph.input
            if item.name not in given
        ),
        outputs=tuple(_sizes(item.type.tensor_type) for item in graph.output),
        weights=tuple(dict.fromkeys(_outside(model))),
    )


def _input(item: Any, bounds: tuple[int, int] | None, path: Path) -> ModelInput:
    kind = item.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ProfilingError(
            f"{path} has the input '{item.name}', which is not a tensor but "
            f"{(kind or 'nothing').removesuffix('_type')}: it has no shape that could be stated."
        )
    tensor = item.type.tensor_type
    dtype = _DTYPES.get(tensor.elem_type, f"type {tensor.elem_type}")
    low, high = integer_range(dtype, bounds)
    return ModelInput(name=item.name, sizes=_sizes(tensor), dtype=dtype, low=low, high=high)


def _sizes(tensor: Any) -> tuple[Size, ...] | None:
    if not tensor.HasField("shape"):
        return None
    return tuple(_size(size) for size in tensor.shape.dim)


def _size(size: Any) -> Size:
    if size.WhichOneof("value") == "dim_value" and size.dim_value >= 0:
        return int(size.dim_value)
    return str(size.dim_param) or ANONYMOUS


def _ranges(graph: Any) -> dict[str, tuple[int, int]]:
    """[low, high) of the tensors that are used as indices or divisors."""
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        values = [item.t for item in node.attribute if node.op_type == "Constant"]
        if len(values) == 1:
            sizes[node.output[0]] = tuple(values[0].dims)
    ranges: dict[str, tuple[int, int]] = {}
    for node in reversed(list(_nodes(graph))):
        names = list(node.input)
        if node.op_type == "Gather" and len(names) == 2:
            shape = sizes.get(names[0], ())
            axis = next((item.i for item in node.attribute if item.name == "axis"), 0)
            if shape and -len(shape) <= axis < len(shape) and shape[axis] > 0:
                bounds = (0, int(shape[axis]))
                ranges[names[1]] = both_ranges(ranges.get(names[1]), bounds)
        elif node.op_type in ("Div", "Mod") and len(names) == 2:
            ranges[names[1]] = both_ranges(ranges.get(names[1]), (1, 2))
        elif node.op_type in _PASSING and names and node.output[0] in ranges:
            ranges[names[0]] = both_ranges(ranges.get(names[0]), ranges[node.output[0]])
    return ranges


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of bodies (If, Loop, Scan) after the node that holds them."""
    for node in graph.node:
        yield node
        for body in _bodies(node):
            yield from _nodes(body)


def _bodies(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _outside(model: Any) -> Iterator[str]:
    """Locations of weights that a model keeps in other files, in the order of use."""
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        for node in graph.node:
            graphs += _bodies(node)
        tensors = list(graph.initializer)
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        tensors += [tensor for item in attributes for tensor in (item.t, *item.tensors)]
        for sparse in graph.sparse_initializer:
            tensors += [sparse.values, sparse.indices]
        for tensor in tensors:
            # 1: TensorProto.EXTERNAL
            if tensor.data_location == 1:
                yield from (item.value for item in tensor.external_data if item.key == "location")
