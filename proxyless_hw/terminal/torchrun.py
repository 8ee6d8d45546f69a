"""Which of torchrun's processes this is, before a process group exists: the first one speaks."""

from __future__ import annotations

import os


def launched_rank() -> int:
    """This process's rank as torchrun says it, before the process group exists."""
    return int(os.environ.get("RANK", "0"))


def launched_world_size() -> int:
    """Processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))
