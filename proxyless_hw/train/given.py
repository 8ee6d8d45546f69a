"""Objects that a training is given from Python where its settings want names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from proxyless_hw.data.base import DataSplits
from proxyless_hw.data.load import load_data
from proxyless_hw.errors import TrainingError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.runs.given import RunObjects
from proxyless_hw.runs.objects import (
    GIVEN,
    choose_object,
    refuse_unused,
    tensors_hash,
    text_hash,
    with_data,
)
from proxyless_hw.runs.task import Task, are_labels
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.train.config import TrainConfig
from proxyless_hw.train.load import data_config

MIXED = ("mixup", "cutmix")
"""Settings that mix the labels of two images."""


@dataclass(frozen=True, kw_only=True)
class TrainObjects(RunObjects[DataSplits]):
    """What `run_training` was given beside its settings; None where it was not.

    Attributes:
        architecture: what is trained.
        weights: what it starts from.
    """

    kinds: ClassVar[Mapping[str, tuple[type, ...]]] = {
        "architecture": (Architecture,),
        "weights": (nn.Module, Mapping),
        "data": (DataSplits,),
        "task": (Task,),
    }

    architecture: Architecture | None = None
    weights: nn.Module | Mapping[str, Tensor] | None = None

    def settle(self, config: TrainConfig) -> TrainConfig:
        """The settings that hold with these objects.

        Raises:
            TrainingError: something is given twice and differs, does not go together, or nothing
                says what to train.
        """
        if self.architecture is not None:
            same = None
            if config.arch not in (None, GIVEN):
                same = self.architecture == load_architecture(config.arch)
            config = choose_object(config, "arch", same)
        elif config.arch is None:
            raise TrainingError(
                "name what to train: arch=... in the settings (a zoo name, a file, a run folder), "
                "or give architecture=..."
            )
        if self.weights is not None:
            config = choose_object(config, "weights", None if config.weights is None else False)
        if self.data is not None:
            config = with_data(config, self.data)
        refuse_unused(config, self.task_or_default, ["label_smoothing", *MIXED])
        return config

    def chosen_architecture(self, config: TrainConfig) -> Architecture:
        """The architecture: the object, or what the settings name.

        Raises:
            ArchitectureError: it cannot be read.
        """
        if self.architecture is not None:
            return self.architecture
        assert config.arch is not None, "checked by settle"
        return load_architecture(config.arch)

    def chosen_data(self, config: TrainConfig) -> DataSplits:
        """The data: the object, or what the settings name.

        Raises:
            DataError: they cannot be loaded.
            TaskError: loss or metric cannot take the targets.
            TrainingError: images are to be mixed whose targets are no class labels.
        """
        if self.data is None:
            return load_data(data_config(config))
        targets = self.data.first_targets()
        self.task_or_default.require_usable(targets)
        mixed = [name for name in MIXED if getattr(config, name)]
        if mixed and not are_labels(targets):
            raise TrainingError(
                f"images are mixed with their class labels: received targets of another kind with "
                f"{' and '.join(mixed)}. Leave the setting out."
            )
        return self.data

    def tensors(self) -> Mapping[str, Tensor] | None:
        """The weights by name."""
        weights = self.weights
        return weights.state_dict() if isinstance(weights, nn.Module) else weights

    def facts(self) -> dict[str, JsonObject]:
        found: dict[str, JsonObject] = {}
        if self.architecture is not None:
            plain = replace(self.architecture, provenance={}, training=None)
            found["architecture"] = {"hash": text_hash(plain.to_json())}
        tensors = self.tensors()
        if tensors is not None:
            found["weights"] = {"tensors": len(tensors), "hash": tensors_hash(tensors)}
        return {**found, **super().facts()}
