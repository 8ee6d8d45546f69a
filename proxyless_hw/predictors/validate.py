"""Validating a table on whole networks, from Python or the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxyless_hw.drawing.plots import check_plot_path
from proxyless_hw.errors import PredictorError, TableError
from proxyless_hw.predictors.calibrate import NO_FILE, SECONDS_A_NETWORK, fitted_on
from proxyless_hw.predictors.calibration import calibration_path, save_calibration
from proxyless_hw.predictors.judgement import (
    Judgement,
    ValidationRecord,
    judge_networks,
    require_usable,
    save_record,
)
from proxyless_hw.predictors.measured import (
    measure_for,
    measuring_for,
    without_anchors,
)
from proxyless_hw.predictors.validation import Validation, score
from proxyless_hw.predictors.validation_networks import SPREAD_NETWORKS, draw_networks
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.protocol.timing import Progress
from proxyless_hw.profilers.shown import shown
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.tables.given import space_of, table_of
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.units import format_duration

if TYPE_CHECKING:
    from pandas import DataFrame

ENOUGH_NETWORKS: Final = 20
"""Fewer networks change no later prediction unless it is asked for."""


@dataclass(frozen=True, kw_only=True)
class TableValidation:
    """A table against whole networks, and what is to be thought of it.

    Attributes:
        table: name of the table.
        validation: every network, measured and predicted.
        record: the errors that are kept beside the table's file.
        judgement: ``good``, ``fair`` or ``poor``, with the reason.
        calibration: where a calibration was kept; None where none was.
    """

    table: str
    validation: Validation
    record: ValidationRecord
    judgement: Judgement
    calibration: Path | None

    @property
    def machine_speed(self) -> float | None:
        """Speed of the machine relative to when the table was made; None without anchors."""
        speed = self.validation.networks[0].measured.table_speed
        return None if speed is None else speed.machine_speed

    def to_pandas(self) -> DataFrame:
        """One row a network: ``network``, ``kind``, ``predicted_ms``, ``calibrated_ms``,
        ``measured_ms`` and ``error`` (of the plain sum, as a fraction)."""
        import pandas as pd

        return pd.DataFrame(
            {
                "network": item.name,
                "kind": item.kind,
                "predicted_ms": item.predicted_ms,
                "calibrated_ms": item.calibrated_ms,
                "measured_ms": item.measured_ms,
                "error": item.predicted_ms / item.measured_ms - 1,
            }
            for item in self.validation.networks
        )

    def to_json(self) -> JsonObject:
        """The object that the command prints."""
        return {
            **self.validation.to_json(),
            **({} if self.calibration is None else {"calibration": str(self.calibration)}),
            "calibrated_mape": self.record.calibrated_mape,
            "verdict": self.judgement.grade,
            "machine_speed": self.machine_speed,
        }


def validate(
    table: LatencyTable | str | Path,
    space: SearchSpace | str | Path = "imagenet",
    *,
    networks: int = 20,
    spread: int = SPREAD_NETWORKS,
    device: str | None = None,
    settings: ProfilerSettings | None = None,
    budget_s: float | None = None,
    goal: float = 0.01,
    resolution: int | None = None,
    seed: int = 0,
    calibrate: bool | None = None,
    force: bool = False,
    plot: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] | None = None,
    quiet: bool = False,
) -> TableValidation:
    """Measures whole networks and compares them with a table: ``proxyless-hw validate``.

    Where the table is a file, the errors are kept beside it, and so is a calibration that is
    fitted on the networks.

    Args:
        table: a latency table that holds every op of the space; or its name or path.
        space: where the networks come from; or its name or path.
        networks: uniform random networks, for the errors.
        spread: networks spread evenly over the feasible range, for the ranks.
        device: device kind; the table's own when None.
        settings: how networks are measured; as the table was when None. A runtime or device option
            that is not given is the table's.
        budget_s: seconds for measuring; 5 a network when None.
        goal: half-width of the 95% interval at which a network is done, as a fraction.
        resolution: deployment resolution in pixels; the table's own when None.
        seed: of the networks.
        calibrate: keep a calibration; when None if the table is a file without one and at least 20
            networks were measured.
        force: go on although the table is too poor.
        plot: a scatter plot, .png, .svg or .pdf.
        progress: called after each round; without it progress is shown on stderr.
        say: told what is going on, a line at a time.
        quiet: shows no progress.

    Raises:
        PredictorError: the table is too poor, the setting is not the table's, or there is nothing
            to validate.
        TableError: no such table, it measures no latency, or `calibrate` for one that is no file.
        MissingEntryError: the table lacks ops of the space.
        ProfilingError, BackendUnavailableError: measuring failed.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.validate("tables/cpu.csv", networks=20, spread=0)  # doctest: +SKIP
        >>> found.judgement.sentence, found.to_pandas()["error"].abs().mean()  # doctest: +SKIP
    """
    told = say or (lambda message: None)
    if plot is not None:
        check_plot_path(Path(plot), PredictorError)
    loaded = table_of(table)
    name = loaded.name if isinstance(table, LatencyTable) else str(table)
    file = Path(name)
    if calibrate and not file.is_file():
        raise TableError(NO_FILE.format(name=name))
    if settings is not None and settings.runtime is None and device == "cpu":
        runtime = (loaded.metadata.get("runtime") or "onnxruntime").split()[0]
        settings = replace(settings, runtime=runtime)
    if not force:
        # What an earlier validation found is found anew here, and calibrated where it is asked for.
        require_usable(loaded, "validate", networks=False)
    searched = space_of(space)
    loaded.require_metric("latency")
    drawn = draw_networks(loaded, searched, networks, spread, seed, resolution)
    budget = budget_s or SECONDS_A_NETWORK * len(drawn)
    told(f"measuring {len(drawn)} networks of '{searched.id}', up to {format_duration(budget)}")
    with shown("validating", progress, quiet) as show:
        how = measuring_for(loaded, device=device, settings=settings, budget_s=budget, goal=goal)
        how = replace(how, progress=show, say=told)
        if how.anchors is None:
            told(without_anchors(loaded))
        measured = measure_for(
            loaded, how, archs=[item.arch for item in drawn], names=[item.name for item in drawn]
        )
    validation = score(loaded, drawn, measured)
    if plot is not None:
        from proxyless_hw.predictors.validation_plot import plot_validation

        plot_validation(validation, loaded.name, Path(plot))
    kept, left_out = None, None
    if _keeps_calibration(calibrate, file, validation):
        try:
            fitted = fitted_on(validation.calibration_networks())
            kept, left_out = save_calibration(file, fitted), fitted.loo_mape
            told(f"calibration kept: {kept}")
        except PredictorError as error:
            if calibrate:
                raise
            told(f"no calibration kept: {error}")
    record = _record(validation, left_out)
    if file.is_file():
        save_record(file, record)
    return TableValidation(
        table=loaded.name,
        validation=validation,
        record=record,
        judgement=judge_networks(record, name),
        calibration=kept,
    )


def _record(validation: Validation, left_out: float | None) -> ValidationRecord:
    """The errors before and after calibration.

    A calibration that was just fitted on these networks is judged by the error of each network
    predicted from the others.
    """
    raw = validation.accuracy("uniform") or validation.accuracy("spread")
    after = validation.accuracy("uniform", calibrated=True)
    after = after or validation.accuracy("spread", calibrated=True)
    assert raw is not None
    return ValidationRecord(
        networks=len(validation.networks),
        mape=raw.mape,
        bias=raw.bias,
        calibrated_mape=left_out if left_out is not None else None if after is None else after.mape,
    )


def _keeps_calibration(asked: bool | None, file: Path, validation: Validation) -> bool:
    """As asked; else when the table is a file without a calibration and the networks suffice."""
    if asked is not None:
        return asked
    enough = len(validation.calibration_networks()) >= ENOUGH_NETWORKS
    return enough and file.is_file() and not calibration_path(file).exists()
