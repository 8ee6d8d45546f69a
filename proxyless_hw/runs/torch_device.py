"""The torch device that `--device` names."""

from __future__ import annotations

import re
from typing import Final

import torch

from proxyless_hw.errors import ProxylessHwError, did_you_mean
from proxyless_hw.runs.distributed import own_device

_NAME: Final = re.compile(r"(cpu|cuda|mps)(?::([0-9]{1,3}))?")
_KNOWN: Final = ("cpu", "cuda", "mps", "auto")


def choose_device(name: str, error: type[ProxylessHwError]) -> torch.device:
    """The torch device of a name; ``auto`` takes a GPU where there is one.

    Under torchrun, ``cuda`` is a GPU of its own for each process.

    Args:
        name: ``cpu``, ``cuda``, ``mps`` or ``auto``; of several GPUs one, as ``cuda:1``.
        error: what is raised.

    Raises:
        ProxylessHwError: as `error`: an unknown device, or one that is not there.
    """
    counts = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        name = next(kind for kind, count in counts.items() if count)
    found = _NAME.fullmatch(name)
    if found is None:
        near = " Did you mean 'cuda'?" if name.startswith("gpu") else did_you_mean(name, _KNOWN)
        raise error(
            f"--device must be cpu, cuda, mps or auto, or one of several GPUs as cuda:1: received "
            f"'{name[:40]}'.{near}"
        )
    kind, number = found[1], int(found[2] or 0)
    if not counts[kind]:
        raise error(f"no {kind} device is here. Use --device cpu.")
    if number >= counts[kind]:
        raise error(
            f"--device {name} is not here: this machine has {counts[kind]} {kind} device(s), "
            f"counted from 0. Use --device {kind}."
        )
    return own_device(torch.device(name))
