"""Smaller number formats of an exported file: half precision, int8, and int8 weights only."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from proxyless_hw.errors import BackendUnavailableError, ExportError
from proxyless_hw.export.onnx_file import INPUT_NAME
from proxyless_hw.export.tflite_buffers import with_inline_buffers
from proxyless_hw.storage.files import scratch_folder
from proxyless_hw.terminal.quiet import quiet_native_output

FilePrecision = Literal["fp32", "fp16", "int8", "int8-dynamic"]
QuantisedForm = Literal["qdq", "qoperator"]
INT8_OPSET: Final = 13
_FORMS: Final = {"qdq": "QDQ", "qoperator": "QOperator"}

INSTALL_QUANTIZER: Final = "Install it: pip install 'proxyless-hw[tflite]'"
MIN_HALF_ELEMENTS: Final = 16384
"""Weights of fewer elements stay in single precision. They are a few percent of a network, most
of them in its first layers, whose rounding the layers after them amplify."""


RANGE_SHARES: Final = (1.0, 0.98, 0.95, 0.9)
"""Shares of the calibration inputs whose values an int8 range may hold entirely. Holding all of
them makes the steps coarse where a few images reach far beyond the others."""


def quantise_tflite(
    model: bytes, precision: FilePrecision, calibration: NDArray[np.float32] | None = None
) -> bytes:
    """Converts a float32 TFLite model to another number format.

    fp16 stores the larger weights in half precision (LiteRT computes in float32 on a CPU, in
    float16 on a GPU or DSP). int8 is full-integer: weights, activations, input and output, with
    the ranges that agree best with the float model on `calibration`. int8-dynamic has int8
    weights in the dense and pointwise layers, whose inputs are scaled as they run; depthwise ones
    stay float, where LiteRT has no such kernel.

    Args:
        model: the serialised float32 model, with one input.
        precision: the format to give; fp32 returns `model`.
        calibration: (batches, N, H, W, C) float32 inputs, as the model takes them; int8 only.

    Raises:
        BackendUnavailableError: ai-edge-quantizer is not installed.
        ExportError: int8 without calibration data, or the model cannot be quantised.
    """
    if precision == "fp32":
        return model
    if precision == "int8" and (calibration is None or len(calibration) == 0):
        raise ExportError(NEEDS_CALIBRATION)
    with _quiet_quantizer(), scratch_folder(ExportError) as folder:
        # The quantizer maps its input file into memory.
        path = folder / "float.tflite"
        path.write_bytes(model)
        with quiet_native_output(python_too=True):
            try:
                return _quantised(path, precision, calibration)
            except (RuntimeError, ValueError) as cause:
                raise ExportError(f"this network cannot be quantised: {cause}") from cause


def quantise_onnx(
    model: bytes,
    precision: FilePrecision,
    calibration: NDArray[np.float32] | None = None,
    form: QuantisedForm = "qdq",
) -> bytes:
    """Converts a float32 ONNX model to another number format.

    fp16 stores the larger weights in half precision and computes in float32, so that it runs
    wherever the float32 model does. int8 is static, with one scale per output channel; input and
    output stay float32.

    Args:
        model: the serialised float32 model.
        precision: the format to give; fp32 returns `model`.
        calibration: (batches, N, C, H, W) float32 inputs, as the model takes them; int8 only.
        form: of int8: ``qdq`` (QuantizeLinear and DequantizeLinear around float ops) or
            ``qoperator`` (quantised ops such as QLinearConv, of ONNX Runtime's set where ONNX has
            none).

    Raises:
        ExportError: int8 without calibration data or below opset 13, a weight beyond half
            precision, or int8-dynamic, which is written as TFLite only.
    """
    match precision:
        case "fp32":
            return model
        case "fp16":
            return _half_weights(model)
        case "int8":
            if calibration is None or len(calibration) == 0:
                raise ExportError(NEEDS_CALIBRATION)
            return _static_int8(model, calibration, form)
        case "int8-dynamic":
            raise ExportError(
                "int8-dynamic is written as TFLite only. "
                "Choose --precision int8 for ONNX, or --format tflite."
            )


NEEDS_CALIBRATION = (
    "int8 needs images to set the ranges of its activations: received none. "
    "Export a run, whose data set supplies them, or give --data NAME (data=images from Python). "
    "Without images: --format tflite --precision int8-dynamic, whose activations stay float."
)


def _quantised(
    path: Path, precision: FilePrecision, calibration: NDArray[np.float32] | None
) -> bytes:
    try:
        from ai_edge_quantizer import quantizer
    except ImportError as cause:
        raise BackendUnavailableError(
            f"quantising TFLite files needs ai-edge-quantizer ({cause}). {INSTALL_QUANTIZER}"
        ) from cause
    rules = _rules(precision, path)
    if not rules:
        return path.read_bytes()

    def quantised(ranges: dict[str, Any] | None) -> bytes:
        result = quantizer.Quantizer(str(path), rules).quantize(ranges)
        return with_inline_buffers(bytes(result.quantized_model))

    if precision != "int8" or calibration is None:
        return quantised(None)
    model = path.read_bytes()
    seen = _seen_ranges(model, rules, calibration)
    if not _classifies(model):
        return quantised(_ranges(seen, 1.0))
    models = {share: quantised(_ranges(seen, share)) for share in RANGE_SHARES}
    return models[_best_share(model, models, calibration)]


def _classifies(model: bytes) -> bool:
    """Whether the output is (N, classes): a network or its classifier, not another op."""
    from proxyless_hw.export.runtimes import open_interpreter

    return len(open_interpreter(model).get_output_details()[0]["shape"]) == 2


def _seen_ranges(model: bytes, rules: Any, calibration: NDArray[np.float32]) -> dict[str, Any]:
    """Smallest and largest value of every tensor, for each calibration input apart."""
    from ai_edge_quantizer import calibrator, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(rules)
    run = calibrator.Calibrator(model, num_threads=1, qsv_update_func=_keep_every_range)
    run.calibrate(_samples(model, calibration), manager)
    ranges: dict[str, Any] = run.get_model_qsvs()
    return ranges


def _keep_every_range(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    # The quantizer's own rule is a moving average, which cuts off what few images reach.
    if not known:
        return {**new, "every": [(new["min"], new["max"])]}
    return {
        "min": np.minimum(known["min"], new["min"]),
        "max": np.maximum(known["max"], new["max"]),
        "every": [*known.get("every", [(known["min"], known["max"])]), (new["min"], new["max"])],
    }


def _ranges(seen: dict[str, Any], share: float) -> dict[str, Any]:
    """Ranges that hold all values of this share of the calibration inputs, tensor by tensor."""
    ranges = {}
    for name, values in seen.items():
        if "every" not in values:
            ranges[name] = values
            continue
        low, high = (np.stack(ends) for ends in zip(*values["every"], strict=True))
        ranges[name] = {
            "min": np.quantile(low, 1 - share, axis=0).astype(np.float32),
            "max": np.quantile(high, share, axis=0).astype(np.float32),
        }
    return ranges


def _best_share(
    model: bytes, models: dict[float, bytes], calibration: NDArray[np.float32]
) -> float:
    """The share whose file agrees most often with the float file; of equal ones, the widest."""
    from proxyless_hw.export.runtimes import tflite_outputs

    images = calibration.reshape(-1, *calibration.shape[2:]).transpose(0, 3, 1, 2)
    classes = tflite_outputs(model, images).argmax(1)
    agreement = {
        share: float((tflite_outputs(file, images).argmax(1) == classes).mean())
        for share, file in models.items()
    }
    return max(agreement, key=lambda share: (agreement[share], share))


def _rules(precision: FilePrecision, path: Path) -> list[dict[str, Any]]:
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe, recipe_manager

    operations = qtyping.TFLOperationName
    if precision == "int8":
        return list(recipe.static_wi8_ai8())
    if precision == "int8-dynamic":
        return [
            rule
            for operation in (operations.CONV_2D, operations.FULLY_CONNECTED)
            for rule in recipe.dynamic_wi8c_afp32(operation_name=operation)
        ]
    manager = recipe_manager.RecipeManager()
    for output in _large_layers(path.read_bytes()):
        manager.add_weight_only_config(
            f"^{re.escape(output)};$",
            operations.ALL_SUPPORTED,
            num_bits=16,
            granularity=qtyping.QuantGranularity.TENSORWISE,
            algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
        )
    return list(manager.get_quantization_recipe())


def _large_layers(model: bytes) -> list[str]:
    """Names of the outputs of the layers whose weights are worth halving."""
    from proxyless_hw.export.runtimes import open_interpreter

    interpreter = open_interpreter(model)
    tensors = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    weighted = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return [
        tensors[op["outputs"][0]]["name"]
        for op in interpreter._get_ops_details()
        if op["op_name"] in weighted
        and np.prod(tensors[op["inputs"][1]]["shape"]) >= MIN_HALF_ELEMENTS
    ]


def _samples(model: bytes, calibration: NDArray[np.float32]) -> dict[str, list[dict[str, Any]]]:
    from proxyless_hw.export.runtimes import open_interpreter

    signatures = open_interpreter(model).get_signature_list()
    (name, signature), *_ = signatures.items()
    return {name: [{signature["inputs"][0]: batch} for batch in calibration]}


@contextlib.contextmanager
def _quiet_quantizer() -> Iterator[None]:
    """The quantizer prints a summary, draws its own bar, and warns that it keeps all tensors."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors.*", UserWarning)
        yield


def _half_weights(content: bytes) -> bytes:
    model = onnx.load_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < MIN_HALF_ELEMENTS:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ExportError(
                f"weight '{tensor.name}' holds {np.abs(values).max():.4g}, beyond the range of "
                "half precision. Choose --precision fp32."
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _static_int8(content: bytes, calibration: NDArray[np.float32], form: QuantisedForm) -> bytes:
    opset = next(item.version for item in onnx.load_from_string(content).opset_import)
    if opset < INT8_OPSET:
        raise ExportError(
            f"int8 with a scale per channel needs opset {INT8_OPSET} or newer: received {opset}. "
            f"Give --opset {INT8_OPSET}, or another --precision."
        )
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    batches = iter([{INPUT_NAME: batch} for batch in calibration])

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(batches, None)

    metadata = onnx.load_from_string(content).metadata_props
    with scratch_folder(ExportError) as folder:
        model_path, prepared, output = (
            folder / name for name in ("float.onnx", "prepared.onnx", "int8.onnx")
        )
        # As a file: the shapes of a model given in memory are hidden from shape inference.
        model_path.write_bytes(content)
        # Constant ReLU6 bounds are fused only after the pre-processing has seen the shapes.
        quant_pre_process(str(model_path), prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            output,
            Reader(),
            quant_format=quantization.QuantFormat[_FORMS[form]],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        model = onnx.load(output)
    del model.metadata_props[:]
    model.metadata_props.extend(metadata)
    return bytes(model.SerializeToString())
