"""Where weights come from, as a user names it: the one place that opens a file or ``timm:NAME``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from proxyless_hw.errors import ArchitectureError, ProxylessHwError
from proxyless_hw.formats.state_dicts import choose_state_dict
from proxyless_hw.formats.timm_weights import timm_tensors
from proxyless_hw.storage.tensor_files import load_tensors

TIMM: Final = "timm:"
"""What the name of pretrained weights of timm begins with."""

_SUFFIXES: Final = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".tar")

_TODAY: Final = re.compile(
    r"^(blocks\.\d{1,4})\.conv\.(?=inverted_bottleneck|depth_conv|point_linear)"
)


@dataclass(frozen=True)
class GivenWeights:
    """Tensors by name, and where they come from.

    Attributes:
        source: the file as it was given, or ``timm:NAME``; for messages.
        tensors: under our names, of any kind yet; or under those of other code, all tensors.
        is_ours: whether the names are ours.
    """

    source: str
    tensors: dict[Any, Any]
    is_ours: bool


def open_weights(
    source: str | Path, error: type[ProxylessHwError] = ArchitectureError
) -> GivenWeights:
    """Opens what a user names as weights. Nothing in a file is executed.

    Args:
        source: a torch or safetensors file: a dict of tensors, or one that holds some
            (`choose_state_dict`: averaged weights first); or ``timm:NAME`` for pretrained weights
            of timm, where it is installed.
        error: what is raised where a file cannot be read.

    Raises:
        ProxylessHwError: as `error`: there is no such file, or it is unreadable or unsafe.
        ArchitectureError: it holds something else than tensors under the names of other code, or
            timm has no such weights.
        BackendUnavailableError: timm is not installed.
    """
    name = str(source)
    if is_timm(source):
        tensors = timm_tensors(name.removeprefix(TIMM))
        return GivenWeights(name, named_tensors(tensors, name), is_ours=False)
    path = Path(source)
    if not path.is_file():
        raise error(_no_file(path))
    held = choose_state_dict(load_tensors(path, error, "weights file"), name)
    if any(str(key).startswith("stem.") for key in held):
        return GivenWeights(name, held, is_ours=True)
    return GivenWeights(name, named_tensors(held, name), is_ours=False)


def _no_file(path: Path) -> str:
    """Why a source is no file of weights, and what would be."""
    rule = "weights are a torch or safetensors file, a run folder, or timm:NAME"
    if not path.is_dir():
        return f"no weights file {path}: {rule}."
    inside = sorted(item.name for item in path.iterdir() if item.suffix in _SUFFIXES)
    files = f" Give one in it: {', '.join(inside[:4])}." if inside else ""
    return f"{path} is a folder, and holds no run: {rule}.{files}"


def is_timm(source: str | Path) -> bool:
    """Whether a source names weights of timm, so that it is no path."""
    return str(source).startswith(TIMM)


def named_tensors(tensors: Mapping[Any, Any], source: str) -> dict[str, Tensor]:
    """Checks that what a checkpoint of other code holds are named tensors.

    Today's Once-for-All writes ``conv`` for ``mobile_inverted_conv``; the older name is returned.

    Raises:
        ArchitectureError: something else is among them, or there is nothing.
    """
    if not tensors:
        raise ArchitectureError(f"{source}: state_dict must be a dict of tensors.")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ArchitectureError(
                f"{source} must hold tensors only: '{str(name)[:80]}' is a {type(tensor).__name__}."
            )
    return {_TODAY.sub(r"\1.mobile_inverted_conv.", name): held for name, held in tensors.items()}
