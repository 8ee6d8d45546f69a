"""Objects that a run was given from Python where its settings want names.

No file holds them. The run folder keeps facts of each (names, sizes, hashes), so that a resumption
can tell what has to be given again, and whether it is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from proxyless_hw.storage.documents import JsonObject

if TYPE_CHECKING:
    from torch import Tensor

    from proxyless_hw.errors import ProxylessHwError
    from proxyless_hw.runs.folder import RunFolder
    from proxyless_hw.runs.settings import RunSettings
    from proxyless_hw.runs.task import Task

GIVEN: Final = "given as an object"
"""What a setting holds in place of a name."""

METRIC: Final = "metric"
"""A fact that may change: see `check_same_metric`."""

DATA_FIELDS: Final[Mapping[str, str]] = {
    "data": "name",
    "data_root": "root",
    "limit": "limit",
    "train_resolution": "resolution",
    "batch_size": "batch_size",
    "holdout": "holdout",
    "workers": "workers",
    "max_broken": "max_broken",
    "augment": "augment",
}
"""Settings of a run that are the data's to say, with their names there."""


class GivenData(Protocol):
    """See `proxyless_hw.data.base.DataSplits`."""

    def settings(self) -> Mapping[str, object]:
        """How it is fed, by the names of its settings."""


S = TypeVar("S", bound="RunSettings")


def with_data(config: S, data: GivenData) -> S:
    """Settings for data that were given as an object: what the data say holds.

    A setting at its default counts as not given.

    Raises:
        ProxylessHwError: as the settings' `error`: a setting says something else than the data.
    """
    own, default = data.settings(), defaults(config)
    for name, key in DATA_FIELDS.items():
        if name not in default:
            continue
        asked = getattr(config, name)
        if asked in (default[name], own.get(key), GIVEN):
            continue
        raise config.error(
            f"the data given as an object say {name} themselves ({own.get(key, 'not known')!r}): "
            f"received {asked!r} in the settings. Leave it out there, or change the data."
        )
    batch_size = own["batch_size"]
    assert isinstance(batch_size, int), "every split has one"
    return replace(config, data=GIVEN, batch_size=batch_size)


def refuse_unused(config: RunSettings, task: Task, names: Iterable[str]) -> None:
    """Refuses settings that belong to cross entropy where the loss is the user's.

    A setting at its default counts as not given; it has no effect then.

    Raises:
        ProxylessHwError: as the settings' `error`: one of them is asked for.
    """
    if task.has_cross_entropy:
        return
    default = defaults(config)
    for name in names:
        value = getattr(config, name)
        if value and value != default[name]:
            raise config.error(
                f"{name} is a setting of cross entropy, the built-in loss: received {value:g} with "
                f"the loss '{task.names()['loss']}'. Leave it out, or make it part of the loss."
            )


def defaults(config: RunSettings) -> dict[str, object]:
    """Default of every setting of a configuration's class."""
    return {item.name: item.default for item in fields(config)}


def choose_object(config: S, name: str, same: bool | None) -> S:
    """Settings in which an object takes the place of a name.

    Args:
        config: the settings.
        name: the setting that names such a thing.
        same: whether the thing named there is the object; None where it is at its default.

    Raises:
        ProxylessHwError: as the settings' `error`: two different ones are given.
    """
    if same is False:
        raise config.error(
            f"{name} is given twice, and the two differ: {name}={getattr(config, name)!r} in the "
            f"settings, and an object. Leave one of the two out."
        )
    changes: dict[str, Any] = {name: GIVEN}
    return replace(config, **changes)


def check_all_given(folder: RunFolder, names: Iterable[str]) -> None:
    """Checks that no object is missing with which a run began.

    Args:
        folder: of the run.
        names: of the arguments that are objects now.

    Raises:
        ProxylessHwError: as the folder's `error`: one is missing.
    """
    kept = folder.objects()
    missing = [name for name in kept if name not in set(names)]
    if missing:
        listed = ", ".join(f"{name}=..." for name in missing)
        facts = "; ".join(f"{name}: {in_words(kept[name])}" for name in missing)
        raise folder.error(
            f"{folder.path} was begun with objects, which no file holds ({facts}). Give them "
            f"again, from Python: {listed}, with resume=True in the settings."
        )


def check_same_objects(folder: RunFolder, given: Mapping[str, JsonObject]) -> None:
    """Checks that a resumption is given the objects that the run began with.

    Args:
        folder: of the run.
        given: facts of the objects, by the name of their argument.

    Raises:
        ProxylessHwError: as the folder's `error`: one is missing, new or another.
    """
    check_all_given(folder, given)
    check_facts(folder, given)


def check_facts(folder: RunFolder, given: Mapping[str, JsonObject]) -> None:
    """Checks that objects are those that a run began with; some may be missing.

    Args:
        folder: of the run.
        given: facts of the objects, by the name of their argument.

    Raises:
        ProxylessHwError: as the folder's `error`: one is new or another.
    """
    kept = folder.objects()
    for name, facts_now in given.items():
        if name not in kept:
            raise folder.error(
                f"{folder.path} was begun without an object for {name}: received "
                f"{in_words(facts_now)}. Leave it out, or choose another output."
            )
        for key, value in facts_now.items():
            if key != METRIC and kept[name].get(key) != value:
                raise folder.error(
                    f"{folder.path} was begun with another object for {name}: {key} was "
                    f"{kept[name].get(key)!r}, received {value!r}. Give the same one again, or "
                    "choose another output."
                )


class Images(Protocol):
    """What of a data set a network's input has to fit."""

    @property
    def name(self) -> str:
        """Name of the data set."""

    @property
    def channels(self) -> int:
        """Channels of every image."""


def check_channels(images: Images, channels: int, what: str, error: type[ProxylessHwError]) -> None:
    """Checks that a network takes the channels of the images.

    Args:
        images: the data set.
        channels: of the network's input.
        what: names the network or space in the message.

    Raises:
        ProxylessHwError: as `error`: it takes another number.
    """
    if images.channels != channels:
        raise error(
            f"images have the channels that the network takes: {images.name} has "
            f"{images.channels}, {what} takes {channels}. Repeat grey ones with "
            f"image.expand(3, -1, -1), or give the space `input: {{channels: {images.channels}}}`."
        )


def check_same_metric(folder: RunFolder, task: Task) -> None:
    """Checks that a metric whose values the run has used already is still the same.

    Raises:
        ProxylessHwError: as the folder's `error`: it is another.
    """
    was = folder.objects().get("task", {}).get(METRIC)
    if was is not None and was != task.metric_name:
        raise folder.error(
            f"{folder.path} has chosen by the metric '{was}' already: received "
            f"'{task.metric_name}'. Give the same one again, or choose another output."
        )


def in_words(facts: Mapping[str, object]) -> str:
    """The facts that say something to people, on one line."""
    told = {
        key: value
        for key, value in facts.items()
        if isinstance(value, str | int) and key != "hash" and not key.startswith("first_")
    }
    return ", ".join(f"{key} {value}" for key, value in told.items())[:200]


def text_hash(text: str) -> str:
    """A short hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """A short hash of named tensors."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).float().numpy().tobytes())
    return found.hexdigest()[:16]
