"""ONNX Runtime's sessions on the CPU, and runners whose inputs and outputs are bound."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.model_inputs import ModelInput, shape_text
from proxyless_hw.threads import ORT_SPINNING

if TYPE_CHECKING:
    from types import ModuleType

_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}
"""Types of the inputs of models that are written here."""


def import_onnxruntime(package: str = "onnxruntime") -> ModuleType:
    """Imports ONNX Runtime.

    Args:
        package: what to install where it is missing.

    Raises:
        BackendUnavailableError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as cause:
        raise BackendUnavailableError(
            f"ONNX Runtime cannot be imported ({cause}). Install it: pip install {package}"
        ) from cause
    return onnxruntime  # type: ignore[no-any-return]


def make_session(
    model: bytes | Path,
    threads: int,
    name: str,
    *,
    optimise: bool = True,
    spin: bool = True,
    save_to: Path | None = None,
    profile_to: Path | None = None,
) -> Any:
    """Opens a model.

    Args:
        model: serialised model, or the path of a file.
        threads: intra-op threads.
        name: what it is called in messages.
        optimise: all graph optimisations, or none for a model that had them already.
        spin: whether idle threads may spin. Timed sessions keep the default, as apps do.
        save_to: where the optimised model is written.
        profile_to: beginning of the path of ONNX Runtime's own profile.

    Raises:
        ProfilingError: the model is broken; the message names it.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not spin:
        options.add_session_config_entry(ORT_SPINNING, "0")
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
    if profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_to)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except onnxruntime_errors(onnxruntime) as cause:
        reason = str(cause).splitlines()[0]
        if save_to is not None:
            reason += f" (It also writes a file: is there room in {save_to.parent.parent}?)"
        raise ProfilingError(f"ONNX Runtime cannot open {name}: {reason}") from cause


def session_inputs(session: Any) -> list[ModelInput]:
    """The inputs of a session over a model that was written here: every size is fixed."""
    return [
        ModelInput(name=item.name, sizes=tuple(item.shape), dtype=_DTYPES.get(item.type, item.type))
        for item in session.get_inputs()
    ]


def bound_runner(
    session: Any,
    name: str,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    batch_size: int | None = None,
) -> Runner:
    """A runner with inputs and outputs bound beforehand, so that no call allocates them.

    An output whose size the values decide (NonZero, If) has one size here, as the inputs are fixed.

    Raises:
        ProfilingError: a run fails; or the second one, into the outputs of the first.
    """
    onnxruntime = import_onnxruntime()
    binding = session.io_binding()
    values = {key: onnxruntime.OrtValue.ortvalue_from_numpy(array) for key, array in inputs.items()}
    try:
        for key, value in values.items():
            binding.bind_ortvalue_input(key, value)
        for item in session.get_outputs():
            binding.bind_output(item.name)
        session.run_with_iobinding(binding)
        for item, value in zip(session.get_outputs(), binding.get_outputs(), strict=True):
            binding.bind_ortvalue_output(item.name, value)
        session.run_with_iobinding(binding)
    except onnxruntime_errors(onnxruntime) as cause:
        given = shape_text({key: array.shape for key, array in inputs.items()})
        raise ProfilingError(
            f"ONNX Runtime cannot run {name} with {given}: {str(cause).splitlines()[0]}"
        ) from cause
    views = [_view(value, inputs[key]) for key, value in values.items()]
    return Runner(
        name,
        _call(session, binding, values),
        lambda: [view.max() for view in views if view.size],
        inputs={key: tuple(value.shape()) for key, value in values.items()},
        batch_size=batch_size,
    )


def _call(session: Any, binding: Any, values: Any) -> Callable[[], object]:
    run = session.run_with_iobinding

    def call(keep: Any = values) -> None:
        run(binding)

    return call


def _view(value: Any, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The memory of a bound input as bytes; `numpy()` would copy it."""
    pointer = ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_uint8))
    return np.ctypeslib.as_array(pointer, (array.nbytes,))


def onnxruntime_errors(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """The errors that ONNX Runtime raises for models that it cannot open or run.

    Its own classes have no public names.
    """
    state = getattr(getattr(onnxruntime, "capi", None), "onnxruntime_pybind11_state", None)
    names = (
        *("Fail", "InvalidArgument", "NoSuchFile", "InvalidProtobuf", "InvalidGraph"),
        *("NotImplemented", "RuntimeException", "ModelLoaded", "EPFail"),
    )
    own = [getattr(state, name) for name in names if hasattr(state, name)]
    return (RuntimeError, ValueError, *own)
