"""What a training gave, and its file form, result.json."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from proxyless_hw.errors import ProxylessHwError, TrainingError
from proxyless_hw.runs.result_fields import ResultFields
from proxyless_hw.runs.task_result import TaskResult
from proxyless_hw.storage.documents import JsonObject

if TYPE_CHECKING:
    from proxyless_hw.network.network import Network


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a training gave. Fields that a file lacks are None.

    Attributes:
        folder: the run folder.
        top1, top5: accuracy on the test images, in [0, 1]; None where the targets are no class
            labels, top-5 also with a loss of the user's.
        loss: mean loss on the test images.
        test_images: number of test images.
        best_epoch: the epoch whose weights count, from 0.
        validation_top1: accuracy on the validation images after it; None with a metric of the
            user's, whose value stands in `task`.
        epochs: epochs in all.
        parameters: of the network with the data's classes.
        macs: multiply-accumulates for one image at `resolution`.
        resolution: of the training images, in pixels.
        seconds: time spent on training.
        seconds_per_epoch: the same for one epoch.
        task: values of a metric of the user's; None for classification.
    """

    folder: Path
    top1: float | None
    top5: float | None
    loss: float | None
    test_images: int | None
    best_epoch: int | None
    validation_top1: float | None
    epochs: int | None
    parameters: int | None
    macs: int | None
    resolution: int | None
    seconds: float | None
    seconds_per_epoch: float | None
    task: TaskResult | None = None

    @property
    def metric(self) -> float:
        """What the training is for, on the test images; higher is better.

        The metric of the user's, or top-1 accuracy.
        """
        if self.task is not None:
            return self.task.test
        assert self.top1 is not None, "read from a file, it is checked"
        return self.top1

    @cached_property
    def network(self) -> Network:
        """The trained network in eval mode, read from the run folder.

        Raises:
            TrainingError: the folder is not there any more.
        """
        from proxyless_hw.train.load import load

        return load(self.folder)

    def to_json(self) -> JsonObject:
        """The object that result.json holds."""
        names = (item.name for item in fields(self) if item.name not in ("folder", "task"))
        task = {} if self.task is None else {"task": self.task.to_json()}
        return {**{name: getattr(self, name) for name in names}, **task}

    @classmethod
    def from_json(
        cls,
        document: object,
        folder: Path,
        error: type[ProxylessHwError] = TrainingError,
    ) -> TrainResult:
        """Reads what `to_json` gave.

        Args:
            document: the parsed file.
            folder: the run folder.
            error: what is raised.

        Raises:
            ProxylessHwError: (as `error`) a field is malformed, or the metric is missing.
        """
        read = ResultFields(document, str(folder / "result.json"), error)
        task = read.object("task")
        result = cls(
            **read.plain(cls),
            folder=folder,
            task=None if task is None else TaskResult.from_json(task),
        )
        if task is None:
            read.required("top1")
        return result
