"""Timing a model file or a network from Python, alone or beside a table's anchors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from proxyless_hw.errors import ProfilingError
from proxyless_hw.predictors.measured import measuring_for, without_anchors
from proxyless_hw.profilers.base import Metric, Precision, ProfilerSettings, Workload
from proxyless_hw.profilers.file_forms import form_of_runtime
from proxyless_hw.profilers.models.file_shapes import model_suffix
from proxyless_hw.profilers.networks import measure_workloads, settings_for_files
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.profilers.registry import default_precision
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.files import scratch_folder
from proxyless_hw.tables.given import table_of
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.notices import notice
from proxyless_hw.terminal.progress import phase

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn


def benchmark(
    target: str | Path | Architecture | nn.Module,
    *,
    device: str = "cpu",
    runtime: str | None = None,
    budget_s: float = 10.0,
    goal: float = 0.01,
    table: LatencyTable | str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    options: Mapping[str, object] | DataclassInstance | None = None,
    threads: int = 1,
    batch_size: int = 1,
    precision: Precision | None = None,
    metric: Metric = "latency",
    quiet: bool = False,
) -> Measurement:
    """Times one model file or network by the protocol of `profile`: ``proxyless-hw benchmark``.

    Args:
        target: a model file (.onnx, .tflite or .pte), which runs with its own shape; an
            architecture, or what names one (`load_architecture`), at its deployment shape; or a
            torch module, which is written as a model file first.
        device: ``cpu``, ``gpu``, ``mobile``, ``npu``, ``command``, or a registered kind.
        runtime: the device's default when None; of a file, the one that runs it.
        budget_s: seconds at most; less is used where the interval is narrow enough.
        goal: half-width of the 95% interval at which it is done, as a fraction.
        table: measured beside its anchors, under its setting: `Measurement.table_speed` is then the
            value at the table's speed. Device and setting are the table's, and are not given
            beside it. An object, a path or a shipped name.
        input_shape: (N, C, H, W), of a module; of one that this package built, its own when None.
        options: device options by name, or the profiler's own dataclass.
        threads, batch_size, precision, metric: the setting; the precision is fp32 when None, int8
            on an NPU.
        quiet: shows no progress.

    Raises:
        ProfilingError: the file is missing or cannot be run, a module has no known shape, an
            input shape is given for a target that is no module, or a setting beside a table.
        BackendUnavailableError: the device or runtime is not there.
        PredictorError: the device or setting is not the table's.

    Example:
        >>> import proxyless_hw as ph
        >>> measured = ph.benchmark("proxyless-mobile", budget_s=10)  # doctest: +SKIP
        >>> print(f"{measured.median:.2f} {measured.unit}")  # doctest: +SKIP
    """
    settings = ProfilerSettings(
        runtime=runtime,
        threads=threads,
        batch_size=batch_size,
        precision=precision or default_precision(device, runtime),
        metric=metric,
        options={} if options is None else options,
    )
    timing = TimingConfig(goal=goal, budget_s=budget_s, spend=False)
    how = Measuring(settings=settings, device=device, timing=timing)
    if table is not None:
        _refuse_beside_a_table(settings, device)
        loaded = table_of(table)
        how = replace(measuring_for(loaded, budget_s=budget_s, goal=goal), timing=timing)
        if how.anchors is None:
            notice(without_anchors(loaded))
    with _workload(target, input_shape, how.settings, how.device) as workload:
        if workload.file is not None:
            chosen = settings_for_files([workload.file], how.settings, how.device)
            how = replace(how, settings=chosen)
        with phase(f"benchmark {workload.name}", quiet) as say:
            shown = replace(how, progress=lambda state: say(state.text), say=say)
            return measure_workloads([workload], shown)[0]


def _refuse_beside_a_table(settings: ProfilerSettings, device: str) -> None:
    """Refuses a setting that the table decides.

    Raises:
        ProfilingError: names what was given.
    """
    default = ProfilerSettings()
    names = ("runtime", "threads", "batch_size", "precision", "metric", "options")
    given = [name for name in names if getattr(settings, name) != getattr(default, name)]
    given += ["device"] if device != "cpu" else []
    if given:
        raise ProfilingError(
            f"beside a table its own setting holds: received {', '.join(given)} as well. Leave "
            "that out, or leave out the table."
        )


@contextmanager
def _workload(
    target: str | Path | Architecture | nn.Module,
    input_shape: Sequence[int] | None,
    settings: ProfilerSettings,
    device: str,
) -> Iterator[Workload]:
    """The target as something to measure; a module's file is removed at the end."""
    if input_shape is not None and isinstance(target, str | Path | Architecture):
        raise ProfilingError(
            "an input shape is for a torch module: files and architectures have their own. "
            f"Received input_shape={tuple(input_shape)} for {str(target)[:80]}."
        )
    if isinstance(target, (str, Path)):
        if model_suffix(target) is not None:
            if not Path(target).is_file():
                raise ProfilingError(f"no model file {target}.")
            yield Workload(name=str(target), file=Path(target))
            return
        from proxyless_hw.formats.load import load_architecture

        arch = load_architecture(target)
        yield Workload(name=str(target), arch=arch, batch_norm=arch.batch_norm)
        return
    if isinstance(target, Architecture):
        yield Workload(name=target.space, arch=target, batch_norm=target.batch_norm)
        return
    from torch import nn

    if not isinstance(target, nn.Module):
        raise ProfilingError(
            "a target is a model file, an architecture, what names one, or a torch module: "
            f"received {type(target).__name__}. Several: benchmark_all([...])."
        )
    built = getattr(target, "arch", None)
    if input_shape is None and isinstance(built, Architecture):
        input_shape = (settings.batch_size, built.in_channels, built.resolution, built.resolution)
    if input_shape is None:
        raise ProfilingError(
            f"a module that this package did not build ({type(target).__name__}) has no known "
            "input: give input_shape=(1, 3, 224, 224)."
        )
    # The module itself counts, not its architecture: its head may have been changed.
    with scratch_folder(ProfilingError) as folder:
        path = folder / type(target).__name__
        form = form_of_runtime(settings.runtime, device)
        if form == "pte":
            from proxyless_hw.export.pte_file import pte_bytes

            file = path.with_suffix(".pte")
            file.write_bytes(pte_bytes(target, input_shape))
        elif form == "tflite":
            from proxyless_hw.export.tflite_file import tflite_bytes

            file = path.with_suffix(".tflite")
            file.write_bytes(tflite_bytes(target, input_shape, channels_last_output=False))
        else:
            from proxyless_hw.export.onnx_file import write_onnx

            file = write_onnx(target, input_shape, path.with_suffix(".onnx"))
        yield Workload(name=file.name, file=file)
