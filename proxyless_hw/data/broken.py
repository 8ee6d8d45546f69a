"""Unreadable images: each is named once, and too many of them are an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proxyless_hw.errors import DataError
from proxyless_hw.terminal.notices import Notice, notice

FEW: Final = 10
"""Unreadable images that any data set may have when no limit is given."""

SHARE: Final = 0.01
"""Share of unreadable images that a large data set may have when no limit is given."""

_LISTED: Final = 20


class BrokenImageWarning(Notice):
    """An image of a folder cannot be read and is skipped."""


def unusable_limit(value: object) -> str | None:
    """Returns why a value cannot be ``max_broken``; None if it can."""
    if value is None or (type(value) is int and value >= 0):
        return None
    if type(value) is float and 0 <= value <= 1:
        return None
    return "must be a whole number of images, or a share of them from 0.0 to 1.0"


def broken_limit(max_broken: int | float | None, images: int) -> int:
    """How many images may be unreadable.

    Args:
        max_broken: that number (int), a share of the images (float), or None: 1% of them, and at
            least `FEW`.
        images: images in the whole set.
    """
    if max_broken is None:
        return max(FEW, int(SHARE * images))
    if isinstance(max_broken, int):
        return max_broken
    return int(max_broken * images + 1e-9)  # 0.29 of 100 are 29


@dataclass
class BrokenImages:
    """The unreadable images so far, shared by the splits of one data set.

    Attributes:
        limit: how many may be passed over.
        images: how many there are in all splits.
        reasons: path to what is wrong with it.
    """

    limit: int
    images: int
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, reason: str) -> None:
        """Notes one image and warns about it the first time.

        Raises:
            DataError: the limit is passed; the images are named.
        """
        if path in self.reasons:
            return
        self.reasons[path] = reason
        count = len(self.reasons)
        if count <= self.limit:
            notice(
                f"image {path} cannot be read and is passed over ({reason}); {count} so far, at "
                f"most {self.limit}.",
                BrokenImageWarning,
            )
            return
        listed = [f"  {name}: {why}" for name, why in self.reasons.items()][-_LISTED:]
        if count > _LISTED:
            listed.insert(0, f"  {count - _LISTED} named before, and")
        raise DataError(
            f"more than {self.limit} of {self.images} images cannot be read:\n"
            + "\n".join(listed)
            + "\nRepair or remove them, or allow more: --max-broken NUMBER, or a share such as 5%."
        )
