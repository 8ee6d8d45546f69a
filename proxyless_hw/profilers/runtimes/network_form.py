"""An isolated op in the form it has inside a network, for ONNX Runtime.

Inside a network ONNX Runtime keeps maps in a blocked layout, and fuses a residual addition into
the convolution before it. Alone, an op pays for reordering its input and output, and its addition
is not fused. So the op is written between two 1x1 convolutions (`models.between`), ONNX Runtime
optimises the whole, and the part between the two convolutions is cut out and measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from proxyless_hw.errors import ProfilingError
from proxyless_hw.storage.files import scratch_folder


def cut_out(model: bytes, name: str, *, first: bool, last: bool, threads: int) -> tuple[bytes, Any]:
    """Optimises a model made by `between_convolutions` and cuts the op out.

    Args:
        model: the serialised model.
        name: what it is called in messages.
        first, last: as for `between_convolutions`.
        threads: intra-op threads; some optimisations depend on them.

    Returns:
        The op's model, already optimised, and an input array as the network would give it.

    Raises:
        ProfilingError: the op cannot be found in the optimised model.
    """
    from proxyless_hw.profilers.runtimes.onnxruntime_session import make_session

    original = onnx.load_from_string(model)
    with scratch_folder(ProfilingError) as folder:
        path = folder / "optimised.onnx"
        make_session(model, threads, name, spin=False, save_to=path)
        optimised = onnx.load(path)
    graph = optimised.graph
    start = graph.input[0].name if first else _after_first_convolution(graph, name)
    end = graph.output[0].name if last else _before_last_convolution(graph, name)
    example = _value_at(optimised, start, original, name, threads)
    extracted = _subgraph(optimised, start, end, example, name)
    return extracted.SerializeToString(), example


def _is_convolution(node: Any) -> bool:
    return "Conv" in node.op_type


def _after_first_convolution(graph: Any, name: str) -> str:
    tensor = graph.input[0].name
    for _ in range(len(graph.node)):
        users = [node for node in graph.node if tensor in node.input]
        if len(users) != 1:
            break
        tensor = users[0].output[0]
        if _is_convolution(users[0]):
            return str(tensor)
    raise ProfilingError(f"{name}: ONNX Runtime's optimised model has no known beginning.")


def _before_last_convolution(graph: Any, name: str) -> str:
    producers = {output: node for node in graph.node for output in node.output}
    tensor = graph.output[0].name
    while tensor in producers:
        node = producers[tensor]
        tensor = node.input[0]
        if _is_convolution(node):
            return str(tensor)
    raise ProfilingError(f"{name}: ONNX Runtime's optimised model has no known end.")


def _value_at(optimised: Any, tensor: str, original: Any, name: str, threads: int) -> Any:
    """What the network gives at a tensor for a random input."""
    from proxyless_hw.profilers.models.random_inputs import INPUT_SEED
    from proxyless_hw.profilers.runtimes.onnxruntime_session import make_session

    shape = [size.dim_value for size in original.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(INPUT_SEED).standard_normal(shape, dtype=np.float32)
    if tensor == optimised.graph.input[0].name:
        return image
    probe = onnx.ModelProto()
    probe.CopyFrom(optimised)
    del probe.graph.output[:]
    probe.graph.output.append(onnx.ValueInfoProto(name=tensor))
    _keep_needed(probe.graph, {tensor}, set())
    session = make_session(probe.SerializeToString(), threads, name, optimise=False, spin=False)
    return session.run([tensor], {optimised.graph.input[0].name: image})[0]


def _subgraph(optimised: Any, start: str, end: str, example: Any, name: str) -> Any:
    result = onnx.ModelProto()
    result.CopyFrom(optimised)
    graph = result.graph
    kind = helper.np_dtype_to_tensor_dtype(example.dtype)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(start, kind, example.shape))
    if graph.output[0].name != end:
        del graph.output[:]
        graph.output.append(onnx.ValueInfoProto(name=end))
    del graph.value_info[:]
    _keep_needed(graph, {end}, {start})
    if not graph.node:
        raise ProfilingError(f"{name}: nothing of the op is left after optimisation.")
    return result


def _keep_needed(graph: Any, wanted: set[str], given: set[str]) -> None:
    """Drops the nodes and weights that do not lead from `given` to `wanted`."""
    needed = set(wanted)
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output) and not given.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    kept.reverse()
    del graph.node[:]
    graph.node.extend(kept)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)
