"""ONNX Runtime with an execution provider that was named: ``--option provider=CoreML``.

A model runs on that provider as a whole or is refused: a node on the CPU would be timed together
with two copies, as if it were the provider's. Ops are called between two convolutions, whose cost
is taken off (`models.surroundings`), since providers lay maps out in their own ways.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, did_you_mean
from proxyless_hw.profilers.base import Profiler, ProfilerSettings, Workload
from proxyless_hw.profilers.device_options import OnnxRuntimeOptions
from proxyless_hw.profilers.host.conditioning import cache_line
from proxyless_hw.profilers.host.environment import cpu_header, package_version
from proxyless_hw.profilers.host.session import Runner
from proxyless_hw.profilers.host.surrounded import SurroundedSession
from proxyless_hw.profilers.model_inputs import FileShape
from proxyless_hw.profilers.models.file_shapes import file_setting
from proxyless_hw.profilers.models.onnx_models import KeptModels
from proxyless_hw.profilers.models.random_inputs import random_arrays
from proxyless_hw.profilers.models.shape_filling import fill_shapes
from proxyless_hw.profilers.models.surroundings import Surroundings
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.profilers.own_profilers import options_line
from proxyless_hw.profilers.runtimes.onnxruntime import OnnxRuntimeProfiler, onnx_file
from proxyless_hw.profilers.runtimes.onnxruntime_session import (
    bound_runner,
    import_onnxruntime,
    onnxruntime_errors,
    session_inputs,
)
from proxyless_hw.profilers.runtimes.surrounded import open_surrounded
from proxyless_hw.storage.files import scratch_folder

CPU_PROVIDER: Final = "CPUExecutionProvider"
NO_FALLBACK: Final = "session.disable_cpu_ep_fallback"
_SUFFIX: Final = "ExecutionProvider"
_ALSO_CALLED: Final = {"directml": "Dml"}
_MOST_NAMED: Final = 5


def onnxruntime_profiler(settings: ProfilerSettings) -> Profiler:
    """The profiler of ONNX Runtime: of its own CPU kernels, or of the provider that is named."""
    options = parse_options(OnnxRuntimeOptions, settings.options)
    if options.provider is None:
        return OnnxRuntimeProfiler(settings)
    return ProviderProfiler(replace(settings, options=options), options.provider)


class ProviderProfiler:
    """Times ops, networks and .onnx files with one execution provider of ONNX Runtime.

    Args:
        settings: threads, batch size, precision of the model.
        provider: its name, with or without ``ExecutionProvider``, in any case.
        onnxruntime: the module, or what stands in for it; imported when None.
    """

    def __init__(self, settings: ProfilerSettings, provider: str, onnxruntime: Any = None) -> None:
        self.settings = settings
        self._asked = provider
        self._onnxruntime = onnxruntime
        self._models = KeptModels()

    @property
    def onnxruntime(self) -> Any:
        """The module, imported on first use."""
        if self._onnxruntime is None:
            self._onnxruntime = import_onnxruntime()
        return self._onnxruntime

    @property
    def provider(self) -> str:
        """The provider's full name.

        Raises:
            BackendUnavailableError: this ONNX Runtime does not have it; says which it has.
        """
        return full_name(self._asked, self.onnxruntime.get_available_providers())

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: ONNX Runtime is missing, or lacks the provider or precision.
        """
        self._require()
        version = package_version("onnxruntime", "onnxruntime-gpu")
        header = cpu_header(self.settings, "onnxruntime", version, cache_line(self.settings))
        return {**header, "options": options_line({"provider": self.provider})}

    def open(self, workloads: Sequence[Workload]) -> SurroundedSession:
        """Builds and warms up one session per workload, and one per kind of surroundings.

        Raises:
            BackendUnavailableError: the provider is not there.
            ProfilingError, ExportError: a workload cannot be built, or would run partly on the CPU;
                the message names it and the nodes.
        """
        self._require()
        return open_surrounded(self.settings, workloads, self.runner)

    def runner(self, item: Workload | Surroundings) -> Runner:
        """Builds one workload, or surroundings alone.

        Raises:
            ProfilingError, ExportError: as `open`.
        """
        name = item.name
        if isinstance(item, Workload) and item.file is not None:
            file = onnx_file(item.file)
            setting = file_setting(file, item.shape, self.settings.batch_size)
            arrays = random_arrays(setting.inputs, setting.shapes, name)
            return bound_runner(self._session(file, name), name, arrays, setting.batch_size)
        session = self._session(self._models.surrounded(item, self.settings), name)
        inputs = session_inputs(session)
        arrays = random_arrays(inputs, fill_shapes(inputs, FileShape(), name).shapes, name)
        return bound_runner(session, name, arrays, self.settings.batch_size)

    def _require(self) -> None:
        _ = self.provider
        if self.settings.precision == "fp16":
            raise BackendUnavailableError(
                "with --option provider a model is fp32 or int8: received --precision fp16. Next: "
                "leave it out; a provider that computes in fp16 does so with fp32 models too."
            )

    def _session(self, model: bytes | Path, name: str) -> Any:
        options = self._options()
        if self.provider != CPU_PROVIDER:
            options.add_session_config_entry(NO_FALLBACK, "1")
        try:
            session = self._opened(model, options, [self.provider])
        except onnxruntime_errors(self.onnxruntime) as cause:
            reason = str(cause).splitlines()[0]
            if "fallback" in reason:
                raise ProfilingError(
                    f"{name} has nodes that {self.provider} does not run: "
                    f"{self._on_the_cpu(model)}. Next: measure a model without them, or leave "
                    "--option provider out."
                ) from cause
            raise ProfilingError(
                f"ONNX Runtime cannot open {name} with {self.provider}: {reason}"
            ) from cause
        used = session.get_providers()
        if used[0] != self.provider:
            raise BackendUnavailableError(
                f"ONNX Runtime fell back from {self.provider} to {used[0]}: is its driver or "
                "library there? Next: leave --option provider out, or install what it needs."
            )
        return session

    def _options(self) -> Any:
        options = self.onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.settings.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what it refuses, a message of our own says
        return options

    def _opened(self, model: bytes | Path, options: Any, providers: Sequence[str]) -> Any:
        source = model if isinstance(model, bytes) else str(model)
        return self.onnxruntime.InferenceSession(source, options, providers=list(providers))

    def _on_the_cpu(self, model: bytes | Path) -> str:
        """The nodes that the CPU runs where fallback is allowed, from the profile of one run."""
        with scratch_folder(ProfilingError) as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
            session = self._opened(model, options, [self.provider, CPU_PROVIDER])
            inputs = session_inputs(session)
            shapes = fill_shapes(inputs, FileShape(), "the model").shapes
            session.run(None, random_arrays(inputs, shapes, "the model"))
            trace = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return named_nodes(trace)


def full_name(asked: str, available: Sequence[str]) -> str:
    """A provider's full name.

    Args:
        asked: with or without ``ExecutionProvider``, in any case.
        available: full names of the providers that there are.

    Raises:
        BackendUnavailableError: it is not among them; they are listed.

    Example:
        >>> full_name("coreml", ["CoreMLExecutionProvider", "CPUExecutionProvider"])
        'CoreMLExecutionProvider'
    """
    short = asked.lower().removesuffix(_SUFFIX.lower())
    wanted = f"{_ALSO_CALLED.get(short, short)}{_SUFFIX}".lower()
    for name in available:
        if name.lower() == wanted:
            return name
    raise BackendUnavailableError(
        f"this ONNX Runtime has no provider '{asked[:80]}'.{did_you_mean(asked, available)} It "
        f"has: {', '.join(available)}. Next: install the build of ONNX Runtime that holds it, or "
        "leave --option provider out."
    )


def named_nodes(trace: Sequence[Mapping[str, Any]]) -> str:
    """The nodes of ONNX Runtime's trace that the CPU ran: ``pool (GlobalAveragePool), ...``."""
    found: dict[str, None] = {}
    for event in trace:
        told = event.get("args", {})
        if event.get("cat") == "Node" and told.get("provider") == CPU_PROVIDER:
            name = str(event.get("name", "")).removesuffix("_kernel_time")
            found[f"{name} ({told.get('op_name', '')})"] = None
    listed = list(found)
    rest = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return (", ".join(listed[:_MOST_NAMED]) or "their names are not told") + rest
