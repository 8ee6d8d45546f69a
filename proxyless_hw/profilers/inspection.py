"""What a model file costs besides time: peak memory in a fresh process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.child_process import run_python
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix
from proxyless_hw.profilers.models.input_request import file_request, requested_arrays

Arrays = Mapping[str, NDArray[Any]]

MEMORY_RUNS = 3
MEMORY_TIMEOUT_S = 600.0


def peak_memory_mb(path: Path, settings: ProfilerSettings, shape: FileShape | None = None) -> float:
    """Peak memory that opening and running a model file adds to a fresh process, in MB.

    Args:
        path: an .onnx, .tflite or .pte file.
        settings: threads, batch size and delegate.
        shape: what the user says about the file's shape.

    Raises:
        ProfilingError: the file cannot be run, or the system does not tell.
    """
    done = run_python(
        ("-m", "proxyless_hw.profilers.inspection"),
        file_request(path, settings, file_setting(path, shape, settings.batch_size)),
        MEMORY_TIMEOUT_S,
        f"measuring the memory of {path} took more than {MEMORY_TIMEOUT_S:g} s and was ended.",
    )
    try:
        return float(json.loads(done.stdout)["peak_mb"])
    except (ValueError, KeyError, TypeError) as cause:
        tail = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise ProfilingError(f"the memory of {path} cannot be measured: {tail[0][:300]}") from cause


def _peak_of(request: dict[str, Any]) -> float:
    """Runs in the fresh process: the rise of the peak resident size over the state before."""
    path = Path(request["path"])
    arrays = requested_arrays(request["inputs"], str(path))
    opened = _opener(path, request)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_kb("VmRSS")
    runner = opened(arrays)
    for _ in range(MEMORY_RUNS):
        runner.call()
    return (_status_kb("VmHWM") - before) / 1024


def _opener(path: Path, request: dict[str, Any]) -> Callable[[Arrays], Runner]:
    """What opens a file with its inputs; its runtime is imported before, as that is not counted."""
    name, threads = str(path), int(request["threads"])
    suffix = model_suffix(path)
    if suffix == ".tflite":
        from proxyless_hw.profilers.runtimes.litert import import_interpreter, model_runner

        import_interpreter()
        delegate = request["delegate"]
        return lambda arrays: model_runner(path.read_bytes(), threads, delegate, name, arrays)
    if suffix == ".pte":
        from proxyless_hw.export.pte_file import import_executorch
        from proxyless_hw.profilers.runtimes.executorch import program_runner

        import_executorch()
        return lambda arrays: program_runner(path.read_bytes(), threads, name, arrays)
    if request.get("runtime") == "openvino":
        from proxyless_hw.profilers.runtimes import openvino

        openvino.import_openvino()

        def with_openvino(arrays: Arrays) -> Runner:
            shapes = {key: array.shape for key, array in arrays.items()}
            compiled = openvino.compile_model(path, threads, name, shapes=shapes)
            return openvino.bound_runner(compiled, name, arrays)

        return with_openvino
    from proxyless_hw.profilers.runtimes import onnxruntime_session as onnx

    onnx.import_onnxruntime()
    return lambda arrays: onnx.bound_runner(onnx.make_session(path, threads, name), name, arrays)


def _status_kb(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise ProfilingError(f"the system does not tell {field}.")


def write_model(workload: Workload, settings: ProfilerSettings, folder: Path) -> Path | None:
    """Writes a network as the file that its runtime runs; None for torch, which runs none."""
    path: Path | None = None
    if settings.runtime == "executorch":
        from proxyless_hw.profilers.models.pte_cache import pte_models

        path = folder / "model.pte"
        path.write_bytes(pte_models([workload], settings)[0])
    elif settings.runtime in (None, "onnxruntime", "openvino"):
        from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler

        path = folder / "model.onnx"
        plain = replace(settings, runtime="onnxruntime", options={})
        path.write_bytes(OnnxRuntimeProfiler(plain).model(workload))
    elif settings.runtime == "litert":
        from proxyless_hw.profilers.models.tflite_cache import tflite_models

        path = folder / "model.tflite"
        path.write_bytes(tflite_models([workload], settings)[0])
    return path


if __name__ == "__main__":
    json.dump({"peak_mb": _peak_of(json.load(sys.stdin))}, sys.stdout)
