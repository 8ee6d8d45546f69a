"""A copy of an .onnx file with its open sizes written in, for tools that run files as they are."""

from __future__ import annotations

from pathlib import Path

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.models.file_shapes import (
    FileSetting,
    copy_weights,
    model_suffix,
    read_model,
)


def with_fixed_sizes(path: Path, setting: FileSetting, folder: Path) -> Path:
    """Writes a copy in which every input has the sizes of a setting.

    A file that has these sizes already is returned itself.

    Args:
        path: the model file.
        setting: what the file shall run with.
        folder: an empty folder for the copy and its weights.

    Raises:
        ProfilingError: the copy cannot be written, or the file is not ONNX.
    """
    if all(item.sizes == setting.shapes[item.name] for item in setting.inputs):
        return path
    if model_suffix(path) != ".onnx":
        raise ProfilingError(f"only the open sizes of .onnx files are written in: received {path}.")
    import onnx

    model = onnx.load(str(path), load_external_data=False, format="protobuf")
    for item in model.graph.input:
        if item.name not in setting.shapes:
            continue
        dimensions = item.type.tensor_type.shape.dim
        del dimensions[:]
        for size in setting.shapes[item.name]:
            dimensions.add().dim_value = size
    # Other stated shapes were inferred from the open ones.
    del model.graph.value_info[:]
    for item in model.graph.output:
        item.type.tensor_type.ClearField("shape")
    copy = folder / f"fixed{path.suffix}"
    try:
        copy.write_bytes(model.SerializeToString())
    except OSError as cause:
        raise ProfilingError(
            f"a copy of {path} cannot be written to {folder}: {cause.strerror or cause}. "
            "Is there room?"
        ) from cause
    copy_weights(path, read_model(path).weights, folder)
    return copy
