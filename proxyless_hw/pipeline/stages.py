"""The stages from a device to a verified file, each one function over a run folder.

A stage that has left its result in the folder is not done again, so the same call goes on after it
was killed. `demo` joins them on embedded data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from proxyless_hw.errors import ProfilingError, ProxylessHwError, SearchError, TrainingError
from proxyless_hw.export.export import (
    CALIBRATION_IMAGES,
    ExportConfig,
    Target,
    export_network,
)
from proxyless_hw.export.manifest import write_manifest
from proxyless_hw.export.quantise import FilePrecision
from proxyless_hw.export.verify import FileFormat
from proxyless_hw.pipeline.deploy import EXPORT_FOLDER, MANIFEST, load_images
from proxyless_hw.pipeline.lengths import SearchLength, TrainLength, decided
from proxyless_hw.pipeline.source import load_source
from proxyless_hw.pipeline.trial import seconds_per_epoch, training_seconds_per_epoch
from proxyless_hw.predictors.measured import measure_for, measuring_for
from proxyless_hw.predictors.verdict import Verification, verification_of
from proxyless_hw.profilers.networks import measure_in_fresh_process
from proxyless_hw.profilers.profile import ProfileConfig, profile
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig
from proxyless_hw.runs.folder import RunFolder
from proxyless_hw.search.calibrate import CALIBRATION_SHARE, calibrate_first
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.observer import SearchObserver, TerminalObserver
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.progress import phase
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.driver import run_training
from proxyless_hw.train.observer import TerminalObserver as TrainTerminal
from proxyless_hw.train.observer import TrainObserver
from proxyless_hw.train.result import TrainResult
from proxyless_hw.train.run_folder import TrainFolder

Result = TypeVar("Result", SearchResult, TrainResult)
ShowProgress = Callable[[str], AbstractContextManager[Callable[[Progress], None] | None]]

FLOAT_FILES: Final[tuple[tuple[FileFormat, FilePrecision], ...]] = (
    ("onnx", "fp32"),
    ("tflite", "fp32"),
)
"""Format and precision of what `export_stage` writes unless it is told otherwise."""


SEVERAL: Final = (
    "the stages run in one process: this is one of several that torchrun started. Start the "
    "command without torchrun."
)


@dataclass(frozen=True)
class Talk:
    """How stages tell what they do.

    Attributes:
        say: takes a line.
        show_progress: makes a progress bar for measuring.
        quiet: no progress of the search.
    """

    say: Callable[[str], None]
    show_progress: ShowProgress
    quiet: bool = False


def profile_stage(config: ProfileConfig, talk: Talk) -> LatencyTable:
    """The device's table; a finished one is taken as it is.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
    """
    with talk.show_progress(f"profiling {config.space}") as progress:
        return profile(config, progress, say=talk.say)


def calibrate_stage(config: SearchConfig, budget_s: float, talk: Talk) -> bool:
    """Calibrates a table on whole networks of the space, unless that is done.

    Args:
        config: of the search that is to come: table, space, resolution, seed.
        budget_s: seconds for measuring.
        talk: how it tells what it does.

    Returns:
        Whether a calibration was made.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
    """
    config = replace(config, verify_budget=budget_s / CALIBRATION_SHARE)
    with _silent(()) if talk.quiet else TerminalObserver(()) as observer:
        return calibrate_first(config, observer)


PLACES: Final = ("device", "data_root", "table", "weights")
"""Settings that say where something lies or runs. What it is has been compared before, so a run
that goes on keeps its own words for them: a relative path, for example."""


def _places(folder: RunFolder, names: Sequence[str]) -> dict[str, Any]:
    settings = folder.settings()
    return {name: settings[name] for name in names if name in settings}


def search_stage(config: SearchConfig, length: SearchLength, talk: Talk) -> SearchResult:
    """Searches, as long as the machine's speed allows, and verifies.

    The first start decides how many epochs there are, and what else depends on the machine's speed
    (`SearchLength.decided`); going on keeps to that.

    Raises:
        SearchError, TableError, DataError: as `run_search`.
    """
    folder = SearchFolder(Path(config.output or "."))
    if folder.result.exists():
        return read_result(folder.path)
    if folder.config.exists():
        chosen = replace(config, **decided(length, folder.settings()), **_places(folder, PLACES))
    else:
        trial = length.to_try(config)
        with phase("timing a few steps of the search", talk.quiet):
            seconds = seconds_per_epoch(trial)
        chosen = length.fitted(trial, seconds, talk.say)
    result = run_search(chosen, _silent if talk.quiet else TerminalObserver)
    return _of_one_process(result, SearchError)


def _of_one_process(result: Result | None, error: type[ProxylessHwError]) -> Result:
    """The result of a run, which torchrun's processes other than the first do not have."""
    if result is None:
        raise error(SEVERAL)
    return result


def _silent(constraints: object) -> SearchObserver:
    return SearchObserver()


def train_stage(config: TrainConfig, length: TrainLength, talk: Talk) -> TrainResult:
    """Trains the network of a run, as long as the machine's speed allows.

    Raises:
        TrainingError, DataError: as `run_training`.
    """
    folder = TrainFolder(Path(config.output or "."))
    if folder.result.exists():
        return TrainResult.from_json(folder.read_json(folder.result), folder.path)
    if folder.config.exists():
        kept = _places(folder, (*PLACES, "arch"))
        chosen = replace(config, **decided(length, folder.settings()), **kept)
    else:
        with phase("timing a few steps of the training", talk.quiet):
            seconds = training_seconds_per_epoch(config)
        chosen = length.fitted(config, seconds, talk.say)
    result = run_training(chosen, TrainObserver if talk.quiet else TrainTerminal)
    return _of_one_process(result, TrainingError)


def export_stage(
    folder: Path,
    name: str,
    talk: Talk,
    files: Sequence[tuple[FileFormat, FilePrecision]] = FLOAT_FILES,
    calibration_images: int = CALIBRATION_IMAGES,
) -> tuple[Path, ...]:
    """Writes the model files of a run, each compared with torch; kept files stay.

    Args:
        folder: of a search or a training; they go into ``exports`` in it, with a manifest.
        name: what the files' names begin with.
        talk: how it tells what it does.
        files: format and precision of each.
        calibration_images: training images that the ranges of an int8 file are taken from, at most.

    Returns:
        Paths of the files, in the order of `files`.

    Raises:
        ExportError, BackendUnavailableError: a file cannot be written, or differs from torch.
        ProfilingError: the run names no data set.
    """
    place = folder / EXPORT_FOLDER
    targets = [
        Target(kind, precision, place / f"{name}-{precision}.{kind}") for kind, precision in files
    ]
    manifest = place / MANIFEST
    if not manifest.exists():
        source = load_source(str(folder))
        if source.data is None:
            raise ProfilingError(f"{folder} names no data set: it is no run of the demo.")
        data = load_images(source.data, source.network)
        if data.calibration is not None:
            data = replace(data, calibration=data.calibration[:calibration_images])
        arch = source.network.arch
        config = ExportConfig(
            resolution=arch.resolution, channels=arch.in_channels, weights=source.weights
        )
        with phase("exporting", talk.quiet) as say:
            written = export_network(source.network, targets, config, data, say)
        write_manifest(manifest, written, source.network, config)
    return tuple(target.path for target in targets)


def verify_stage(
    file: Path | Architecture,
    table: LatencyTable,
    result: SearchResult,
    budget_s: float,
    talk: Talk,
) -> Verification:
    """Measures an exported file beside the table's anchors, in a process of its own.

    Args:
        file: of the table's runtime; or the network, where that runs no file.
        table: the table.
        result: the search's result, for target and prediction.
        budget_s: seconds for measuring.
        talk: how it tells what it does.

    Raises:
        ProfilingError, BackendUnavailableError: the file cannot be measured.
    """
    how = measuring_for(table, budget_s=budget_s, goal=0.006)
    part: dict[str, Any] = {"files": [file]} if isinstance(file, Path) else {"archs": [file]}
    name = file.name if isinstance(file, Path) else "the network"
    with phase(f"measuring {name}", talk.quiet):
        measured = measure_for(table, how, **part, fresh=True)[0]
    return verification_of(result.target, result.predicted, measured)


def measure_stage(files: Sequence[Path], budget_s: float, talk: Talk) -> list[Measurement]:
    """Measures files of one runtime that no table is for, in a process of its own.

    Raises:
        ProfilingError, BackendUnavailableError: a file cannot be measured.
    """
    timing = TimingConfig(goal=0.01, budget_s=budget_s, spend=False)
    with phase(f"measuring {', '.join(file.name for file in files)}", talk.quiet):
        return measure_in_fresh_process(paths=files, how=Measuring(timing=timing))
