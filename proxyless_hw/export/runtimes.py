"""Running an exported file on images: ONNX Runtime, LiteRT, ExecuTorch behind one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import BackendUnavailableError, ExportError
from proxyless_hw.terminal.quiet import quiet_native_output
from proxyless_hw.threads import ORT_SPINNING

Images = NDArray[np.float32]


def onnx_outputs(model: bytes, images: Images) -> NDArray[np.float32]:
    """Runs an ONNX model on the CPU.

    Args:
        model: the serialised model, with one input and one output.
        images: (N, C, H, W); N is a multiple of the model's batch where that is fixed.

    Returns:
        (N, classes) outputs.

    Raises:
        ExportError: ONNX Runtime refuses the model.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as faults

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(ORT_SPINNING, "0")  # nothing is timed here
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except (
        faults.Fail,
        faults.InvalidArgument,
        faults.InvalidGraph,
        faults.InvalidProtobuf,
        faults.NotImplemented,
    ) as e:
        raise ExportError(f"ONNX Runtime cannot load the exported file: {e}") from e
    entry = session.get_inputs()[0]
    fixed = isinstance(entry.shape[0], int)
    batch = entry.shape[0] if fixed else 32
    return _in_batches(
        images, batch, lambda part: session.run(None, {entry.name: part})[0], rest=not fixed
    )


def tflite_outputs(model: bytes, images: Images) -> NDArray[np.float32]:
    """Runs a TFLite model on the CPU; integer inputs and outputs are scaled on the way.

    Args:
        model: the serialised model; takes (N, H, W, C), gives (N, classes).
        images: (N, C, H, W); N is a multiple of the model's batch.

    Returns:
        (N, classes) outputs as float32.

    Raises:
        BackendUnavailableError: no TFLite interpreter is installed.
        ExportError: the interpreter refuses the model.
    """
    interpreter = open_interpreter(model)
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run(part: Images) -> NDArray[np.float32]:
        interpreter.set_tensor(entry["index"], _quantised(part.transpose(0, 2, 3, 1), entry))
        interpreter.invoke()
        return _dequantised(interpreter.get_tensor(exit_["index"]), exit_)

    return _in_batches(images, int(entry["shape"][0]), run)


def pte_outputs(model: bytes, images: Images) -> NDArray[np.float32]:
    """Runs an ExecuTorch program on the CPU.

    Args:
        model: the program; takes (N, C, H, W), gives (N, classes).
        images: (N, C, H, W); N is a multiple of the program's batch.

    Returns:
        (N, classes) outputs.

    Raises:
        BackendUnavailableError: ExecuTorch is not installed.
        ExportError: it refuses the program.
    """
    import torch

    from proxyless_hw.export.pte_file import open_pte

    method = open_pte(model, "the exported file")

    def run(part: Images) -> NDArray[np.float32]:
        outputs: NDArray[np.float32] = method([torch.from_numpy(part)])[0].numpy()
        return outputs

    return _in_batches(images, method.input_sizes[0][0], run)


def open_interpreter(model: bytes, threads: int = 1) -> Any:
    """A LiteRT interpreter with its tensors allocated; `tflite_runtime` where only that is there.

    Raises:
        BackendUnavailableError: neither is installed.
        ExportError: the model cannot be loaded.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as cause:
            raise BackendUnavailableError(
                "running TFLite files needs LiteRT. Install it: pip install 'proxyless-hw[tflite]'"
            ) from cause
    with quiet_native_output():
        try:
            interpreter = Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as cause:
            raise ExportError(f"LiteRT cannot load the exported file: {cause}") from cause
    return interpreter


def _in_batches(
    images: Images,
    batch: int,
    run: Callable[[Images], NDArray[np.float32]],
    rest: bool = False,
) -> NDArray[np.float32]:
    """All outputs; with `rest` the last batch may be smaller."""
    if len(images) == 0 or (len(images) % batch and not rest):
        raise ExportError(
            f"the file takes {batch} images at a time: {len(images)} is no multiple of that."
        )
    return np.concatenate(
        [
            run(np.ascontiguousarray(images[start : start + batch]))
            for start in range(0, len(images), batch)
        ]
    )


def _quantised(values: Images, detail: dict[str, Any]) -> NDArray[Any]:
    values = np.ascontiguousarray(values)
    if detail["dtype"] == np.float32:
        return values
    scale, zero = detail["quantization"]
    limits = np.iinfo(detail["dtype"])
    rounded = np.clip(np.round(values / scale) + zero, limits.min, limits.max)
    integers: NDArray[Any] = rounded.astype(detail["dtype"])
    return integers


def _dequantised(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[np.float32]:
    if detail["dtype"] == np.float32:
        return values
    scale, zero = detail["quantization"]
    floats: Images = ((values.astype(np.float32) - zero) * scale).astype(np.float32)
    return floats
