"""The files of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from proxyless_hw.errors import ProxylessHwError, TrainingError
from proxyless_hw.runs.folder import FileOfRun, RunFolder
from proxyless_hw.runs.run_network import TRAINED
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.train.config import TrainConfig

KIND = "train"


@dataclass(frozen=True, slots=True)
class TrainFolder(RunFolder):
    """Paths and small files of one training.

    `architecture` has the training shape too.
    """

    error: ClassVar[type[ProxylessHwError]] = TrainingError
    command: ClassVar[str] = "train"
    free: ClassVar[frozenset[str]] = TrainConfig.free()

    best = FileOfRun(TRAINED)
    """The weights that count: of the best epoch, averaged where there is an average."""

    def settings(self) -> JsonObject:
        """The settings the run began with.

        Raises:
            TrainingError: the folder is not that of a training.
        """
        document = self.read_json(self.config)
        settings = document.get("settings")
        if document.get("kind") != KIND or not isinstance(settings, dict):
            raise TrainingError(f"{self.path} is not the folder of a training.")
        return settings
