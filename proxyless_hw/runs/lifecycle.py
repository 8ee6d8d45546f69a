"""The frame of a run: the lock of its folder, its processes, and the message after Ctrl-C."""

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
    """Holds the lock of a run folder; yields a check that this process still holds it.

    A folder that was made for it and stayed empty, because the run was refused, is removed.

    Raises:
        ProxylessHwError: as `RunFolder.error`: another process holds it.
        InterruptedRunError: Ctrl-C where no step could end first.
    """
    made = not folder.path.exists()
    try:
        with exclusive_lock(folder.lock, folder.error, f"run folder {folder.path}") as check_held:
            yield check_held
    except KeyboardInterrupt as cause:
        raise InterruptedRunError(
            f"interrupted; every finished epoch is saved. Go on: {folder.resume_command()}"
        ) from cause
    finally:
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.path.rmdir()


@contextlib.contextmanager
def joined(device: torch.device, threads: int | None) -> Iterator[World]:
    """Joins the processes that torchrun started, and leaves them at the end.

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
