"""Whether `--verify` can measure, asked before any training."""

from __future__ import annotations

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, SearchError
from proxyless_hw.predictors.measured import settings_of
from proxyless_hw.profilers.command.recorded import require_asked
from proxyless_hw.profilers.host.environment import host_device
from proxyless_hw.profilers.own_profilers import own_kinds
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.tables.table import LatencyTable


def check_device_is_here(table: LatencyTable) -> None:
    """Checks, before any training, that the table's device is this one.

    Raises:
        SearchError: it is another, or its metric cannot be measured here; the message says what
            to do instead.
        TableError: the costs of a network's ops do not add up (memory).
        BackendUnavailableError: its device or runtime cannot be reached from here.
    """
    table.require_additive()
    kind, device = table.metadata.get("device_kind", ""), table.metadata.get("device", "")
    if kind == "cpu" and device == host_device():
        check_metric_is_measurable(table)
        return
    if kind in ("gpu", "mobile", "npu", "command") or kind in own_kinds():
        require_asked(table.metadata, table.name)
        check_metric_is_measurable(table)
        get_profiler(*settings_of(table)).describe()
        return
    raise SearchError(
        f"--verify measures on the table's device, and '{table.name}' was measured on '{device}' "
        f"({kind or 'unknown kind'}), not on this machine ({host_device()}). Profile this one: "
        "proxyless-hw profile --device cpu; or search without --verify, export, and measure there."
    )


def check_metric_is_measurable(table: LatencyTable) -> None:
    """Checks, before any training, that the device can measure the table's metric from here.

    Every device measures latency; energy needs counters.

    Raises:
        SearchError: it cannot; the message says why.
    """
    if table.metric == "latency":
        return
    try:
        get_profiler(*settings_of(table)).describe()
    except (BackendUnavailableError, ProfilingError) as cause:
        raise SearchError(
            f"--verify measures what the table does, and the {table.metric} of '{table.name}' "
            f"cannot be measured here: {str(cause).rstrip('.')}. Or search without --verify."
        ) from cause
