"""What the GPU profilers share: the message where there is no GPU."""

from __future__ import annotations

from typing import Final

from proxyless_hw.errors import BackendUnavailableError

NO_GPU: Final = (
    "no NVIDIA GPU can be used here ({reason}). Profile on a machine with one, or this machine's "
    "CPU: --device cpu. See what is here: proxyless-hw devices"
)


def no_gpu(reason: object) -> BackendUnavailableError:
    """The one message where a GPU is asked for and none can be used."""
    text = " ".join(str(reason).split())[:300]
    return BackendUnavailableError(NO_GPU.format(reason=text))
