"""What `specialize` leaves, and its file form ``result.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

from proxyless_hw.errors import SearchError
from proxyless_hw.predictors.verdict import VERDICTS, Verdict, Verification
from proxyless_hw.runs.result_fields import Interval, ResultFields, ResultRow
from proxyless_hw.storage.documents import JsonObject, parse_json, read_text
from proxyless_hw.storage.files import write_text_atomically

if TYPE_CHECKING:
    from proxyless_hw.network.network import Network

RESULT: Final = "result.json"
SCHEMA: Final = "proxyless-hw-specialize/1"
REPORT: Final = "report.html"
TRAIN_FOLDER: Final = "train"
WAY_ON: Final = "Delete the file, and give the same command again."


@dataclass(frozen=True, kw_only=True)
class SpecializedFile(ResultRow):
    """One model file.

    Attributes:
        file: its path, within the folder of the result.
        format: ``onnx`` or ``tflite``.
        precision: ``fp32`` or ``int8``.
        bytes: its size.
        accuracy: top-1 of the file on the test images, in [0, 1].
        top1_agreement: share of them on which it gives the class that torch gives.
        median_ms, ci_low_ms, ci_high_ms: its latency on this CPU as the machine was, with
            the 95% interval; one thread, but the table's threads for the verified file. None
            where it was not measured.
    """

    file: str
    format: str
    precision: str
    bytes: int
    accuracy: float | None
    top1_agreement: float | None
    median_ms: float | None = None
    ci_low_ms: float | None = None
    ci_high_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class SpecializeResult:
    """What `specialize` leaves. Latencies are milliseconds.

    Attributes:
        folder: everything that was made.
        target_ms, predicted_ms: of the search; the prediction is the table's.
        measured_ms: of `verified_file`, as the machine was; None where the table's device is not
            here.
        table_speed_ms: the same at the speed that the machine had when the table was made; None
            for a table without anchors.
        interval_ms: 95% interval of the value that the verdict was taken from.
        verdict: ``agrees``, ``undecided``, ``missed``; None where nothing was measured.
        sentence: target, prediction, measurement and verdict in words, or why nothing was verified.
        verified_file: path within the folder of the file that the verdict is about; None where the
            network itself was measured, or nothing.
        accuracy: top-1 of the trained network on the test images, in [0, 1].
        test_images: their number.
        epochs: of the training.
        calibrated_mape: error of the table on whole networks after calibration; None without.
        files: the model files.
        refused: why the int8 file was not kept; None where it was.
        seconds: of all stages.
    """

    folder: Path
    target_ms: float
    predicted_ms: float
    measured_ms: float | None
    table_speed_ms: float | None
    interval_ms: Interval | None
    verdict: Verdict | None
    sentence: str
    verified_file: str | None
    accuracy: float
    test_images: int | None
    epochs: int | None
    calibrated_mape: float | None
    files: tuple[SpecializedFile, ...]
    refused: str | None
    seconds: float

    @cached_property
    def network(self) -> Network:
        """The trained network, in eval mode.

        Raises:
            TrainingError: the folder is not there any more.
        """
        from proxyless_hw.train.load import load

        return load(self.folder / TRAIN_FOLDER)

    @property
    def report(self) -> Path:
        """The page that shows search and training."""
        return self.folder / REPORT

    def path(self, file_format: str, precision: str) -> Path | None:
        """Path of a model file, or None if that file was not written."""
        for file in self.files:
            if (file.format, file.precision) == (file_format, precision):
                return self.folder / file.file
        return None

    def problems(self) -> list[tuple[str, str]]:
        """``error`` or ``warning``, and a sentence: a target that is missed, a refused file."""
        found = []
        if self.verdict in ("missed", "undecided"):
            found.append(("error" if self.verdict == "missed" else "warning", self.sentence))
        if self.refused is not None:
            found.append(("error", self.refused))
        return found

    def accuracy_of(self, precision: str) -> float | None:
        """Accuracy of the first file of a precision, or None if no such file was written."""
        return next((file.accuracy for file in self.files if file.precision == precision), None)

    def to_json(self) -> JsonObject:
        """The JSON form, with the keys of `verify` for what was measured."""
        values = asdict(self)
        del values["folder"]
        return {
            "schema": SCHEMA,
            "run": str(self.folder),
            "report": str(self.report),
            **values,
            "interval_ms": None if self.interval_ms is None else list(self.interval_ms),
            "int8_accuracy": self.accuracy_of("int8"),
            "files": [asdict(file) for file in self.files],
        }

    def save(self) -> None:
        """Writes result.json into the folder.

        Raises:
            SearchError: the place cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n"
        write_text_atomically(self.folder / RESULT, text, SearchError)

    @classmethod
    def read(cls, folder: Path) -> SpecializeResult:
        """Reads the result of a folder.

        Raises:
            SearchError: result.json is missing or malformed.
        """
        path = folder / RESULT
        document = parse_json(read_text(path, SearchError, RESULT), SearchError, str(path))
        read = ResultFields(document, str(path), SearchError, next_step=WAY_ON)
        read.schema(SCHEMA)
        verdict = read.words("verdict")
        return cls(
            **read.plain(cls),
            folder=folder,
            verdict=None if verdict is None else read.choice("verdict", VERDICTS),
            files=tuple(map(SpecializedFile.from_json, read.objects("files"))),
        )


class MeasuredFields(TypedDict):
    """The fields of a result that a verification fills. See `SpecializeResult`."""

    measured_ms: float | None
    table_speed_ms: float | None
    interval_ms: Interval | None
    verdict: Verdict | None
    sentence: str


def measured_fields(found: Verification | None, why_not: str) -> MeasuredFields:
    """The fields of a result that a verification fills.

    Args:
        found: the verification; None where nothing was measured.
        why_not: the sentence for that.
    """
    if found is None:
        return {
            "measured_ms": None,
            "table_speed_ms": None,
            "interval_ms": None,
            "verdict": None,
            "sentence": why_not,
        }
    speed = found.measured.table_speed
    _, low, high = found.decisive
    return {
        "measured_ms": found.measured.median,
        "table_speed_ms": None if speed is None else speed.median,
        "interval_ms": (low, high),
        "verdict": found.verdict,
        "sentence": found.sentence(),
    }
