"""Datasets of the user's own, any map-style one of torch, as parts of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from proxyless_hw.data.items import Failure, Form, Items, message_of, require_map_style
from proxyless_hw.data.random_streams import Stream, seeded
from proxyless_hw.data.split import Batch, DataSplit, EpochPart, split_indices
from proxyless_hw.errors import DataError

PARTS: Final = {Stream.TRAIN: "train", Stream.HOLDOUT: "holdout", Stream.TEST: "test"}


@dataclass(frozen=True, kw_only=True)
class ObjectSplit(DataSplit):
    """Items of a dataset of the user's.

    Attributes:
        dataset: map-style.
        indices: of the items that belong to this part; None: all.
        form: what every item has to be.
    """

    dataset: Dataset[Any]
    indices: Tensor | None
    form: Form

    def __len__(self) -> int:
        if self.indices is not None:
            return len(self.indices)
        return len(self.dataset)  # type: ignore[arg-type]

    def check_first(self) -> None:
        """Makes the first item of this part.

        Raises:
            DataError: the dataset cannot be used, or that item cannot.
        """
        part = PARTS[self.stream]
        require_map_style(self.dataset, part)
        if len(self):
            items = Items(self.dataset, part, self.form, (self.config.seed, self.stream))
            first = items[int(self._own(torch.zeros(1, dtype=torch.int64)))]
            if isinstance(first, Failure):
                raise DataError(message_of(part, first))

    def _own(self, positions: Tensor) -> Tensor:
        """Indices into the dataset of positions in this part."""
        return positions if self.indices is None else self.indices[positions]

    def _load(self, part: EpochPart) -> Iterator[Batch]:
        name = PARTS[self.stream]
        loader = DataLoader(
            Items(self.dataset, name, self.form, part.seed),
            batch_sampler=[self._own(chosen).tolist() for chosen in part.chosen.values()],
            num_workers=self.config.workers,
            collate_fn=list,
            # A private generator: the loader must not advance the global one.
            generator=seeded(*part.seed),
        )
        for items in loader:
            for item in items:
                if isinstance(item, Failure):
                    raise DataError(message_of(name, item))
            images = torch.stack([image for image, _ in items])
            targets = torch.stack([target for _, target in items])
            yield images.contiguous(memory_format=torch.channels_last), targets


def share(
    dataset: Dataset[Any], holdout: Dataset[Any] | float | None, seed: int
) -> tuple[Tensor | None, Tensor | None]:
    """Indices of the training items and of the held-out ones; None: all of their dataset.

    Raises:
        DataError: a share is no fraction of 1, or leaves one of the parts empty.
    """
    if holdout is None:
        return None, torch.empty(0, dtype=torch.int64)
    if not isinstance(holdout, float | int | str):
        return None, None
    count: int = len(dataset)  # type: ignore[arg-type]
    is_share = not isinstance(holdout, str) and 0 < holdout < 1
    chosen, held = split_indices(count, float(holdout) if is_share else 0.0, seed)
    if not len(chosen) or not len(held):
        raise DataError(
            "holdout must be a dataset, or a share of the training images between 0 and 1 that "
            f"leaves some in both parts: received {holdout!r} of {count} images."
        )
    return chosen, held


def type_name(dataset: Any) -> str:
    """Name of a dataset's class; of a subset that of what it is a subset of."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return type(dataset).__name__
