"""How long a search and a training are, from their time and the measured time of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from proxyless_hw.search.config import SearchConfig
from proxyless_hw.train.config import TrainConfig

LEAST_BATCHES: Final = 8
"""Batches of images that are left where there is no time for a pass over all of them."""
EPOCHS_A_FINALIST: Final = 3
"""Ranking a finalist takes about a sixth of an epoch; so many epochs for each make it cheap."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SearchLength:
    """How long a search trains: as long as its time allows, within bounds.

    Attributes:
        seconds: time for the training.
        least, most: (warm-up, further) epochs at least and at most; between them both keep the
            ratio of `most`.
        resolutions: training resolutions to choose from, ascending; none leaves the setting's.
        enough: epochs that a larger one of them must leave time for.
        images: training images that there are; the search takes fewer where there is no time for
            the least number of epochs. None: it takes all, and more time.
        finalists: at most; None leaves the setting's.
    """

    seconds: float
    least: tuple[int, int] = (3, 6)
    most: tuple[int, int] = (8, 16)
    resolutions: tuple[int, ...] = ()
    enough: int = 24
    images: int | None = None
    finalists: int | None = None

    decided: ClassVar[tuple[str, ...]] = (
        "warmup_epochs",
        "epochs",
        "train_resolution",
        "limit",
        "finalists",
    )
    """Settings that the first start decides."""

    def epochs(self, seconds_per_epoch: float) -> tuple[int, int]:
        """Epochs of warm-up and after it that fit."""
        fitting = int(self.seconds / max(seconds_per_epoch, 1e-9))
        share = min(1.0, fitting / sum(self.most))
        warm_up, after = (round(share * count) for count in self.most)
        return max(self.least[0], warm_up), max(self.least[1], after)

    def to_try(self, config: SearchConfig) -> SearchConfig:
        """The settings of which an epoch is to be timed: the quickest that may be chosen."""
        if not self.resolutions:
            return config
        return replace(config, train_resolution=self.resolutions[0])

    def fitted(self, config: SearchConfig, seconds_per_epoch: float, say: Say) -> SearchConfig:
        """The settings with a length that fits the time.

        Args:
            config: from `to_try`.
            seconds_per_epoch: measured with it.
            say: told of what was chosen.
        """
        seconds = seconds_per_epoch
        if self.resolutions:
            first = self.resolutions[0]
            # Time goes with the pixels.
            cost = {side: seconds_per_epoch * (side / first) ** 2 for side in self.resolutions}
            fitting = [side for side in cost if cost[side] * self.enough <= self.seconds]
            side = max(fitting, default=first)
            config, seconds = replace(config, train_resolution=side), cost[side]
            if side < self.resolutions[-1]:
                say(
                    f"     the search sees images of {side} px instead of {self.resolutions[-1]}: "
                    f"there is no time for {self.enough} epochs at more"
                )
        limit, seconds = _images_in_time(
            self.images, config.batch_size, seconds, sum(self.least), self.seconds
        )
        if limit is not None:
            say(f"     the search uses {limit} of {self.images} training images: no time for more")
            config = replace(config, limit=limit)
        warm_up, epochs = self.epochs(seconds)
        if self.finalists is not None:
            most = max(2, (warm_up + epochs) // EPOCHS_A_FINALIST)
            config = replace(config, finalists=min(self.finalists, most))
        say(
            f"     an epoch takes about {seconds:.1f} s here: {warm_up} of warm-up, then {epochs} "
            f"of search, about {seconds * (warm_up + epochs):.0f} s"
        )
        return config.with_epochs(warm_up, epochs)


@dataclass(frozen=True, kw_only=True)
class TrainLength:
    """How long a training is.

    Attributes:
        seconds: time for it.
        least, most: epochs at least and at most.
        images: training images that there are, as in `SearchLength`.
    """

    seconds: float
    least: int = 3
    most: int = 120
    images: int | None = None

    decided: ClassVar[tuple[str, ...]] = ("epochs", "limit")

    def fitted(self, config: TrainConfig, seconds_per_epoch: float, say: Say) -> TrainConfig:
        """The settings with as many epochs as fit the time; as `SearchLength.fitted`."""
        limit, seconds = _images_in_time(
            self.images, config.batch_size, seconds_per_epoch, self.least, self.seconds
        )
        if limit is not None:
            config = replace(config, limit=limit)
            say(
                f"     no time for {self.least} passes over all {self.images} training images: "
                f"{limit} are used. A larger --budget uses more."
            )
        fitting = int(self.seconds / max(seconds, 1e-9))
        epochs = min(self.most, max(self.least, fitting))
        say(
            f"     an epoch takes about {seconds:.1f} s here: {epochs} epochs, about "
            f"{seconds * epochs:.0f} s"
        )
        return replace(config, epochs=epochs)


def _images_in_time(
    images: int | None, batch_size: int, seconds: float, epochs: int, time_s: float
) -> tuple[int | None, float]:
    """Number of images with which `epochs` fit the time, and what an epoch then takes.

    The number is None where all of them fit, or where none may be left out.
    """
    if images is None or seconds * epochs <= time_s:
        return None, seconds
    fitting = max(LEAST_BATCHES * batch_size, int(images * time_s / (seconds * epochs)))
    return (fitting, seconds * fitting / images) if fitting < images else (None, seconds)


def decided(length: SearchLength | TrainLength, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the first start has decided, from the settings of a run that goes on."""
    return {name: settings[name] for name in length.decided if name in settings}
