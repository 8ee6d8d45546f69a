"""Rank and number of torchrun's processes, before the process group exists."""

from __future__ import annotations

import os


def launched_rank() -> int:
    """This process's rank, from torchrun's environment."""
    return int(os.environ.get("RANK", "0"))


def launched_world_size() -> int:
    """Number of processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))
