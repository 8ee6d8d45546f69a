"""Time per node of an .onnx file, from ONNX Runtime's own profile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.file_shapes import file_setting
from proxyless_hw.profilers.node_time import NodeTime
from proxyless_hw.storage.files import scratch_folder

PROFILED_RUNS: Final = 50
_KERNEL: Final = "_kernel_time"
_EXECUTE: Final = "Executor::Execute"


def onnx_node_times(
    path: Path, settings: ProfilerSettings, shape: FileShape | None = None
) -> list[NodeTime]:
    """Times every node of an .onnx file with ONNX Runtime's own profiler.

    Args:
        path: an .onnx file.
        settings: threads and batch size.
        shape: what the user says about the file's shape.

    Raises:
        ProfilingError: the file cannot be run.
    """
    from proxyless_hw.profilers.models.random_inputs import random_arrays
    from proxyless_hw.profilers.runtimes.onnxruntime_session import bound_runner, make_session

    setting = file_setting(path, shape, settings.batch_size)
    arrays = random_arrays(setting.inputs, setting.shapes, str(path))
    with scratch_folder(ProfilingError) as folder:
        session = make_session(path, settings.threads, str(path), profile_to=folder / "profile")
        runner = bound_runner(session, str(path), arrays)
        for _ in range(PROFILED_RUNS):
            runner.call()
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return gather(events)


@dataclass
class _Event:
    """One kernel that ran, and what ran inside it."""

    name: str
    op_type: str
    start: float
    ms: float
    body: list[_Event] = field(default_factory=list)


def gather(events: Sequence[Mapping[str, Any]]) -> list[NodeTime]:
    """Gathers ONNX Runtime's trace events by node, in the order of execution.

    Raises:
        ProfilingError: the trace holds no node.
    """
    runs = list(_runs(events))
    totals: dict[tuple[str, str, str | None], list[float]] = {}
    for number, run in enumerate(runs):
        for event, inside in _walk(run, None):
            key = (event.name, event.op_type, inside)
            # A node that a run leaves out (the other branch of an If) took no time in it.
            times = totals.setdefault(key, [0.0] * len(runs))
            times[number] += event.ms
    medians = {key: float(np.median(values)) for key, values in totals.items()}
    total = sum(ms for (_, _, inside), ms in medians.items() if inside is None)
    if not total:
        raise ProfilingError("the runtime's profile holds no node times.")
    return [
        NodeTime(name, kind, ms, ms / total, inside) for (name, kind, inside), ms in medians.items()
    ]


def _walk(events: Sequence[_Event], inside: str | None) -> Iterator[tuple[_Event, str | None]]:
    """Every event with the node it ran inside of, a node before its body."""
    for event in events:
        yield event, inside
        yield from _walk(event.body, event.name)


def _runs(events: Sequence[Mapping[str, Any]]) -> Iterator[list[_Event]]:
    """The nodes of each run of the model; bodies hang below the node that ran them.

    An event is written when it ends: the nodes of a body, the execution of the body, then the node
    that holds it. An execution therefore takes the events before it that began later than itself,
    and a node takes the executions directly before it that began later.
    """
    open_events: list[_Event | list[_Event]] = []
    starts: list[float] = []

    def take(start: float, kind: type) -> list[Any]:
        """Removes and returns the last entries of a kind that began at `start` or later."""
        taken: list[Any] = []
        while open_events and isinstance(open_events[-1], kind) and starts[-1] >= start:
            taken.append(open_events.pop())
            starts.pop()
        return taken[::-1]

    for event in events:
        name, category = str(event.get("name", "")), event.get("cat")
        start = float(event.get("ts", 0))
        if category == "Session" and name == "model_run":
            executions = take(start, list)
            yield [node for nodes in executions for node in nodes]
        elif category == "Session" and name.endswith(_EXECUTE):
            nodes = take(start, _Event)
            open_events.append(nodes)
            starts.append(start)
        elif category == "Node" and name.endswith(_KERNEL):
            bodies = take(start, list)
            kind = str(event.get("args", {}).get("op_name", ""))
            node = _Event(name.removesuffix(_KERNEL), kind, start, float(event["dur"]) / 1e3)
            node.body = [inner for nodes in bodies for inner in nodes]
            open_events.append(node)
            starts.append(start)
