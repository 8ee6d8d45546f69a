"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import OnnxRuntimeOptions
from proxyless_hw.profilers.host.conditioning import cache_line, network_conditioning
from proxyless_hw.profilers.host.environment import cpu_header, package_version
from proxyless_hw.profilers.host.precision import refuse_precision
from proxyless_hw.profilers.host.scheduling import scheduled
from proxyless_hw.profilers.host.session import HostSession, Runner, thread_clock
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.building import (
    IDENTITY,
    build_module,
    gives_output,
    takes_input,
)
from proxyless_hw.profilers.models.file_shapes import file_setting, model_suffix
from proxyless_hw.profilers.models.onnx_models import onnx_model
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.shape_filling import fill_shapes
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.profilers.runtimes.onnxruntime_session import (
    bound_runner,
    import_onnxruntime,
    make_session,
    session_inputs,
)

MANY_NETWORKS: Final = 4
"""If more networks than this have to be written, a message says so, as it takes a while."""

MOST_KEPT_BYTES: Final = 2**30
"""Memory for the models of ops that later sessions open again without making them anew."""

REFUSED: Final[dict[Precision, str]] = {
    "fp16": "ONNX Runtime's CPU provider has no fp16 kernels: it would cast to fp32 and time that. "
    "Use --precision fp32 or int8, or --runtime torch."
}


class OnnxRuntimeProfiler:
    """Times ops, networks and .onnx files with ONNX Runtime's CPU provider.

    Ops are measured in the form and in the cache state they have inside a network (see
    `network_form` and `conditioning`).
    """

    def __init__(self, settings: ProfilerSettings) -> None:
        self.settings = replace(
            settings, options=parse_options(OnnxRuntimeOptions, settings.options)
        )
        self._forms: dict[Workload, tuple[bytes, Any]] = {}
        self._models: dict[str, bytes] = {}
        self._form_bytes = 0

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: ONNX Runtime is missing, or lacks what the setting asks for.
        """
        import_onnxruntime()
        refuse_precision(self.settings, REFUSED)
        version = package_version("onnxruntime", "onnxruntime-gpu")
        return cpu_header(self.settings, "onnxruntime", version, cache_line(self.settings))

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        """Writes the models of whole networks (see `PreparingProfiler`); ops are made with them."""
        networks = [item for item in workloads if item.arch is not None]
        missing = [item for item in networks if item.name not in self._models]
        if len(missing) > MANY_NETWORKS:
            say(f"writing {len(missing)} networks as ONNX; the budget counts from then on.")
        for workload in missing:
            self._kept_model(workload)
        return bool(missing)

    def open(self, workloads: Sequence[Workload]) -> HostSession:
        """Builds and warms up one ONNX Runtime session per workload.

        Raises:
            BackendUnavailableError: ONNX Runtime lacks what the setting asks for.
            ProfilingError: a workload cannot be built or run; the message names it.
        """
        refuse_precision(self.settings, REFUSED)
        with ExitStack() as stack:
            stack.enter_context(scheduled(self.settings))
            runners = [
                replace(self.runner(workload), whole=workload.op is None) for workload in workloads
            ]
            conditioning = network_conditioning(self.settings, self.runner(IDENTITY).call)
            return HostSession(
                runners,
                conditioning=conditioning,
                worked=thread_clock(self.settings),
                resources=stack.pop_all(),
            )

    def runner(self, workload: Workload) -> Runner:
        """Builds one workload.

        Raises:
            ProfilingError, ExportError: it cannot be built or run; the message names it.
        """
        threads, batch_size = self.settings.threads, self.settings.batch_size
        if workload.file is not None:
            file = onnx_file(workload.file)
            setting = file_setting(file, workload.shape, batch_size)
            session = make_session(file, threads, workload.name)
            arrays = random_arrays(setting.inputs, setting.shapes, workload.name)
            return bound_runner(session, workload.name, arrays, setting.batch_size)
        if workload.arch is not None or workload == IDENTITY:
            session = make_session(self._kept_model(workload), threads, workload.name)
            inputs = session_inputs(session)
            filled = fill_shapes(inputs, FileShape(), workload.name)
            arrays = random_arrays(inputs, filled.shapes, workload.name)
            return bound_runner(session, workload.name, arrays, batch_size)
        model, example = self._network_form(workload)
        session = make_session(model, threads, workload.name, optimise=False)
        arrays = {session.get_inputs()[0].name: example}
        return bound_runner(session, workload.name, arrays, batch_size)

    def _network_form(self, workload: Workload) -> tuple[bytes, Any]:
        """An op's model in network form and an input; kept, as later sessions need it again."""
        from proxyless_hw.profilers.runtimes.network_form import cut_out

        if workload in self._forms:
            return self._forms[workload]
        first, last = takes_input(workload), gives_output(workload)
        model, example = cut_out(
            self.model(workload),
            workload.name,
            first=first,
            last=last,
            threads=self.settings.threads,
        )
        self._form_bytes += len(model) + example.nbytes
        if self._form_bytes <= MOST_KEPT_BYTES:
            self._forms[workload] = model, example
        return model, example

    def _kept_model(self, workload: Workload) -> bytes:
        """A network's model; kept by name, as later sessions need it again."""
        if workload.name not in self._models:
            model = self.model(workload)
            self._form_bytes += len(model)
            if self._form_bytes > MOST_KEPT_BYTES:
                return model
            self._models[workload.name] = model
        return self._models[workload.name]

    def model(self, workload: Workload) -> bytes:
        """An op or network as a serialised ONNX model.

        Raises:
            ExportError: it cannot be written.
        """
        inside = workload.op is not None and workload != IDENTITY
        module, shape = build_module(replace(workload, between=inside), self.settings.batch_size)
        precision = "fp32" if workload == IDENTITY else self.settings.precision
        return onnx_model(module, shape, precision, workload.name)


def onnx_file(path: Path) -> Path:
    """Checks that a file is meant for ONNX Runtime.

    Raises:
        ProfilingError: it is not an .onnx file.
    """
    if model_suffix(path) != ".onnx":
        raise ProfilingError(
            f"ONNX Runtime runs .onnx files: received {path}. For .tflite files: --runtime litert"
        )
    return path
