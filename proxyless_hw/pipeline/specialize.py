"""From images to a verified file: profile, calibrate, search, train, export, verify, report.

Each stage is skipped when it is done, and goes on where a killed process left it. ``stages.json``
says what each was made of; what has changed since then is made again, with what was made from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from proxyless_hw.errors import ExportError, InterruptedRunError, SearchError
from proxyless_hw.export.export import CALIBRATION_IMAGES
from proxyless_hw.pipeline.budget import TimeBudget
from proxyless_hw.pipeline.ingredients import Ingredients, gather
from proxyless_hw.pipeline.lengths import SearchLength, TrainLength
from proxyless_hw.pipeline.made_table import made_table
from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.pipeline.specialize_result import (
    REPORT,
    TRAIN_FOLDER,
    SpecializeResult,
    measured_fields,
)
from proxyless_hw.pipeline.specialized_files import measured_others, verified_part, written_files
from proxyless_hw.pipeline.stage_record import Stage, StageRecord
from proxyless_hw.pipeline.stages import (
    FLOAT_FILES,
    Talk,
    calibrate_stage,
    export_stage,
    search_stage,
    train_stage,
    verify_stage,
)
from proxyless_hw.predictors.calibration import calibration_path
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.judgement import judge_intervals
from proxyless_hw.report.report import write_report
from proxyless_hw.search.calibrate import FINALISTS_SHARE, WINNER_SHARE
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.result import SearchResult
from proxyless_hw.storage.locks import exclusive_lock
from proxyless_hw.tables.table import LatencyTable
from proxyless_hw.terminal.torchrun import launched_world_size
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.result import TrainResult
from proxyless_hw.units import format_duration

Value = TypeVar("Value")

TABLE: Final = "table.csv"
SEARCH_FOLDER: Final = "search"
STAGES: Final = (
    Stage("profile", (), (f"{TABLE.removesuffix('.csv')}*",)),
    Stage("calibrate", ("profile",), (calibration_path(TABLE).name,)),
    Stage("search", ("calibrate",), (SEARCH_FOLDER,)),
    Stage("train", ("search",), (TRAIN_FOLDER,)),
    Stage("export", ("train",), (f"{TRAIN_FOLDER}/exports",)),
    Stage("verify", ("export",), ("result.json",)),
)
TITLES: Final = {
    "profile": "the latency table",
    "calibrate": "calibrating the table on whole networks",
    "search": "searching",
    "train": "training the found network",
    "export": "writing ONNX, TFLite and int8 TFLite files, each compared with torch",
    "verify": "measuring the files in a fresh process",
    "report": "writing the report",
}
LEAST_EPOCHS: Final = (2, 4)
MOST_EPOCHS: Final = (25, 50)
"""Bounds of a search's warm-up and further epochs."""
FINALISTS: Final = 8
FEW_CALIBRATION_IMAGES: Final = 64
"""Images that the ranges of the int8 file come from when less than `LONG_S` is left: the quantiser
runs the model on each and keeps every tensor, which takes most of the time of the files."""
LONG_S: Final = 600.0
BATCH: Final = 64
"""The learning rates below are for this batch size and are scaled in proportion to it (Goyal et
al., 2017)."""
WARMUP_LR: Final = 0.1
SEARCH_LR: Final = 0.05
FRESH_LR: Final = 0.1
FINE_TUNING_LR: Final = 0.05


def specialize(
    config: SpecializeConfig | None = None,
    *,
    table: LatencyTable | str | Path | None = None,
    talk: Talk | None = None,
    **settings: Any,
) -> SpecializeResult:
    """Finds, trains, exports and verifies a network for a data set on a device.

    Args:
        config: all settings; those that are given by name take the place of its own.
        table: a table to take instead of profiling: an object, a path or a shipped name.
        talk: how it tells what it does; nothing by default.
        settings: fields of `SpecializeConfig`.

    Raises:
        SearchError: a setting is out of range, the folder holds something else, or the target
            cannot be reached.
        InterruptedRunError: Ctrl-C or SIGTERM; the same call goes on.
        ProxylessHwError: whatever stops a stage.

    Example:
        >>> import proxyless_hw as ph
        >>> found = ph.specialize(data_root="photos", output="runs/mine")  # doctest: +SKIP
        >>> found.verdict, found.path("tflite", "int8")  # doctest: +SKIP
    """
    if isinstance(table, str | Path):
        table, settings = None, {**settings, "table": str(table)}
    before = {} if config is None else config.to_dict()
    if config is not None and not isinstance(config, SpecializeConfig):
        raise SearchError(
            f"config must be a SpecializeConfig: received {type(config).__name__}. Give settings "
            "by name: ph.specialize(data_root=..., output=...)."
        )
    named = {name: str(v) if isinstance(v, Path) else v for name, v in settings.items()}
    # A table that is given as an object takes the place of one that the settings name.
    given = {**before, **named} | ({"table": None} if table is not None else {})
    chosen = SpecializeConfig.of(given, source="specialize")
    if launched_world_size() > 1:
        raise SearchError("specialize runs in one process: start it without torchrun.")
    folder = chosen.folder
    StageRecord.open(folder)  # a folder of something else is refused before anything is made
    try:
        with exclusive_lock(folder / ".lock", SearchError, f"folder {folder}"):
            record = StageRecord.open(folder)
            return _Work(chosen, record, table, talk or silent_talk()).run()
    except (KeyboardInterrupt, InterruptedRunError) as cause:
        raise InterruptedRunError(
            f"interrupted; what is finished is kept in {folder}. Go on: the same command."
        ) from cause


def silent_talk() -> Talk:
    """Tells nothing."""
    return Talk(lambda line: None, lambda title: nullcontext(), quiet=True)


@dataclass
class _Work:
    """One call of `specialize`."""

    config: SpecializeConfig
    record: StageRecord
    given: LatencyTable | None
    talk: Talk
    parts: Ingredients = field(init=False)
    time: TimeBudget = field(init=False)

    def run(self) -> SpecializeResult:
        config, say = self.config, self.talk.say
        self.time = TimeBudget(config.budget_s, self.record.spent_s)
        self.parts = parts = gather(config, self.given)
        self.record.drop_changed([(stage, parts.made_of[stage.name]) for stage in STAGES], say)
        self.time.spent_s = self.record.spent_s  # what is made again gets its time back
        say(
            f"{parts.images} training images of {parts.num_classes} classes; space "
            f"'{config.space}' at {parts.resolution} px; about "
            f"{format_duration(config.budget_s)} in all. Everything goes into {config.folder}; "
            "stopped, the same command goes on."
        )
        table = self._stage("profile", self._profile)
        if not parts.is_here:
            say(f"     {parts.why_not_here}")
        mape = self._stage("calibrate", self._calibrate)
        search = self._stage("search", self._search)
        trained = self._stage("train", self._train)
        refused = self._stage("export", self._export)
        result = self._stage("verify", lambda: self._verify(table, search, trained, mape, refused))
        self._head("report")
        write_report([config.folder / SEARCH_FOLDER, config.folder / TRAIN_FOLDER],
                     config.folder / REPORT)  # fmt: skip
        return result

    def _head(self, name: str, done: bool = False) -> None:
        number = list(TITLES).index(name) + 1
        left = "done before" if done else f"about {format_duration(self.time.left_s)} left"
        self.talk.say(f"{number}/{len(TITLES)}  {TITLES[name]} ({left})")

    def _stage(self, name: str, work: Callable[[], Value]) -> Value:
        """Does a stage, or takes what it has left; `work` does the one or the other."""
        done = self.record.is_done(name)
        self._head(name, done)
        if done:
            return work()
        self.record.begin(name, self.parts.made_of[name])
        begin = time.monotonic()
        try:
            value = work()
        finally:
            self.record.spend(name, time.monotonic() - begin)
        self.record.finish(name)
        return value

    @property
    def _table(self) -> Path:
        return self.config.folder / TABLE

    def _profile(self) -> LatencyTable:
        if self.record.is_done("profile"):
            return LatencyTable.load(self._table)
        budget_s = self.time.allot("profile")
        table = made_table(self.config, self.parts, self._table, budget_s, self.talk)
        judgement = judge_intervals(table)
        if judgement.grade == "poor":
            self.talk.say(f"     {judgement.sentence} It goes on with what there is.")
        return table

    def _search_config(self) -> SearchConfig:
        config, parts = self.config, self.parts
        scale = parts.batch_size / BATCH
        return SearchConfig(
            **config.data_settings(),
            table=str(self._table),
            space=config.space,
            predictor="lookup" if parts.is_here or not parts.missing else "auto",
            target_ms=config.target_ms,
            resolution=parts.resolution,
            num_classes=parts.num_classes,
            train_resolution=parts.resolution,
            batch_size=parts.batch_size,
            warmup_lr=WARMUP_LR * scale,
            lr=SEARCH_LR * scale,
            holdout=config.holdout,
            weights=config.weights,
            verify=parts.is_here,
            force=True,
            device=config.torch_device,
            seed=config.seed,
            output=str(config.folder / SEARCH_FOLDER),
            resume=True,
        )

    def _calibrate(self) -> float | None:
        """The error on whole networks after calibration."""
        if self.parts.is_here and not self.record.is_done("calibrate"):
            budget_s = self.time.allot("calibrate")
            calibrate_stage(self._search_config(), budget_s, self.talk)
        calibration = fit_predictor(LatencyTable.load(self._table)).calibration
        return None if calibration is None else calibration.loo_mape

    def _search(self) -> SearchResult:
        parts, side = self.parts, self.parts.resolution
        length = SearchLength(
            seconds=self.time.allot("search"),
            least=LEAST_EPOCHS,
            most=MOST_EPOCHS,
            resolutions=(*range(64, side, 32), side),
            images=parts.images,
            finalists=FINALISTS,
        )
        measuring = self.time.allot("finalists", now="search") / (FINALISTS_SHARE + WINNER_SHARE)
        config = replace(self._search_config(), verify_budget=measuring)
        return search_stage(config, length, self.talk)

    def _train(self) -> TrainResult:
        config, parts = self.config, self.parts
        searched = str(config.folder / SEARCH_FOLDER)
        rate = FRESH_LR if config.from_scratch else FINE_TUNING_LR
        training = TrainConfig(
            **config.data_settings(),
            arch=searched,
            weights=None if config.from_scratch else searched,
            train_resolution=parts.resolution,
            batch_size=parts.batch_size,
            lr=rate * parts.batch_size / BATCH,
            device=config.torch_device,
            seed=config.seed,
            output=str(config.folder / TRAIN_FOLDER),
            resume=True,
        )
        length = TrainLength(seconds=self.time.allot("train"), images=parts.images)
        return train_stage(training, length, self.talk)

    def _export(self) -> str | None:
        """Writes the files; says why int8 was refused, if it was."""
        folder, name = self.config.folder / TRAIN_FOLDER, self.config.folder.resolve().name
        ranges = CALIBRATION_IMAGES if self.time.left_s > LONG_S else FEW_CALIBRATION_IMAGES
        try:
            export_stage(folder, name, self.talk, (*FLOAT_FILES, ("tflite", "int8")), ranges)
        except ExportError as error:
            # The float files are worth having without it; what stops those is said again.
            export_stage(folder, name, self.talk, FLOAT_FILES)
            self.record.note("export", str(error))
        return self.record.note_of("export")

    def _verify(
        self,
        table: LatencyTable,
        search: SearchResult,
        trained: TrainResult,
        mape: float | None,
        refused: str | None,
    ) -> SpecializeResult:
        folder = self.config.folder
        if self.record.is_done("verify"):
            return SpecializeResult.read(folder)
        files = written_files(folder)
        found, part = None, None
        if self.parts.is_here:
            budget_s = self.time.allot("verify")
            part = verified_part(folder, files, table, search.architecture)
            found = verify_stage(part, table, search, budget_s / 2, self.talk)
            if table.metadata.get("device_kind") == "cpu":
                files = measured_others(folder, files, found, budget_s / 4, self.talk)
        result = SpecializeResult(
            folder=folder,
            target_ms=search.target,
            predicted_ms=search.predicted,
            **measured_fields(found, self.parts.why_not_here),
            verified_file=str(part.relative_to(folder)) if isinstance(part, Path) else None,
            accuracy=trained.metric,
            test_images=trained.test_images,
            epochs=trained.epochs,
            calibrated_mape=mape,
            files=files,
            refused=refused,
            seconds=round(self.time.used_s, 1),
        )
        result.save()
        return result
