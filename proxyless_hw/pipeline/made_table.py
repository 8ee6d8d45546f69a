"""The table of `specialize`: measured, or a given one whose gaps are filled."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proxyless_hw.errors import SearchError
from proxyless_hw.pipeline.ingredients import Ingredients
from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.pipeline.stages import Talk, profile_stage
from proxyless_hw.predictors.calibration import calibration_path
from proxyless_hw.profilers.profile import ProfileConfig
from proxyless_hw.profilers.protocol.timing import TimingConfig
from proxyless_hw.storage.files import copy_atomically
from proxyless_hw.tables.table import LatencyTable

GIVEN: Final = "table.given.csv"
"""A given table whose gaps are filled, beside the one that is made from it."""


def made_table(
    config: SpecializeConfig, parts: Ingredients, path: Path, budget_s: float, talk: Talk
) -> LatencyTable:
    """Makes the table that the search prices networks with.

    A given table that holds all ops is copied, with its calibration. One that lacks some is
    completed where its device is here; elsewhere it stays as it is, and they are regressed.

    Args:
        config: the settings.
        parts: what is known before.
        path: where the table goes.
        budget_s: seconds for measuring.
        talk: how it tells what it does.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
        SearchError, TableError: the place cannot be written.
    """
    given = parts.table
    if given is not None and parts.missing:
        what = "are measured" if parts.is_here else "are predicted by regression"
        talk.say(
            f"     {given.name} lacks {len(parts.missing)} ops of the space at "
            f"{parts.resolution} px and {parts.num_classes} classes: they {what}"
        )
    if given is not None and not (parts.missing and parts.is_here):
        _copy(given, path, config.table is not None)
        return LatencyTable.load(path)
    base = None
    if given is not None:
        base = str(path.with_name(GIVEN))
        given.save(base)
    return profile_stage(
        ProfileConfig(
            output=path,
            device=parts.device,
            settings=parts.settings,
            space=config.space,
            resolutions=(parts.resolution,),
            num_classes=parts.num_classes,
            timing=TimingConfig(budget_s=budget_s, seed=config.seed),
            resume=True,
            missing_from=base,
        ),
        talk,
    )


def _copy(table: LatencyTable, path: Path, is_named: bool) -> None:
    """A table as it is, and the calibration beside the file that the settings name.

    Args:
        table: the table.
        path: where it goes.
        is_named: whether the settings name it. An object counts as it is: it may differ from the
            file that it was read from.
    """
    source = Path(table.name)
    if not is_named or not source.is_file():  # an object, or a shipped one
        table.save(path)
        return
    copy_atomically(source, path, SearchError)
    if calibration_path(source).is_file():
        copy_atomically(calibration_path(source), calibration_path(path), SearchError)
