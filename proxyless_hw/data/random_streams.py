"""Random numbers by name: a name always gives the same numbers.

A batch depends on nothing but (seed, split, epoch, position), never on what was drawn before it,
so that a resumed run sees the very batches an uninterrupted one would have seen.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """Separates the random numbers of the parts of a data set, and of the split into parts."""

    TRAIN = 1
    HOLDOUT = 2
    TEST = 3
    SPLIT = 4


def stream_seed(*numbers: int) -> int:
    """A 63-bit seed that depends on all the numbers: a random stream of its own."""
    # numpy 1 has no shift of its uint64 by a Python number.
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


def seeded(*numbers: int) -> torch.Generator:
    """A generator of the stream that the numbers name."""
    return torch.Generator().manual_seed(stream_seed(*numbers))
