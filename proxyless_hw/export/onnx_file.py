"""Writing a torch module as an ONNX file that ONNX Runtime runs fast."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from proxyless_hw.errors import ExportError
from proxyless_hw.export.prepare import deployment_copy
from proxyless_hw.storage.files import atomic_path

OPSET: Final = 20
"""The newest operator set that the exporter writes; ONNX Runtime 1.17 and later run it."""

OLDEST_OPSET: Final = 11
"""The oldest one that is written: compilers of vendors lag behind by years."""

INPUT_NAME: Final = "input"
OUTPUT_NAME: Final = "output"


def onnx_bytes(
    module: nn.Module,
    input_shape: Sequence[int],
    *,
    dynamic_batch: bool = False,
    metadata: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> bytes:
    """Converts a module to a serialised ONNX model.

    Args:
        module: takes and gives one float32 tensor; BatchNorm is folded on a copy in eval mode.
        input_shape: (N, C, H, W) of the input, named ``input``; the output is named ``output``.
        dynamic_batch: leaves the first dimension of both open, as ``batch``.
        metadata: key and text pairs kept in the file (``metadata_props``).
        opset: version of ONNX's operator set, from `OLDEST_OPSET` to `OPSET`.

    Raises:
        ExportError: the module cannot be converted to this operator set, the set is not one that
            is written, or the model breaks ONNX's rules.
    """
    if not OLDEST_OPSET <= opset <= OPSET:
        raise ExportError(
            f"ONNX files are written with opset {OLDEST_OPSET} to {OPSET}: received {opset}. "
            "Choose the newest one that your compiler reads: --opset N."
        )
    buffer = io.BytesIO()
    example = torch.zeros(tuple(input_shape))
    dynamic = {INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}} if dynamic_batch else None
    # On a failure the exporter prints its whole graph; the error says enough.
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # The TorchScript exporter is deprecated, and 20 times as fast as its successor.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Trees compare channel counts, which are the same for every input.
        warnings.simplefilter("ignore", TracerWarning)
        # What the exporter leaves unfolded, the runtime folds when it loads the file.
        warnings.filterwarnings("ignore", "Constant folding", UserWarning)
        try:
            torch.onnx.export(
                deployment_copy(module),
                (example,),
                buffer,  # type: ignore[arg-type]  # TorchScript's exporter writes to buffers too
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_axes=dynamic,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as cause:
            raise ExportError(
                f"this network cannot be written as ONNX with opset {opset}: {cause}"
            ) from cause
    model = onnx.load_from_string(buffer.getvalue())
    _tidy(model.graph)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as cause:
        raise ExportError(f"the converted network breaks ONNX's rules: {cause}") from cause
    return bytes(model.SerializeToString())


def write_onnx(
    module: nn.Module,
    input_shape: Sequence[int],
    path: str | Path,
    *,
    dynamic_batch: bool = False,
    metadata: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> Path:
    """Writes what `onnx_bytes` gives, atomically, and returns the path.

    Raises:
        ExportError: the module cannot be converted, or the place cannot be written.
    """
    content = onnx_bytes(
        module, input_shape, dynamic_batch=dynamic_batch, metadata=metadata, opset=opset
    )
    with atomic_path(Path(path), ExportError) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def _tidy(graph: Any) -> None:
    """Puts the graph in the form that ONNX Runtime fuses and lays out best."""
    _constants_become_initializers(graph)
    _remove_identities(graph)
    _means_become_pooling(graph)
    _remove_unused_initializers(graph)


def _constants_become_initializers(graph: Any) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        tensor = node.attribute[0].t
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _remove_identities(graph: Any) -> None:
    """Shared tensors (equal BatchNorm-free biases, say) reach their users without a copy node."""
    outputs = {output.name for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        source, copied = node.input[0], node.output[0]
        if copied in outputs:
            continue
        for user in graph.node:
            for index, name in enumerate(user.input):
                if name == copied:
                    user.input[index] = source
        graph.node.remove(node)


def _means_become_pooling(graph: Any) -> None:
    """A mean over height and width is a global average pooling.

    ONNX Runtime runs both equally fast in float32, but has an int8 kernel for this one only.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "ReduceMean":
            continue
        # From opset 18 on the axes are an input, before that an attribute.
        axes = next((sorted(item.ints) for item in node.attribute if item.name == "axes"), [])
        if len(node.input) == 2 and node.input[1] in constants:
            axes = sorted(numpy_helper.to_array(constants[node.input[1]]).tolist())
        keeps = next((item.i for item in node.attribute if item.name == "keepdims"), 1)
        if axes in ([2, 3], [-2, -1]) and keeps:
            pooling = helper.make_node(
                "GlobalAveragePool", [node.input[0]], list(node.output), name=node.name
            )
            node.CopyFrom(pooling)


def _remove_unused_initializers(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    used.update(output.name for output in graph.output)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
