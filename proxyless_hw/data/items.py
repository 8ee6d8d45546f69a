"""One item of a dataset of the user's: how it is made, and what it has to be."""

from __future__ import annotations

import random
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset

from proxyless_hw.data.random_streams import Stream, stream_seed
from proxyless_hw.errors import DataError

MAX_OUTPUTS: Final = 65536
MAX_SIDE: Final = 8192


class UnusableItemError(Exception):
    """What is wrong with one item."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that could not be had; it travels from a worker to the run in place of the item."""

    index: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """What every item has to be, and what is done to its image.

    Attributes:
        num_classes: classes, or outputs of a head that is no classifier.
        channels: of every image.
        side: height and width of the images after `resize`.
        target: type and shape of every target; None while it is not known.
        mean, std: per channel; None: images are taken as they are.
        resize: side in pixels to which images are scaled; None: they have it already.
    """

    num_classes: int
    channels: int = 0
    side: int = 0
    target: tuple[torch.dtype, tuple[int, ...]] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | None = None

    @classmethod
    def of(
        cls,
        dataset: Dataset[Any],
        num_classes: int,
        *,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        resize: int | None,
    ) -> Form:
        """The form of a dataset's first item.

        Raises:
            DataError: it cannot be used, or the values do not fit it.
        """
        require_whole("num_classes", num_classes, MAX_OUTPUTS)
        if resize is not None:
            require_whole("resize", resize, MAX_SIDE)
        require_map_style(dataset, "train")
        unknown = cls(num_classes=num_classes, resize=resize)
        first = Items(dataset, "train", unknown, (0, Stream.TRAIN))[0]
        if isinstance(first, Failure):
            raise DataError(message_of("train", first))
        image, target = first
        channels, height, width = image.shape
        if height != width:
            raise DataError(
                f"images must be square: item 0 of the train dataset is {channels} x {height} x "
                f"{width}. Crop them, or scale them: resize=SIDE."
            )
        return replace(
            unknown,
            channels=channels,
            side=height,
            target=(target.dtype, tuple(target.shape)),
            mean=_per_channel("mean", mean, std, channels),
            std=_per_channel("std", std, mean, channels),
        )

    def names(self, given: Sequence[str] | None) -> tuple[str, ...]:
        """One name per class.

        Raises:
            DataError: another number of names is given.
        """
        if given is None:
            return tuple(str(number) for number in range(self.num_classes))
        listed = isinstance(given, Sequence) and not isinstance(given, str)
        if not listed or len(given) != self.num_classes:
            raise DataError(
                f"class_names must be {self.num_classes} names, one per class: received "
                f"{repr(given)[:100]}."
            )
        return tuple(str(name) for name in given)

    def fitted(self, item: Any) -> tuple[Tensor, Tensor]:
        """An item as image and target of this form.

        Returns:
            The image (channels, side, side), float32, and the target, float32 or int64.

        Raises:
            UnusableItemError: it is of another form.
        """
        if not isinstance(item, tuple | list) or len(item) != 2:
            received = f"{len(item)} values" if isinstance(item, tuple | list) else _kind(item)
            raise UnusableItemError(f"an item is a pair (image, target): received {received}.")
        return self._image(item[0]), self._target(item[1])

    def _image(self, image: Any) -> Tensor:
        if not isinstance(image, Tensor) or not image.is_floating_point() or image.dim() != 3:
            raise UnusableItemError(
                f"an image is a float tensor (channels, height, width): received {_kind(image)}. "
                "torchvision.transforms.ToTensor makes one."
            )
        if self.resize is not None and image.shape[1:] != (self.resize, self.resize):
            size = (self.resize, self.resize)
            image = functional.interpolate(
                image[None].float(), size, mode="bilinear", antialias=True
            )[0]
        shape = (self.channels, self.side, self.side)
        if self.channels and tuple(image.shape) != shape:
            raise UnusableItemError(
                f"all images have the shape of the first, {shape}: received {tuple(image.shape)}. "
                "Scale them: resize=SIDE, or change the dataset."
            )
        pixels: Tensor = image.float()
        if self.mean is None or self.std is None:
            return pixels
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return (pixels - mean[:, None, None]) / std[:, None, None]

    def _target(self, value: Any) -> Tensor:
        try:
            target = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise UnusableItemError(
                f"a target is a class label, or floats for a loss: received {_kind(value)}."
            ) from None
        if target.is_complex():
            raise UnusableItemError("a target is a class label, or floats: received complex ones.")
        target = target.float() if target.is_floating_point() else target.long()
        if target.dim() == 0 and target.dtype == torch.int64:
            label = int(target)
            if not 0 <= label < self.num_classes:
                raise UnusableItemError(
                    f"labels lie between 0 and {self.num_classes - 1} (num_classes is "
                    f"{self.num_classes}): received {label}. A target that is no class is a float."
                )
        found = (target.dtype, tuple(target.shape))
        if self.target is not None and found != self.target:
            raise UnusableItemError(
                f"all targets are like the first, {_form(*self.target)}: received {_form(*found)}."
            )
        return target


@dataclass(frozen=True)
class Items(Dataset[Any]):
    """Makes single items of a dataset, each under seeds of its own, whichever worker makes it."""

    dataset: Dataset[Any]
    part: str
    form: Form
    seed: tuple[int, ...]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | Failure:
        with seeded_generators(stream_seed(*self.seed, index)):
            try:
                return self.form.fitted(self.dataset[index])
            except UnusableItemError as cause:
                return Failure(index, str(cause))
            except Exception as cause:  # noqa: BLE001 -- the dataset is not ours: all it may raise
                place = traceback.extract_tb(cause.__traceback__)[-1]
                words = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
                return Failure(index, f"{words} ({place.filename}, line {place.lineno}).")


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """Within it the global generators of torch (CPU), numpy and `random` begin at a seed.

    Afterwards they are where they were.
    """
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


def require_map_style(dataset: Any, part: str) -> None:
    """Checks that a dataset has a length and is not empty.

    Raises:
        DataError: it is no map-style dataset, or an empty one.
    """
    if isinstance(dataset, DataLoader):
        raise DataError(
            f"{part} must be a dataset: received a DataLoader. Give its dataset; batches are made "
            "here, so that a run can be resumed."
        )
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise DataError(
            f"{part} must be a map-style dataset, with __len__ and __getitem__: received "
            f"{_kind(dataset)}. An iterable one cannot be resumed within an epoch."
        )
    try:
        count = len(dataset)
    except TypeError:
        raise DataError(
            f"{part} must have a length: {_kind(dataset)} has no __len__. Add one."
        ) from None
    if count < 1:
        raise DataError(f"{part} must hold an image at least: received an empty {_kind(dataset)}.")


def message_of(part: str, failure: Failure) -> str:
    """The message for an item that cannot be used."""
    return f"item {failure.index} of the {part} dataset cannot be used: {failure.reason}"


def require_whole(name: str, value: Any, most: int) -> None:
    """Checks a whole number from 1 on.

    Raises:
        DataError: the value is not a whole number, or is out of range.
    """
    if type(value) is not int or not 1 <= value <= most:
        raise DataError(f"{name} must be a whole number from 1 to {most}: received {value!r}.")


def _per_channel(
    name: str, values: Sequence[float] | None, other: Sequence[float] | None, channels: int
) -> tuple[float, ...] | None:
    if values is None and other is None:
        return None
    listed = isinstance(values, Sequence | np.ndarray | Tensor) and not isinstance(values, str)
    found = tuple(map(float, values)) if values is not None and listed else ()
    good = all(np.isfinite(value) and (name == "mean" or value > 0) for value in found)
    if len(found) != channels or not good:
        raise DataError(
            f"mean and std go together, one number per channel ({channels}), std above 0: received "
            f"{name} {repr(values)[:100]}."
        )
    return found


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return _form(value.dtype, tuple(value.shape))
    return f"{type(value).__name__}"


def _form(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"a tensor {str(dtype).removeprefix('torch.')} of shape {shape}"
