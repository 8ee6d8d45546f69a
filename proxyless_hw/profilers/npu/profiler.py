"""NPUs by the estimate of their compiler: deterministic, so one compilation says everything.

An op is compiled between two 1x1 convolutions, which stand for the network around it, and costs
what the compiler says of the operators between these two. Alone it would be scheduled otherwise:
its input and output would be those of a network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import ProfilerSession, ProfilerSettings, Visit, Workload
from proxyless_hw.profilers.device_options import NpuOptions, VelaOptions
from proxyless_hw.profilers.models.building import gives_output, takes_input
from proxyless_hw.profilers.models.tflite_cache import missing_models, tflite_models
from proxyless_hw.profilers.models.tflite_reader import read_tflite
from proxyless_hw.profilers.node_time import NodeTime
from proxyless_hw.profilers.npu.compiler import ModelEstimate, NpuCompiler
from proxyless_hw.profilers.npu.vela import Vela
from proxyless_hw.profilers.options import parse_options
from proxyless_hw.storage.files import scratch_folder
from proxyless_hw.tables.entry import ESTIMATED, UNITS

CONVERSION_S: Final = 1.0
"""Seconds that converting and quantising an op takes with two processes, for the announcement."""
COMPILATION_S: Final = 0.6
"""Seconds that compiling an op takes with two processes, likewise."""
PROCESSES: Final = 2
MEGA: Final = 1e6
DIGITS: Final = 9
"""Decimals of a value: far below a cycle in ms and a byte in MB."""


class Convert(Protocol):
    """Makes int8 TFLite models of ops and networks."""

    def __call__(
        self, workloads: Sequence[Workload], settings: ProfilerSettings
    ) -> Sequence[bytes]: ...


class NpuProfiler:
    """What ops, networks and .tflite files cost on an NPU, as its compiler estimates it.

    Args:
        settings: metric and options; threads and batch size are 1, the precision is int8.
        options: the parsed options.
        compiler: says what a file costs.
        convert: makes the files of ops and networks.

    Raises:
        ProfilingError: the settings ask for something that an NPU's compiler does not do.
    """

    def __init__(
        self,
        settings: ProfilerSettings,
        options: NpuOptions,
        compiler: NpuCompiler,
        convert: Convert = tflite_models,
    ) -> None:
        self.settings = replace(settings, options=options)
        self.options = options
        self.compiler = compiler
        self.convert = convert
        self._estimates: dict[str, ModelEstimate] = {}
        self._left_out: dict[str, None] = {}
        if settings.precision != "int8":
            raise ProfilingError(
                f"an NPU runs int8: received --precision {settings.precision}, which its compiler "
                "would leave to the CPU. Leave it out: --device npu takes int8 by default."
            )
        for name in ("threads", "batch_size"):
            if getattr(settings, name) != 1:
                raise ProfilingError(
                    f"--device npu estimates one image at a time on one NPU: received "
                    f"--{name.replace('_', '-')} {getattr(settings, name)}. Leave it out."
                )

    def describe(self) -> Mapping[str, str]:
        """Header fields of a table made here (see `Profiler.describe`).

        Raises:
            BackendUnavailableError: the compiler is not installed.
        """
        compiler, settings = self.compiler, self.settings
        setting = dict(compiler.setting)
        described = {
            "device": compiler.device,
            "device_kind": "npu",
            # The version decides a figure, so it belongs to what must agree.
            "runtime": f"{compiler.runtime} {compiler.version}",
            "runtime_version": compiler.version,
            "threads": str(settings.threads),
            "batch_size": str(settings.batch_size),
            "precision": settings.precision,
            "metric": settings.metric,
            "unit": UNITS[settings.metric],
            "statistic": ESTIMATED,
            "fingerprint": f"no device: the estimate of {compiler.runtime} {compiler.version} for "
            + ", ".join(f"{name} {value}" for name, value in setting.items()),
            "options": json.dumps(setting, ensure_ascii=False),
        }
        if self._left_out:
            described["left_to_cpu"] = "; ".join(self._left_out)
        return described

    def prepare(self, workloads: Sequence[Workload], say: Callable[[str], None]) -> bool:
        """Converts and compiles what is not kept yet (see `PreparingProfiler`)."""
        _ = self.compiler.version  # before anything is converted
        missing = len(missing_models(self._built(workloads), self.settings))
        if missing:
            say(
                f"converting {missing} models to int8 TFLite, about {missing * CONVERSION_S:.0f} s "
                "for ops and ten times as long for networks, once: they are kept in the cache."
            )
        before = len(self._estimates)
        self._compiled(workloads, say)
        return bool(missing) or len(self._estimates) > before

    def open(self, workloads: Sequence[Workload]) -> EstimateSession:
        """Converts and compiles what is not kept yet.

        Raises:
            BackendUnavailableError: the compiler, or the converter to TFLite, is not installed.
            ProfilingError, ExportError: a workload cannot be converted or compiled, or holds
                operators that the NPU does not run; the message names them.
        """
        estimates = self._compiled(workloads, lambda message: None)
        self._check_cpu_operators(workloads, estimates)
        return EstimateSession(
            [
                self._value(workload, estimate)
                for workload, estimate in zip(workloads, estimates, strict=True)
            ]
        )

    def nodes(self, workload: Workload) -> list[NodeTime]:
        """The time of every operator of a network or file, in running order.

        Raises:
            BackendUnavailableError, ProfilingError, ExportError: as `open`.
        """
        estimates = self._compiled([workload], lambda message: None)
        self._check_cpu_operators([workload], estimates)
        estimate = estimates[0]
        return [
            NodeTime(
                name=item.name,
                op_type=item.kind,
                ms=1e3 * estimate.seconds * item.cycles / estimate.cycles,
                share=item.cycles / estimate.cycles,
            )
            for item in estimate.operators
        ]

    def _surrounded(self, workload: Workload) -> Workload:
        """An op with its surroundings; flash is that of the op alone."""
        inside = workload.op is not None and self.settings.metric != "flash"
        return replace(workload, between=inside)

    def _built(self, workloads: Sequence[Workload]) -> list[Workload]:
        return [self._surrounded(item) for item in workloads if item.file is None]

    def _models(self, workloads: Sequence[Workload]) -> list[bytes]:
        # Files first: what is wrong with one shows before anything is converted.
        files = iter([_read_file(item) for item in workloads if item.file is not None])
        converted = iter(self.convert(self._built(workloads), self.settings))
        return [next(files if item.file is not None else converted) for item in workloads]

    def _compiled(
        self, workloads: Sequence[Workload], say: Callable[[str], None]
    ) -> list[ModelEstimate]:
        """One estimate per workload, from those kept where they hold it."""
        models = self._models(workloads)
        digests = [hashlib.sha256(model).hexdigest() for model in models]
        named = dict(zip(digests, zip(models, workloads, strict=True), strict=True))
        missing = {key: item for key, item in named.items() if key not in self._estimates}
        if missing:
            say(
                f"compiling {len(missing)} models with {self.compiler.runtime} "
                f"{self.compiler.version}, about {len(missing) * COMPILATION_S:.0f} s."
            )
            with scratch_folder(ProfilingError) as folder:
                jobs = [
                    (folder / f"m{index:04d}.tflite", *item)
                    for index, item in enumerate(missing.values())
                ]
                with ThreadPoolExecutor(PROCESSES) as pool:
                    found = pool.map(self._compile, jobs)
                    self._estimates |= dict(zip(missing, found, strict=True))
        return [self._estimates[key] for key in digests]

    def _compile(self, job: tuple[Path, bytes, Workload]) -> ModelEstimate:
        path, model, workload = job
        path.write_bytes(model)
        return self.compiler.compile(path, workload.name)

    def _check_cpu_operators(
        self, workloads: Sequence[Workload], estimates: Sequence[ModelEstimate]
    ) -> None:
        """Refuses, or notes for the header, what the NPU does not run.

        Raises:
            ProfilingError: there is such an operator and it is not allowed, or there is no other.
        """
        found = {
            workload.name: ", ".join(dict.fromkeys(item.kind for item in estimate.on_cpu))
            for workload, estimate in zip(workloads, estimates, strict=True)
            if estimate.on_cpu
        }
        if not found:
            return
        listed = "; ".join(f"{name}: {kinds}" for name, kinds in found.items())
        nothing_left = [
            workload.name
            for workload, estimate in zip(workloads, estimates, strict=True)
            if estimate.cycles <= 0
        ]
        if nothing_left or self.options.cpu_operators == "refuse":
            raise ProfilingError(
                f"operators that {self.compiler.device} does not run would fall back to the CPU, "
                f"whose time {self.compiler.runtime} does not estimate: {listed[:1500]}. Leave "
                "these ops out of the space; export files with --precision int8; or take the "
                "NPU's part alone: --option cpu_operators=allow"
            )
        self._left_out |= dict.fromkeys(f"{name}: {kinds}" for name, kinds in found.items())

    def _value(self, workload: Workload, estimate: ModelEstimate) -> float:
        """What a workload costs, in the metric's unit.

        Raises:
            ProfilingError: the compiler does not tell it, or tells nothing above 0.
        """
        match self.settings.metric:
            case "sram":
                value = estimate.sram_bytes / MEGA
            case "flash":
                value = self._flash(estimate)
            case _:
                value = 1e3 * self._seconds(workload, estimate)
        if value <= 0:
            raise ProfilingError(
                f"{self.compiler.runtime} gives {workload.name} a {self.settings.metric} of 0, and "
                "a table holds values above 0. Leave this op out of the space."
            )
        return round(value, DIGITS)

    def _seconds(self, workload: Workload, estimate: ModelEstimate) -> float:
        if workload.op is None:
            return estimate.seconds
        try:
            return estimate.seconds_between(
                before=int(not takes_input(workload)), after=int(not gives_output(workload))
            )
        except ValueError as cause:
            raise ProfilingError(
                f"{workload.name} cannot be told from the layers around it: {cause}."
            ) from cause

    def _flash(self, estimate: ModelEstimate) -> float:
        if estimate.flash_bytes is None:
            raise ProfilingError(
                "--metric flash needs a configuration that keeps constants in flash, and "
                f"{dict(self.compiler.setting)} keeps them elsewhere. Choose another system_config "
                "and memory_mode by --option."
            )
        return estimate.flash_bytes / MEGA


class VelaProfiler(NpuProfiler):
    """Arm's Ethos-U by its compiler Vela."""

    def __init__(self, settings: ProfilerSettings) -> None:
        options = parse_options(VelaOptions, settings.options, "--device npu")
        super().__init__(settings, options, Vela(options))


class EstimateSession(ProfilerSession):
    """Values that are known already; a visit gives the same one each time."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = list(values)

    def visit(self, order: Sequence[int]) -> list[Visit]:
        """The values of these workloads."""
        return [Visit.of([self.values[index]]) for index in order]


def _read_file(workload: Workload) -> bytes:
    """A .tflite file's content.

    Raises:
        ProfilingError: it cannot be read, or is no TFLite file.
    """
    file = workload.file
    assert file is not None, "only files are read"
    if file.suffix.lower() != ".tflite":
        raise ProfilingError(
            f"--device npu compiles full-integer .tflite files: received {file}. Export one: "
            "proxyless-hw export ... --format tflite --precision int8"
        )
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise ProfilingError(f"cannot read {file}: {cause.strerror}.") from cause
    read_tflite(content, str(file))
    return content
