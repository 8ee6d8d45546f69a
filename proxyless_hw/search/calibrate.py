"""The calibration of a table for whole networks, made before a search that will be verified."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proxyless_hw.predictors.calibration import Calibration, fit_calibration, save_calibration
from proxyless_hw.predictors.fit import Predictor, fit_predictor
from proxyless_hw.predictors.measured import measure_calibration_networks, measuring_for
from proxyless_hw.runs.objects import GIVEN
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.observer import SearchObserver
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.check import pricing_shape
from proxyless_hw.tables.table import LatencyTable

CALIBRATION_NETWORKS: Final = 16
CALIBRATION_SHARE: Final = 0.4
"""Share of the budget of a verification."""


def calibrate_first(
    config: SearchConfig, observer: SearchObserver, space: SearchSpace | None = None
) -> bool:
    """Calibrates a table for whole networks of the space before a search that will be verified.

    A calibration that is there already is used; so is one that was tried and failed, by going on
    without. Tables of another metric than latency are not calibrated.

    Args:
        config: the settings.
        observer: told of the measurements.
        space: in place of the one that the settings name.

    Returns:
        Whether a calibration was made; the problem then has to be prepared again. One under which
        a network of the space would cost nothing, or less, is not kept.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
    """
    if config.table == GIVEN:
        observer.note("the table was given as an object: its sums are taken as they are")
        return False
    table = LatencyTable.load(config.table)
    if not Path(config.table).is_file() or fit_predictor(table).calibration is not None:
        return False
    if table.metric != "latency":
        observer.note(
            f"tables of {table.metric} are not calibrated: its sums are taken as they are"
        )
        return False
    observer.note(
        f"the table has no calibration: measuring {CALIBRATION_NETWORKS} networks of the space, "
        f"up to {config.verify_budget * CALIBRATION_SHARE:.0f} s"
    )
    space = SearchSpace.load(config.space) if space is None else space
    with observer.phase("calibrating the table"):
        networks = measure_calibration_networks(
            table,
            space,
            measuring_for(table, budget_s=config.verify_budget * CALIBRATION_SHARE),
            networks=CALIBRATION_NETWORKS,
            seed=config.seed,
            resolution=config.resolution,
            fresh=True,
        )
    calibration = fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
    least = _least_cost(table, calibration, space, config)
    if least <= 0:
        observer.note(
            f"no calibration is kept: it gives the fastest network of the space {least:.3g} ms. "
            "The machine was too busy while the networks were measured, or the table is too poor."
        )
        return False
    path = save_calibration(config.table, calibration)
    observer.note(
        f"calibration kept: {path}; error on whole networks {calibration.loo_mape or 0:.1%}, each "
        "predicted from the others"
    )
    return True


def _least_cost(
    table: LatencyTable, calibration: Calibration, space: SearchSpace, config: SearchConfig
) -> float:
    """Cost of the fastest network of the space under a calibration, in ms."""
    asked = (config.resolution,) if config.resolution else ()
    sizes, classes = pricing_shape(table, space, asked, config.num_classes)
    side = space.resolution if space.resolution in sizes else sizes[0]
    costs = Predictor(table, calibration=calibration).space_costs(space, side, classes)
    return float(costs.range[0])
