"""What identifies data that were given as an object: sizes, settings and a hash of some images."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from proxyless_hw.data.split import DataSplit

if TYPE_CHECKING:
    from proxyless_hw.data.base import DataSplits


def facts_of(data: DataSplits) -> dict[str, object]:
    """Plain values that two equal data sets have in common.

    The hashes are of the first batch of a part in the stored order; None where two passes give two
    different ones, because the dataset draws from a generator of its own.

    Raises:
        DataError: an image cannot be loaded.
    """
    config = data.train.config
    return {
        "name": data.name,
        "train": len(data.train),
        "holdout": len(data.holdout),
        "test": len(data.test),
        "batch_size": config.batch_size,
        "seed": config.seed,
        "resolution": data.resolution,
        "channels": data.channels,
        "class_names": list(data.class_names),
        "mean": None if data.mean is None else list(data.mean),
        "std": None if data.std is None else list(data.std),
        "first_train": first_hash(data.train),
        "first_holdout": first_hash(data.holdout),
        "first_test": first_hash(data.test),
    }


def first_hash(split: DataSplit) -> str | None:
    """A short hash of the first batch; None where it cannot be had twice."""
    one, other = _hash(split), _hash(split)
    return one if one == other else None


def _hash(split: DataSplit) -> str:
    found = hashlib.sha256()
    batches = split.batches(0, shuffle=False, augment=False, drop_last=False, every=1 + len(split))
    for images, targets in batches:
        found.update(images.contiguous().numpy().tobytes())
        found.update(targets.contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
