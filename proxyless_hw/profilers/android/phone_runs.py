"""One model's run on a phone, checked and read: its visit, and what the tool did to measure it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.android.benchmark_model import (
    BenchmarkRun,
    failure_reason,
    parse_output,
)
from proxyless_hw.profilers.android.delegate_log import Evidence, read_evidence
from proxyless_hw.profilers.android.delegates import check_delegate, delegate_use
from proxyless_hw.profilers.android.phone_flags import DelegateChoice, phone_options
from proxyless_hw.profilers.android.phone_loop import LoopRun
from proxyless_hw.profilers.android.runtime_info import joined, read_result, read_runtime_info
from proxyless_hw.profilers.base import ProfilerSettings, Visit
from proxyless_hw.units import ms_from_us

DECISIVE_FLAGS = ("--num_threads", "--report_peak_memory_footprint")
"""Flags without which a run measures something else than was asked for."""


@dataclass(frozen=True, slots=True)
class PhoneRun:
    """One run of the tool on one model.

    Attributes:
        visit: the measurement.
        statistic: which figure of the tool the visit's value is.
        evidence: what ran the model.
        rounded_ms: what the tool rounds its figures to; None where they are exact enough.
    """

    visit: Visit
    statistic: str
    evidence: Evidence
    rounded_ms: float | None = None


def read_loop_run(run: LoopRun, settings: ProfilerSettings, name: str) -> PhoneRun:
    """Checks one model's turn in a loop and reads its visit.

    Raises:
        BackendUnavailableError: the tool is not there or may not be run.
        ProfilingError: it failed on this model, did not know a flag that decides what is measured,
            its delegate did not do the work, or its output cannot be read.
    """
    options = phone_options(settings)
    if run.exit_code in (126, 127):
        raise BackendUnavailableError(
            f"{options.benchmark_model} cannot be run on the device: "
            f"{failure_reason(run.output)}. Get TFLite's prebuilt one for its processor "
            "and give it with --option benchmark_model=FILE, which copies it there."
        )
    if run.exit_code is None:
        raise ProfilingError(
            f"the run of {name} did not end: {failure_reason(run.output)}. Measure it again."
        )
    info = _side_file(run, "info", name)
    placement = None if info is None else read_runtime_info(info, name)
    evidence = read_evidence(run.output, placement)
    choice = DelegateChoice.of(options)
    refused = choice.name not in ("default", "none") and (
        delegate_use(evidence, choice.name, choice.library) == "refused"
    )
    if run.exit_code == 0 or refused:
        check_delegate(evidence, choice.name, choice.allow_partial, name, choice.library)
    if run.exit_code:
        died = f" (signal {run.exit_code - 128})" if run.exit_code > 128 else ""
        raise ProfilingError(
            f"benchmark_model failed on {name} with exit code {run.exit_code}{died}: "
            f"{failure_reason(run.output)}"
        )
    _check_flags(evidence, name)
    measured = parse_output(run.output, name)
    result = _side_file(run, "result", name)
    if result is not None:
        measured = joined(measured, read_result(result, name), name)
    visit, statistic = visit_from_run(measured, settings.metric, name)
    return PhoneRun(visit, statistic, evidence, measured.rounded_ms)


def _check_flags(evidence: Evidence, name: str) -> None:
    missed = [flag for flag in evidence.unknown_flags if flag.partition("=")[0] in DECISIVE_FLAGS]
    if missed:
        raise ProfilingError(
            f"this benchmark_model does not know {', '.join(missed)}, so {name} was not measured "
            "as asked for. Use a build that knows it: --option benchmark_model=FILE."
        )


def _side_file(run: LoopRun, ending: str, name: str) -> bytes | None:
    text = run.files.get(ending)
    if text is None:
        return None
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as cause:
        raise ProfilingError(
            f"the {ending} file of {name} was damaged on its way from the device ({cause}). "
            "Measure it again."
        ) from cause


def visit_from_run(run: BenchmarkRun, metric: str, name: str) -> tuple[Visit, str]:
    """One visit from one run of the tool, and which statistic its value is.

    Raises:
        ProfilingError: the build does not print what the metric needs.
    """
    stats = run.measured
    if metric == "memory":
        return _memory_visit(run, name)
    middle = stats.avg if stats.median is None else stats.median
    upper = stats.max if stats.p95 is None else stats.p95
    visit = Visit(
        value=ms_from_us(middle),
        min=ms_from_us(stats.min),
        p90=ms_from_us(upper),
        calls=stats.count or 1,
    )
    return visit, "mean" if stats.median is None else "median"


def _memory_visit(run: BenchmarkRun, name: str) -> tuple[Visit, str]:
    """The peak memory; without one, the growth, under another statistic's name."""
    value, statistic = run.peak_memory_mb, "peak"
    if value is None:
        value, statistic = run.overall_memory_mb, "overall footprint"
    if value is None or not value > 0:
        raise ProfilingError(
            f"this benchmark_model does not print its peak memory ({name}); a newer one does."
        )
    return Visit(value=value, min=value, p90=value, calls=run.measured.count or 1), statistic


class PhoneFacts:
    """Header fields of all runs together: what ran where, and which flags the tool did not know."""

    def __init__(self) -> None:
        self._ran: dict[str, Evidence] = {}
        self._unknown_flags: dict[str, None] = {}
        self._rounded_ms: float | None = None

    def note(self, run: PhoneRun, name: str) -> None:
        """Adds one run.

        Raises:
            ProfilingError: something else ran this model before.
        """
        before = self._ran.setdefault(name, run.evidence)
        if before.names() != run.evidence.names():
            raise ProfilingError(
                f"{name} was run by {run.evidence.names() or 'the CPU'} now, and by "
                f"{before.names() or 'the CPU'} before; one table holds one of them. Was the tool "
                "replaced meanwhile? Name the delegate: --delegate."
            )
        self._unknown_flags.update(dict.fromkeys(run.evidence.unknown_flags))
        if run.rounded_ms is not None:
            self._rounded_ms = run.rounded_ms

    def header(self) -> dict[str, str]:
        """Header fields; empty before the first run."""
        found: dict[str, str] = {}
        if self._ran:
            found["ran_on"] = self._ran_on()
        if self._unknown_flags:
            found["unknown_flags"] = " ".join(self._unknown_flags)
        if self._rounded_ms is not None:
            found["rounded_to"] = f"{self._rounded_ms:g} ms"
        return found

    def _ran_on(self) -> str:
        """Nodes of all models by what ran them, then the models whose nodes are not counted."""
        nodes: dict[str, int] = {}
        counted = 0
        others: dict[str, int] = {}
        for evidence in self._ran.values():
            placement = evidence.placement
            if placement is None or placement.total is None:
                label = evidence.names() or "not stated"
                others[label] = others.get(label, 0) + 1
                continue
            counted += 1
            rest = placement.total - placement.replaced
            for label, count in (*placement.nodes, ("CPU", rest)):
                nodes[label] = nodes.get(label, 0) + count
        total = sum(nodes.values())
        parts = [f"{label} {count} of {total} nodes" for label, count in nodes.items() if count]
        if counted:
            parts[-1:] = [f"{parts[-1]} in {counted} models"] if parts else ["no nodes"]
        parts += [f"{label} in {count} models" for label, count in others.items()]
        return "; ".join(parts)
