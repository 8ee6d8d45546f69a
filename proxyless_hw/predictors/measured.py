"""Networks measured whole, paired with what a table says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from proxyless_hw.architecture import Architecture
from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.calibration import CalibrationNetwork
from proxyless_hw.predictors.costs import count_blocks
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.sampling import spread_choices, uniform_choices
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.networks import Measured, measure_networks
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.profilers.timing import Progress, TimingConfig
from proxyless_hw.space import SearchSpace
from proxyless_hw.tables.check import pricing_shape
from proxyless_hw.tables.table import SETTING_KEYS, LatencyTable


def measure_calibration_networks(
    table: LatencyTable,
    space: SearchSpace,
    settings: ProfilerSettings,
    *,
    device: str = "cpu",
    networks: int = 60,
    seed: int = 0,
    resolution: int | None = None,
    budget_s: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[CalibrationNetwork]:
    """Draws networks, measures them, and pairs both figures.

    Half are spread evenly over the feasible range, which holds the line at its ends; half are
    uniformly random, so that intervals know how far such networks lie from it.

    Args:
        table: must hold every op of the space: calibration says nothing about regressed ops.
        space: where the networks are drawn.
        settings: how they are run; must be the table's setting.
        device: device kind.
        networks: how many.
        seed: of the networks drawn.
        resolution: deployment resolution; the table's own when None.
        budget_s: time for measuring; None: until each is within 1%.
        progress: called after each round.

    Raises:
        PredictorError: the device or setting is not the table's.
        MissingEntryError: the table lacks ops of the space.
        ProfilingError, BackendUnavailableError: measuring failed.
    """
    require_same_setting(table, get_profiler(device, settings).describe())
    sizes, classes = pricing_shape(table, space, (resolution,) if resolution else ())
    side = space.resolution if space.resolution in sizes else sizes[0]
    costs = fit_predictor(table, "lookup", calibrate=False).space_costs(space, side, classes)
    archs = [
        Architecture.from_choices(space, choices.tolist(), resolution=side, num_classes=classes)
        for choices in (
            *spread_choices(costs, networks - networks // 2, seed),
            *uniform_choices(space, networks // 2, seed),
        )
    ]
    names = [f"{space.id} network {index} of {networks}" for index in range(networks)]
    timing = TimingConfig(goal=0.01, budget_s=budget_s)
    measured = measure_networks(
        archs, settings, device=device, names=names, timing=timing, progress=progress
    )
    return pair(table, archs, measured)


def pair(
    table: LatencyTable, archs: Sequence[Architecture], measured: Sequence[Measured]
) -> list[CalibrationNetwork]:
    """Measured networks with the uncalibrated sums of their ops.

    Raises:
        MissingEntryError: the table lacks ops of a network.
    """
    return [
        network_of(table, arch, item.name, item.median_ms)
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
    for key in SETTING_KEYS:
        stated, now = table.metadata.get(key), described.get(key)
        if stated is not None and now is not None and str(stated) != str(now):
            raise PredictorError(
                f"'{table.name}' was measured with {key} '{stated}', here it is '{now}'. Calibrate "
                "where and how the table was measured, or give measured networks: --from FILE."
            )
