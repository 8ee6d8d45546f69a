"""What a model file costs besides time: peak memory in a fresh process, and time per node."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.files import scratch_folder
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.options import given_options

PROFILED_RUNS = 50
MEMORY_RUNS = 3
MEMORY_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class NodeTime:
    """One node of a model as its runtime ran it.

    Attributes:
        name: the node's name after optimisation.
        op_type: its type, as ``Conv``.
        median_ms: median over the profiled runs.
        share: of the sum over all nodes, a fraction.
    """

    name: str
    op_type: str
    median_ms: float
    share: float


def check_per_op(settings: ProfilerSettings, device: str, suffixes: Iterable[str]) -> None:
    """Refuses times of single nodes, before anything is measured, where nobody tells them.

    Args:
        settings: how models are run.
        device: device kind.
        suffixes: of the files to measure.

    Raises:
        ProfilingError: another device or runtime than ONNX Runtime on this CPU.
    """
    if device != "cpu":
        raise ProfilingError(
            f"--per-op is for --device cpu with ONNX Runtime: received --device {device}. Leave it "
            "out, or benchmark the .onnx file on this CPU."
        )
    if settings.runtime not in (None, "onnxruntime") or ".tflite" in suffixes:
        raise ProfilingError(
            "--per-op needs a runtime that reports each node, which is onnxruntime: received "
            f"{settings.runtime or 'a .tflite file'}. Benchmark the .onnx file, or for LiteRT run "
            "benchmark_model --enable_op_profiling=true on the device."
        )


def node_times(path: Path, settings: ProfilerSettings) -> list[NodeTime]:
    """Times every node of an .onnx file with ONNX Runtime's own profiler.

    Raises:
        BackendUnavailableError: the file is for a runtime whose Python interface tells no times.
        ProfilingError: the file cannot be run.
    """
    if path.suffix != ".onnx":
        raise BackendUnavailableError(
            f"--per-op needs a runtime that reports each node: LiteRT's Python interface does not "
            f"({path}). Run benchmark_model --enable_op_profiling=true on the device, or benchmark "
            "the .onnx file."
        )
    from proxyless_hw.profilers.onnxruntime import make_session, random_inputs

    with scratch_folder(ProfilingError) as folder:
        session = make_session(path, settings.threads, str(path), profile_to=folder / "profile")
        inputs = random_inputs(session, settings.batch_size)
        for _ in range(PROFILED_RUNS):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _from_events(events)


def _from_events(events: Sequence[dict[str, object]]) -> list[NodeTime]:
    """Gathers ONNX Runtime's trace events by node, in the order of execution."""
    durations: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        arguments = event.get("args")
        kind = str(arguments.get("op_name", "")) if isinstance(arguments, dict) else ""
        key = (name.removesuffix("_kernel_time"), kind)
        durations.setdefault(key, []).append(float(str(event["dur"])) / 1e3)
    medians = {key: float(np.median(values)) for key, values in durations.items()}
    total = sum(medians.values())
    if not total:
        raise ProfilingError("the runtime's profile holds no node times.")
    return [NodeTime(name, kind, ms, ms / total) for (name, kind), ms in medians.items()]


def peak_memory_mb(path: Path, settings: ProfilerSettings) -> float:
    """Peak memory that opening and running a model file adds to a fresh process, in MB.

    Raises:
        ProfilingError: the file cannot be run, or the system does not tell.
    """
    request = {
        "path": str(path.absolute()),
        "threads": settings.threads,
        "batch_size": settings.batch_size,
        "options": given_options(settings.options),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "proxyless_hw.profilers.inspection"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=MEMORY_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as cause:
        raise ProfilingError(f"measuring the memory of {path} took too long.") from cause
    try:
        return float(json.loads(done.stdout)["peak_mb"])
    except (ValueError, KeyError, TypeError) as cause:
        tail = done.stderr.strip().splitlines()[-1:] or ["no output"]
        raise ProfilingError(f"the memory of {path} cannot be measured: {tail[0][:300]}") from cause


def _peak_of(request: dict[str, Any]) -> float:
    """Runs in the fresh process: the rise of the peak resident size over the state before."""
    from proxyless_hw.profilers.litert import LiteRtProfiler, import_interpreter
    from proxyless_hw.profilers.onnxruntime import OnnxRuntimeProfiler, import_onnxruntime

    path = Path(request["path"])
    settings = ProfilerSettings(
        threads=request["threads"],
        batch_size=request["batch_size"],
        options=request["options"],
    )
    workload = Workload(name=str(path), file=path)
    if path.suffix == ".tflite":
        import_interpreter()
    else:
        import_onnxruntime()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_kb("VmRSS")
    if path.suffix == ".tflite":
        runner = LiteRtProfiler(settings).runner(workload.name, path.read_bytes())
    else:
        runner = OnnxRuntimeProfiler(settings).runner(workload)
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
        from proxyless_hw.profilers.onnxruntime import OnnxRuntimeProfiler

        path = folder / "model.onnx"
        path.write_bytes(OnnxRuntimeProfiler(settings).model(workload))
    elif settings.runtime == "litert":
        from proxyless_hw.profilers.tflite_cache import tflite_models

        path = folder / "model.tflite"
        path.write_bytes(tflite_models([workload], settings)[0])
    return path


if __name__ == "__main__":
    json.dump({"peak_mb": _peak_of(json.load(sys.stdin))}, sys.stdout)
