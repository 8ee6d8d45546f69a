"""What a model file costs besides time: peak memory in a fresh process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.child_process import run_python
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix
from proxyless_hw.profilers.models.input_request import file_request, requested_arrays

MEMORY_RUNS = 3
MEMORY_TIMEOUT_S = 600.0


def peak_memory_mb(path: Path, settings: ProfilerSettings, shape: FileShape | None = None) -> float:
    """Peak memory that opening and running a model file adds to a fresh process, in MB.

    Args:
        path: an .onnx or .tflite file.
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
    from proxyless_hw.profilers.runtimes.litert import import_interpreter, model_runner
    from proxyless_hw.profilers.runtimes.onnxruntime_session import (
        bound_runner,
        import_onnxruntime,
        make_session,
    )

    path, threads = Path(request["path"]), int(request["threads"])
    arrays = requested_arrays(request["inputs"], str(path))
    is_tflite = model_suffix(path) == ".tflite"
    if is_tflite:
        import_interpreter()
    else:
        import_onnxruntime()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_kb("VmRSS")
    if is_tflite:
        runner = model_runner(path.read_bytes(), threads, request["delegate"], str(path), arrays)
    else:
        runner = bound_runner(make_session(path, threads, str(path)), str(path), arrays)
    for _ in range(MEMORY_RUNS):
        runner.call()
    return (_status_kb("VmHWM") - before) / 1024


def _status_kb(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise ProfilingError(f"the system does not tell {field}.")


def write_model(workload: Workload, settings: ProfilerSettings, folder: Path) -> Path | None:
    """Writes a network as the file that its runtime runs; None for torch, which runs none."""
    path: Path | None = None
    if settings.runtime in (None, "onnxruntime"):
        from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler

        path = folder / "model.onnx"
        path.write_bytes(OnnxRuntimeProfiler(settings).model(workload))
    elif settings.runtime == "litert":
        from proxyless_hw.profilers.models.tflite_cache import tflite_models

        path = folder / "model.tflite"
        path.write_bytes(tflite_models([workload], settings)[0])
    return path


if __name__ == "__main__":
    json.dump({"peak_mb": _peak_of(json.load(sys.stdin))}, sys.stdout)
