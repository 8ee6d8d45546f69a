"""The stages from a device to a verified file, each one function over a run folder.

A stage that has left its result in the folder is not done again, so the same call goes on after it
was killed. `demo` joins them on embedded data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from proxyless_hw.errors import ProfilingError, SearchError
from proxyless_hw.export.export import ExportConfig, Target, export_network
from proxyless_hw.export.manifest import write_manifest
from proxyless_hw.pipeline.deploy import load_images
from proxyless_hw.pipeline.source import load_source
from proxyless_hw.predictors.measured import measure_for, measuring_for
from proxyless_hw.predictors.verdict import Verification, verification_of
from proxyless_hw.profilers.networks import measure_in_fresh_process
from proxyless_hw.profilers.profile import ProfileConfig, profile
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring
from proxyless_hw.profilers.protocol.timing import Progress, TimingConfig
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.context import data_config, make_context
from proxyless_hw.search.driver import run_search
from proxyless_hw.search.observer import SearchObserver, TerminalObserver
from proxyless_hw.search.prepare import prepare_problem
from proxyless_hw.search.result import SearchResult, read_result
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.progress import phase

ShowProgress = Callable[[str], AbstractContextManager[Callable[[Progress], None] | None]]

TRIAL_STEPS = 3


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


@dataclass(frozen=True, kw_only=True)
class SearchLength:
    """How long a search trains: as long as its time allows, within bounds.

    Attributes:
        seconds: time for the training.
        least, most: (warm-up, further) epochs at least and at most; between them both keep the
            ratio of `most`.
    """

    seconds: float
    least: tuple[int, int] = (3, 6)
    most: tuple[int, int] = (8, 16)

    def epochs(self, seconds_per_epoch: float) -> tuple[int, int]:
        """Epochs of warm-up and after it that fit."""
        fitting = int(self.seconds / max(seconds_per_epoch, 1e-9))
        share = min(1.0, fitting / sum(self.most))
        warm_up, after = (round(share * count) for count in self.most)
        return max(self.least[0], warm_up), max(self.least[1], after)


def profile_stage(config: ProfileConfig, talk: Talk) -> LatencyTable:
    """The device's table; a finished one is taken as it is.

    Raises:
        ProfilingError, BackendUnavailableError: the device cannot be measured.
    """
    with talk.show_progress(f"profiling {config.space}") as progress:
        return profile(config, progress, say=talk.say)


def search_stage(config: SearchConfig, length: SearchLength, talk: Talk) -> SearchResult:
    """Searches, as long as the machine's speed allows, and verifies.

    The first start decides how many epochs there are; going on keeps to that.

    Raises:
        SearchError, TableError, DataError: as `run_search`.
    """
    folder = SearchFolder(Path(config.output or "."))
    if folder.result.exists():
        return read_result(folder.path)
    warm_up, epochs = _epochs(config, length, folder, talk)
    chosen = config.with_epochs(warm_up, epochs)
    result = run_search(chosen, _silent if talk.quiet else TerminalObserver)
    if result is None:
        raise SearchError(
            "the stages run in one process: this is one of several that torchrun started. Start "
            "the command without torchrun."
        )
    return result


def _silent(constraints: object) -> SearchObserver:
    return SearchObserver()


def _epochs(
    config: SearchConfig, length: SearchLength, folder: SearchFolder, talk: Talk
) -> tuple[int, int]:
    if folder.config.exists():
        settings = folder.read_json(folder.config).get("settings", {})
        return int(settings["warmup_epochs"]), int(settings["epochs"])
    with phase("timing a few steps of the search", talk.quiet):
        seconds = seconds_per_epoch(config)
    warm_up, epochs = length.epochs(seconds)
    talk.say(
        f"     an epoch takes about {seconds:.1f} s here: {warm_up} of warm-up, then {epochs} of "
        f"search, about {seconds * (warm_up + epochs):.0f} s"
    )
    return warm_up, epochs


def seconds_per_epoch(config: SearchConfig) -> float:
    """Time of an epoch of a search on this machine now, from a few steps.

    Raises:
        SearchError, TableError, DataError: the settings do not make a search.
    """
    import torch

    from proxyless_hw.data.load import load_data
    from proxyless_hw.runs.loop import full_batches
    from proxyless_hw.search.state import new_state
    from proxyless_hw.search.steps import update_alpha, update_weights

    problem = prepare_problem(config)
    data = load_data(data_config(config))
    context = make_context(config, problem, data, torch.device("cpu"))
    state = new_state(
        config, problem.space, data.num_classes, len(problem.constraints), 1e-3, context.device
    )
    images, labels = next(
        iter(data.train.batches(0, shuffle=False, augment=False, drop_last=False))
    )
    times = []
    for _ in range(TRIAL_STEPS):
        begin = time.perf_counter()
        update_weights(state, images, labels, context, uniform=True)
        update_alpha(state, images, labels, context)
        times.append(time.perf_counter() - begin)
    # The first step also makes torch's primitives.
    steps = full_batches(data.train, config.batch_size, context.world, SearchError)
    return sorted(times[1:])[0] * steps


def export_stage(folder: Path, name: str, talk: Talk) -> tuple[Path, Path]:
    """Writes ONNX and TFLite files of a run, each compared with torch; kept files stay.

    Returns:
        Paths of the ONNX and the TFLite file.

    Raises:
        ExportError, BackendUnavailableError: a file cannot be written, or differs from torch.
        ProfilingError: the run names no data set.
    """
    place = folder / "exports"
    targets = [
        Target("onnx", "fp32", place / f"{name}-fp32.onnx"),
        Target("tflite", "fp32", place / f"{name}-fp32.tflite"),
    ]
    manifest = place / "manifest.json"
    if not manifest.exists():
        source = load_source(str(folder))
        if source.data is None:
            raise ProfilingError(f"{folder} names no data set: it is no run of the demo.")
        data = load_images(source.data, source.network)
        config = ExportConfig(resolution=source.network.arch.resolution, weights=source.weights)
        with phase("exporting", talk.quiet):
            files = export_network(source.network, targets, config, data)
        write_manifest(manifest, files, source.network, config)
    return targets[0].path, targets[1].path


def verify_stage(
    file: Path, table: LatencyTable, result: SearchResult, budget_s: float, talk: Talk
) -> Verification:
    """Measures an exported file beside the table's anchors, in a process of its own.

    Args:
        file: of the table's runtime.
        table: the table.
        result: the search's result, for target and prediction.
        budget_s: seconds for measuring.
        talk: how it tells what it does.

    Raises:
        ProfilingError, BackendUnavailableError: the file cannot be measured.
    """
    how = measuring_for(table, budget_s=budget_s, goal=0.006)
    with phase(f"measuring {file.name}", talk.quiet):
        measured = measure_for(table, how, files=[file], fresh=True)[0]
    return verification_of(result.target, result.predicted, measured)


def measure_stage(files: Sequence[Path], budget_s: float, talk: Talk) -> list[Measurement]:
    """Measures files of one runtime that no table is for, in a process of its own.

    Raises:
        ProfilingError, BackendUnavailableError: a file cannot be measured.
    """
    timing = TimingConfig(goal=0.01, budget_s=budget_s, spend=False)
    with phase(f"measuring {', '.join(file.name for file in files)}", talk.quiet):
        return measure_in_fresh_process(paths=files, how=Measuring(timing=timing))
