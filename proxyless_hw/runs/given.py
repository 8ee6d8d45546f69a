"""What a run is given from Python beside its settings: the part that every run has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from proxyless_hw.runs.objects import GivenData
from proxyless_hw.runs.settings import RunSettings
from proxyless_hw.runs.task import CLASSIFICATION, Task
from proxyless_hw.storage.documents import JsonObject

D = TypeVar("D", bound=GivenData)


@dataclass(frozen=True, kw_only=True)
class RunObjects(Generic[D]):
    """Objects in place of names; None where none was given. A subclass adds its own.

    Attributes:
        kinds: argument to the classes that its object may be of.
        data: the data.
        task: loss and metric.
    """

    kinds: ClassVar[Mapping[str, tuple[type, ...]]]

    data: D | None = None
    task: Task | None = None

    @property
    def task_or_default(self) -> Task:
        """The task; classification where none was given."""
        return CLASSIFICATION if self.task is None else self.task

    def check_kinds(self, settings: type[RunSettings], config: object = None) -> None:
        """Checks that settings and objects are of their kind.

        Args:
            settings: the class of the run's settings.
            config: the settings; not checked when None.

        Raises:
            ProxylessHwError: as the settings' `error`: one is not; the message says where names go.
        """
        if config is not None and not isinstance(config, settings):
            raise settings.error(
                f"settings are a {settings.__name__}: received {type(config).__name__}. Write "
                f"{settings.__name__}(epochs=..., ...)."
            )
        for name, kind in self.kinds.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                listed = " or ".join(item.__name__ for item in kind)
                raise settings.error(
                    f"{name} must be a {listed}: received {type(value).__name__}. Names go into "
                    f"the settings: {settings.__name__}(...)."
                )

    def facts(self) -> dict[str, JsonObject]:
        """What the run folder keeps of each object that was given."""
        found: dict[str, JsonObject] = {}
        if self.data is not None:
            found["data"] = self.data.facts()
        if self.task is not None:
            found["task"] = dict(self.task.names())
        return found

    def names(self) -> list[str]:
        """Names of the arguments that were given."""
        return [name for name, value in vars(self).items() if value is not None]
