"""Calibrating a table on whole networks, from Python or the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.predictors.calibration import (
    Calibration,
    CalibrationNetwork,
    fit_calibration,
    save_calibration,
)
from proxyless_hw.predictors.measured import measure_calibration_networks, measuring_for
from proxyless_hw.predictors.network_files import read_measured_networks
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.protocol.timing import Progress
from proxyless_hw.profilers.shown import shown
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.locks import exclusive_lock, lock_beside
from proxyless_hw.tables.given import space_of
from proxyless_hw.tables.table import LatencyTable

SECONDS_A_NETWORK: Final = 5.0
"""Default budget for measuring, per network."""

NO_FILE: Final = (
    "'{name}' is a shipped table: a calibration stands beside a table file of yours. Copy the "
    "table and name the copy's path."
)


@dataclass(frozen=True, kw_only=True)
class TableCalibration:
    """A calibration that was fitted and kept.

    Attributes:
        path: the file beside the table.
        calibration: measured = a + b sum + c blocks.
        networks: what it was fitted on.
    """

    path: Path
    calibration: Calibration
    networks: tuple[CalibrationNetwork, ...]

    @property
    def mape_before(self) -> float:
        """Mean absolute relative error of the plain sums, as a fraction."""
        errors = [abs(item.predicted_ms / item.measured_ms - 1) for item in self.networks]
        return sum(errors) / len(errors)


def calibrate(
    table: str | Path,
    space: SearchSpace | str | Path = "imagenet",
    *,
    measured: str | Path | None = None,
    networks: int = 60,
    device: str | None = None,
    settings: ProfilerSettings | None = None,
    budget_s: float | None = None,
    resolution: int | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> TableCalibration:
    """Fits measured = a + b sum + c blocks on whole networks: ``proxyless-hw table calibrate``.

    The calibration is kept beside the table's file, and used by every later prediction.

    Args:
        table: path of the table.
        space: where networks are drawn; or its name or path.
        measured: networks measured before (CSV with the columns ``network,measured_ms``, or JSON);
            nothing is measured then.
        networks: how many networks are drawn: half evenly over the feasible range, half uniformly.
        device: device kind; the table's own when None.
        settings: how networks are measured; as the table was when None.
        budget_s: seconds for measuring; 5 a network when None.
        resolution: deployment resolution in pixels; the table's own when None.
        seed: of the networks drawn.
        progress: called after each round; without it progress is shown on stderr.
        say: told what is going on, a line at a time.
        quiet: shows no progress.

    Raises:
        TableError: the table is no file, is in use by another process, or measures no latency.
        PredictorError: too few networks or all alike, or the setting is not the table's.
        MissingEntryError: the table lacks ops of a network.
        ProfilingError, BackendUnavailableError: measuring failed.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.calibrate("tables/cpu.csv", networks=20)  # doctest: +SKIP
        >>> found.mape_before, found.calibration.loo_mape  # doctest: +SKIP
    """
    path = Path(table)
    LatencyTable.load(table)
    if not path.is_file():
        raise TableError(NO_FILE.format(name=table))
    # Held while networks are measured: the rows must not change under the calibration.
    with exclusive_lock(lock_beside(path), TableError, f"table {path}"):
        loaded = LatencyTable.load(path)
        loaded.require_metric("latency")
        if measured is not None:
            found = read_measured_networks(Path(measured), loaded)
        else:
            with shown("calibrating", progress, quiet) as show:
                how = measuring_for(
                    loaded,
                    device=device,
                    settings=settings,
                    budget_s=budget_s or SECONDS_A_NETWORK * networks,
                    progress=show,
                    say=say,
                )
                found = measure_calibration_networks(
                    loaded,
                    space_of(space),
                    how,
                    networks=networks,
                    seed=seed,
                    resolution=resolution,
                )
        fitted = fitted_on(found)
        kept = save_calibration(path, fitted)
    return TableCalibration(path=kept, calibration=fitted, networks=tuple(found))


def fitted_on(networks: Sequence[CalibrationNetwork]) -> Calibration:
    """The calibration that measured networks give.

    Raises:
        PredictorError: they are too few, or all alike.
    """
    return fit_calibration(
        [network.predicted_ms for network in networks],
        [network.blocks for network in networks],
        [network.measured_ms for network in networks],
        [network.name for network in networks],
    )
