"""Pretrained weights from timm, where timm is installed."""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor

from proxyless_hw.errors import ArchitectureError, BackendUnavailableError, did_you_mean

INSTALL = "Install it: pip install timm"


def timm_tensors(name: str) -> dict[str, Tensor]:
    """The pretrained weights of a network of timm, by timm's names. timm may download them.

    Raises:
        BackendUnavailableError: timm is not installed.
        ArchitectureError: timm has no network of that name, or no weights for it.
    """
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as cause:
        raise BackendUnavailableError(
            f"timm:{name[:60]} needs timm, which cannot be imported ({cause}). {INSTALL}"
        ) from cause
    if name.startswith("tf_"):
        raise ArchitectureError(
            f"timm:{name[:60]} pads as TensorFlow does, which networks here do not. Choose the "
            "network without tf_."
        )
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise ArchitectureError(f"timm has no network '{name[:60]}'.{did_you_mean(name, known)}")
    try:
        model = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError, ValueError) as cause:
        reason = (str(cause) or type(cause).__name__).splitlines()[0][:200]
        raise ArchitectureError(
            f"timm gives no weights for '{name[:60]}': {reason}. "
            "Download the file yourself and give its path."
        ) from cause
    state: dict[str, Tensor] = model.state_dict()
    return state
