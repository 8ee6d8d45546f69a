"""What the GPU profilers share: their options, and the messages where there is no GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from proxyless_hw.errors import BackendUnavailableError, ProfilingError, did_you_mean

NO_GPU: Final = (
    "no NVIDIA GPU can be used here ({reason}). Profile on a machine with one, or this machine's "
    "CPU: --device cpu. See what is here: proxyless-hw devices"
)

L2 = Literal["warm", "cold"]
Graphs = Literal["auto", "on", "off"]


def no_gpu(reason: object) -> BackendUnavailableError:
    """The one message where a GPU is asked for and none can be used."""
    text = " ".join(str(reason).split())[:300]
    return BackendUnavailableError(NO_GPU.format(reason=text))


def gpu_index(options: Mapping[str, str]) -> int:
    """Which GPU: option ``gpu``, 0 by default.

    Raises:
        ProfilingError: it is no number from 0 to 63.
    """
    text = options.get("gpu", "0")
    if not text.isascii() or not text.isdecimal() or int(text[:9]) > 63:
        raise ProfilingError(f"--option gpu must be a number from 0 to 63: received '{text[:40]}'.")
    return int(text)


def choice(options: Mapping[str, str], key: str, known: tuple[str, ...]) -> Any:
    """An option with a few known values, the first by default.

    Raises:
        ProfilingError: it is another one.
    """
    text = options.get(key, known[0])
    if text not in known:
        raise ProfilingError(
            f"--option {key} must be one of {', '.join(known)}: received "
            f"'{text[:40]}'.{did_you_mean(text, known)}"
        )
    return text
