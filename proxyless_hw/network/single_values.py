"""BatchNorm cannot normalise a channel that holds a single value: a message for that error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from proxyless_hw.errors import ProxylessHwError

_SINGLE: Final = "more than 1 value per channel"


@contextlib.contextmanager
def named_single_values(error: type[ProxylessHwError]) -> Iterator[None]:
    """Turns torch's error about a single value per channel into one that says what to change.

    Raises:
        ProxylessHwError: (as `error`) a batch of one image met a map of one pixel in training.
    """
    try:
        yield
    except ValueError as cause:
        if _SINGLE not in str(cause):
            raise
        raise error(
            "BatchNorm needs more than one value per channel in training: a batch of one image "
            "came to a map of one pixel. Raise --batch-size, or --train-resolution."
        ) from cause
