"""A run from its folder's lock to its end: one process writes, Ctrl-C is a message."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch

from proxyless_hw.errors import InterruptedRunError
from proxyless_hw.runs.distributed import World, join_world, leave_world
from proxyless_hw.runs.folder import RunFolder
from proxyless_hw.storage.locks import exclusive_lock


@contextlib.contextmanager
def held(folder: RunFolder) -> Iterator[Callable[[], None]]:
    """Within it the folder is this process's; gives the check that it still is.

    Raises:
        ProxylessHwError: as `RunFolder.error`: another process holds it.
        InterruptedRunError: Ctrl-C where no step could end first.
    """
    with exclusive_lock(folder.lock, folder.error, f"run folder {folder.path}") as check_held:
        try:
            yield check_held
        except KeyboardInterrupt as cause:
            raise InterruptedRunError(
                f"interrupted; every finished epoch is saved. Go on: {folder.resume_command()}"
            ) from cause


@contextlib.contextmanager
def joined(device: torch.device, threads: int | None) -> Iterator[World]:
    """Within it this process is one of those that torchrun started, or alone.

    Args:
        device: where it computes.
        threads: torch threads; torch's default when None.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    world = join_world(device)
    try:
        yield world
    finally:
        leave_world(world)
