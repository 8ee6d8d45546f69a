"""Which axis of a model's input is the batch, and which are height and width.

- The batch is an axis named like one (``N``, ``batch``, ``batch_size``), else the first axis of an
  input of two or more axes, unless that axis is named otherwise (``height``, ``seq_len``) or the
  input looks like one image without a batch (3 x H x H).
- Height and width are axes named so, else those beside the channels of an input of four axes;
  channels are an axis of 1, 3 or 4, or the only fixed one of the last three.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from proxyless_hw.profilers.model_inputs import ModelInput, Size

IMAGE_CHANNELS: Final = (1, 3, 4)
_BATCH_NAME: Final = re.compile(r"n|b|bs|.*batch.*", re.IGNORECASE)
_HEIGHT_NAME: Final = re.compile(r"h|.*height.*", re.IGNORECASE)
_WIDTH_NAME: Final = re.compile(r"w|.*width.*", re.IGNORECASE)
_OTHER_NAME: Final = re.compile(
    r"[hwcdtsl]|.*(height|width|channel|depth|seq|len|time|token|frame|point|box|num_|count).*",
    re.IGNORECASE,
)


def batch_axis(item: ModelInput) -> int | None:
    """Which axis of an input is the batch (see this module's description)."""
    if item.sizes is None:
        return None
    names = [size if isinstance(size, str) else None for size in item.sizes]
    named = [index for index, name in enumerate(names) if name and _BATCH_NAME.fullmatch(name)]
    if named:
        return named[0]
    first = names[0] if names else None
    if len(names) < 2 or _is_unbatched_image(item.sizes):
        return None
    return None if first is not None and _OTHER_NAME.fullmatch(first) else 0


def image_axes(item: ModelInput) -> tuple[int, int] | None:
    """Which axes of an input are height and width (see this module's description)."""
    sizes = item.sizes or ()
    height = _named(sizes, _HEIGHT_NAME)
    width = _named(sizes, _WIDTH_NAME)
    if height is not None and width is not None:
        return height, width
    if len(sizes) == 3 and _is_unbatched_image(sizes):
        return (1, 2) if sizes[0] in IMAGE_CHANNELS else (0, 1)
    if len(sizes) != 4:
        return None
    first, last = _may_be_channels(sizes, 1), _may_be_channels(sizes, 3)
    if first == last:
        return None
    return (2, 3) if first else (1, 2)


def _may_be_channels(sizes: Sequence[Size], axis: int) -> bool:
    """Whether an axis of N x C x H x W or N x H x W x C holds the channels."""
    other = 4 - axis
    if sizes[axis] in IMAGE_CHANNELS:
        return True
    if sizes[other] in IMAGE_CHANNELS or isinstance(sizes[axis], str):
        return False
    # Maps: the channels are fixed and the rest is open, or height and width are equal.
    spatial = (sizes[2], sizes[other])
    return all(isinstance(size, str) for size in spatial) or spatial[0] == spatial[1]


def _named(sizes: Sequence[Size], pattern: re.Pattern[str]) -> int | None:
    found = [
        axis for axis, size in enumerate(sizes) if isinstance(size, str) and pattern.fullmatch(size)
    ]
    return found[0] if len(found) == 1 else None


def _is_unbatched_image(sizes: Sequence[Size]) -> bool:
    """Whether three sizes are C x H x W or H x W x C rather than N x rows x columns."""
    if len(sizes) != 3:
        return False
    for channels, sides in ((sizes[0], sizes[1:]), (sizes[2], sizes[:2])):
        both_open = all(isinstance(side, str) for side in sides)
        equal = sides[0] == sides[1] and sides[0] not in IMAGE_CHANNELS
        if channels in IMAGE_CHANNELS and (both_open or equal):
            return True
    return False


def has_image_channels(item: ModelInput, axes: tuple[int, int]) -> bool:
    """Whether an input has 1, 3 or 4 channels beside its height and width."""
    return any(
        size in IMAGE_CHANNELS
        for axis, size in enumerate(item.sizes or ())
        if axis not in axes and axis != batch_axis(item)
    )
