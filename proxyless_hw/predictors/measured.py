"""Networks and files measured whole beside a table's anchors, and what the table says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.calibration import CalibrationNetwork
from proxyless_hw.predictors.costs import count_blocks
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.sampling import spread_choices, uniform_choices
from proxyless_hw.profilers.android.phone_flags import recorded_delegate
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.command.recorded import recorded_options, require_recorded
from proxyless_hw.profilers.host.conditioning import cache_options, with_caches_of
from proxyless_hw.profilers.networks import (
    measure_files,
    measure_in_fresh_process,
    measure_networks,
)
from proxyless_hw.profilers.options import given_options
from proxyless_hw.profilers.own_profilers import recorded_own_options
from proxyless_hw.profilers.protocol.measurement import Anchors, Measurement, Measuring
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.profilers.registry import BUILT_IN, described, get_profiler
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.check import pricing_shape
from proxyless_hw.tables.entry import OPTION_KEYS, SETTING_KEYS
from proxyless_hw.tables.table import LatencyTable

_NO_ANCHORS: Final = (
    "the table has no anchors (it was imported, or made by an older version): values are those of "
    "the machine as it is now, not at the table's speed."
)


_ESTIMATES: Final = (
    "the table holds a compiler's estimates, which are the same each time: one compilation is "
    "compared, and intervals have no width."
)


def without_anchors(table: LatencyTable) -> str:
    """What to say where nothing is measured beside a table's anchors."""
    return _ESTIMATES if table.is_estimate else _NO_ANCHORS


def settings_of(table: LatencyTable) -> tuple[str, ProfilerSettings]:
    """Device kind and settings under which a table was measured, from its header."""
    header = table.metadata
    kind = header.get("device_kind", "")
    settings = ProfilerSettings(
        runtime=_runtime_of(header),
        threads=int(header.get("threads", "1")),
        batch_size=int(header.get("batch_size", "1")),
        precision=header.get("precision", "fp32"),  # type: ignore[arg-type]
        metric=header.get("metric", "latency"),  # type: ignore[arg-type]
        options=options_of(header),
    )
    return kind, settings


def options_of(header: Mapping[str, str]) -> dict[str, str]:
    """The device options that a table's header tells: cache state, delegate, or the command."""
    kind = header.get("device_kind")
    if kind == "command":
        return recorded_options(header)
    if kind == "mobile":
        return recorded_delegate(header)
    if kind == "npu" or (kind and kind not in BUILT_IN):
        return recorded_own_options(header)
    options = cache_options(header.get("cache", ""))
    if kind == "cpu" and header.get("delegate"):
        options["delegate"] = header["delegate"]
    return options | recorded_own_options(header)


def _runtime_of(header: Mapping[str, str]) -> str | None:
    """What chooses a runtime among a device kind's; others than these have one each."""
    runtime = (header.get("runtime") or "").split()
    if not runtime or header.get("device_kind") not in ("cpu", "gpu", "npu"):
        return None
    return runtime[0]


def measuring_for(
    table: LatencyTable,
    *,
    device: str | None = None,
    settings: ProfilerSettings | None = None,
    budget_s: float | None = None,
    goal: float = 0.01,
) -> Measuring:
    """How to measure what a table is to be compared with: its setting, beside its anchors.

    Args:
        table: the table.
        device: device kind; the table's own when None.
        settings: how it is measured, device options as in the table where they are not given;
            the table's own setting when None.
        budget_s: seconds for everything that is measured; None until the goal is met.
        goal: half-width at which a network is done.

    Raises:
        PredictorError: the device or setting is not the table's.
        ProfilingError: an option of --device command is not the table's.
        TableError: the anchors in the header cannot be read.
    """
    own_kind, own = settings_of(table)
    kind = own_kind if device is None else device
    chosen = own if settings is None else _completed(settings, kind, table)
    require_same_setting(table, described(kind, get_profiler(kind, chosen), chosen))
    return Measuring(
        settings=chosen,
        device=kind,
        timing=TimingConfig(goal=goal, budget_s=budget_s, spend=False),
        anchors=Anchors.of(table),
    )


def _completed(settings: ProfilerSettings, kind: str, table: LatencyTable) -> ProfilerSettings:
    """Settings with the table's caches, delegate or command where they say nothing else."""
    header = table.metadata
    settings = with_caches_of(header.get("cache", ""), settings)
    if kind != header.get("device_kind"):
        return settings
    if kind == "command":
        require_recorded(given_options(settings.options), header, table.name)
    own = options_of(header)
    rest = {name: value for name, value in own.items() if not name.startswith("cache")}
    return replace(settings, options={**rest, **given_options(settings.options)})


def measure_for(
    table: LatencyTable,
    how: Measuring,
    *,
    files: Sequence[str | Path] = (),
    archs: Sequence[Architecture] = (),
    names: Sequence[str] | None = None,
    fresh: bool = False,
) -> list[Measurement]:
    """Measures files or networks for a comparison with a table, at the table's speed.

    Args:
        table: the table.
        how: from `measuring_for`.
        files: model files; or
        archs: networks.
        names: names of the networks.
        fresh: in a process that holds nothing else; networks are then named by their place.

    Returns:
        Measurements whose `table_speed` is set where the table has anchors.
    """
    if fresh:
        return measure_in_fresh_process(paths=files, archs=archs, how=how)
    return measure_files(files, how) if files else measure_networks(archs, how, names=names)


def at_table_speed(item: Measurement) -> tuple[float, float, float]:
    """Value and 95% interval at the table's speed; as measured where the table has no anchors."""
    if item.table_speed is None:
        return item.median, item.ci_low, item.ci_high
    speed = item.table_speed
    return speed.median, speed.ci_low, speed.ci_high


def calibration_draw(
    table: LatencyTable, space: SearchSpace, networks: int, seed: int, resolution: int | None = None
) -> list[Architecture]:
    """Networks to calibrate on.

    Half are spread evenly over the feasible range, which holds the line at its ends; half are
    uniformly random, so that intervals know how far such networks lie from it.

    Raises:
        MissingEntryError: the table lacks ops of the space: calibration says nothing about
            regressed ops.
    """
    sizes, classes = pricing_shape(table, space, (resolution,) if resolution else ())
    side = space.resolution if space.resolution in sizes else sizes[0]
    costs = fit_predictor(table, "lookup", calibrate=False).space_costs(space, side, classes)
    rows = (
        *spread_choices(costs, networks - networks // 2, seed),
        *uniform_choices(space, networks // 2, seed),
    )
    return [
        Architecture.from_choices(space, row.tolist(), resolution=side, num_classes=classes)
        for row in rows
    ]


def measure_calibration_networks(
    table: LatencyTable,
    space: SearchSpace,
    how: Measuring,
    *,
    networks: int = 60,
    seed: int = 0,
    resolution: int | None = None,
    fresh: bool = False,
) -> list[CalibrationNetwork]:
    """Draws networks, measures them, and pairs both figures.

    Args:
        table: must hold every op of the space.
        space: where the networks are drawn.
        how: from `measuring_for`.
        networks: how many.
        seed: of the networks drawn.
        resolution: deployment resolution; the table's own when None.
        fresh: in a process that holds nothing else.

    Raises:
        MissingEntryError: the table lacks ops of the space.
        ProfilingError, BackendUnavailableError: measuring failed.
    """
    archs = calibration_draw(table, space, networks, seed, resolution)
    names = [f"{space.id} network {index} of {networks}" for index in range(networks)]
    measured = measure_for(table, how, archs=archs, names=names, fresh=fresh)
    renamed = [replace(item, name=name) for item, name in zip(measured, names, strict=True)]
    return pair(table, archs, renamed)


def pair(
    table: LatencyTable, archs: Sequence[Architecture], measured: Sequence[Measurement]
) -> list[CalibrationNetwork]:
    """Measured networks, at the table's speed, with the uncalibrated sums of their ops.

    Raises:
        MissingEntryError: the table lacks ops of a network.
    """
    return [
        network_of(table, arch, item.name, at_table_speed(item)[0])
        for arch, item in zip(archs, measured, strict=True)
    ]


def network_of(
    table: LatencyTable, arch: Architecture, name: str, measured_ms: float
) -> CalibrationNetwork:
    """One measured network with the uncalibrated sum of its ops.

    Raises:
        MissingEntryError: the table lacks ops of it.
    """
    return CalibrationNetwork(
        name=name,
        predicted_ms=table.latency_ms(arch),
        blocks=count_blocks(arch),
        measured_ms=measured_ms,
    )


def require_same_setting(table: LatencyTable, described: Mapping[str, str]) -> None:
    """Checks that what is measured now is what the table was measured with.

    Raises:
        PredictorError: a key of the setting differs; the table's and the present value are named.
    """
    for key in (*SETTING_KEYS, "unit", *OPTION_KEYS):
        stated, now = table.metadata.get(key), described.get(key)
        if stated is not None and now is not None and str(stated) != str(now):
            raise PredictorError(
                f"'{table.name}' was measured with {key} '{stated}', here it is '{now}'. Measure "
                "where and how the table was measured; to calibrate from elsewhere, give measured "
                "networks: table calibrate --from FILE."
            )
