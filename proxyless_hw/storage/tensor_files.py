"""Files of tensors and plain containers: written atomically, read with ``weights_only=True``."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.storage.files import atomic_path

_LFS = b"version https://git-lfs"
_ORDINARY = frozenset(
    (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
)
# torch raises this class for a payload it refuses; it exports it under no name of its own.
_RefusedPayload: type[Exception] = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]


def save_tensors(
    path: Path,
    document: dict[str, Any],
    error: type[ProxylessHwError],
    check: Callable[[], None] | None = None,
) -> None:
    """Writes a dict of tensors and plain containers; the old file stays until this one is whole.

    Args:
        path: the file.
        document: what goes into it.
        error: the class of the error to raise.
        check: called last, just before `path` is replaced; when it raises, nothing is.

    Raises:
        ProxylessHwError: (as `error`) the place cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(document, buffer)
    with atomic_path(path, error, check) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_tensors(path: Path, error: type[ProxylessHwError], what: str) -> dict[str, Any]:
    """Reads a dict of tensors and plain containers. Nothing in the file is executed.

    A safetensors file, recognised by its content, is read as such.

    Args:
        path: the file.
        error: the class of the error to raise.
        what: what the file should be, for the message.

    Raises:
        ProxylessHwError: (as `error`) unreadable, damaged, holding anything but tensors and plain
            containers, or no dict.
    """
    try:
        if _is_safetensors(path):
            return dict(load_file(path))
        _refuse_other_forms(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols, read safely or refused
            document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as cause:
        raise error(f"cannot read {what} {path}: {cause.strerror or cause}.") from cause
    except (
        *(RuntimeError, ValueError, KeyError, EOFError, TypeError, IndexError, AttributeError),
        *(_RefusedPayload, zipfile.BadZipFile, UnicodeDecodeError, MemoryError, OverflowError),
        *(struct.error, AssertionError, LookupError, SafetensorError),
    ) as cause:
        raise error(
            f"{path} is not a {what} that can be loaded safely: {_reason(cause)}"
        ) from cause
    if not isinstance(document, dict):
        raise error(f"{path} is not a {what}: it holds a {type(document).__name__}, not a dict.")
    return document


def _reason(cause: Exception) -> str:
    """Why a file was refused; not in torch's words, which advise to load it unsafely."""
    if isinstance(cause, EOFError):
        return "it is empty or cut off."
    if not isinstance(cause, _RefusedPayload):
        return str(cause).splitlines()[0][:160] if str(cause) else type(cause).__name__
    named = re.search(r"GLOBAL (\S{1,120})", str(cause))
    if named is None:
        return "it is damaged, or no file of torch. A checkpoint is written by torch.save."
    return (
        f"it holds an object of {named[1]}, not only tensors and plain containers. Save the "
        "weights alone: torch.save(model.state_dict(), path)."
    )


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, then the header."""
    with path.open("rb") as stream:
        start = stream.read(9)
    length = int.from_bytes(start[:8], "little")
    return len(start) == 9 and start[8:] == b"{" and length < path.stat().st_size


def _refuse_other_forms(path: Path) -> None:
    """Refuses what is known not to be a file of tensors, with the way on.

    torch writes its archives of tensors uncompressed: one that unpacks to more is not from torch.

    Raises:
        ValueError: a Git LFS pointer, a TorchScript model, or an archive that would unpack to more
            than it holds.
    """
    with path.open("rb") as stream:
        if stream.read(len(_LFS)) == _LFS:
            raise ValueError("it is a Git LFS pointer, not the file itself. Fetch it: git lfs pull")
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
    if any("/code/" in entry.filename for entry in entries):
        raise ValueError(
            "it is a TorchScript model. Save its weights alone: "
            "torch.save(torch.jit.load(path).state_dict(), other)."
        )
    if unpacked > path.stat().st_size:
        raise ValueError(f"it would unpack to {unpacked} bytes, more than the file has")


def plain_tensors(value: object) -> dict[str, Tensor]:
    """A dict of named tensors that a network can be filled from.

    Raises:
        ValueError: it is not such a dict, or a tensor is not dense, real and finite.
    """
    if not isinstance(value, dict):
        raise ValueError(f"a dict of tensors is expected, not a {type(value).__name__}")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{str(name)[:80]!r} must name a tensor")
        if not is_plain(tensor):
            raise ValueError(f"'{name[:80]}' must be dense, real and finite")
    return dict(value)  # without what else a pickled dict may carry


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is an ordinary one, real, finite and in memory."""
    ordinary = (
        tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.dtype in _ORDINARY
    )
    return ordinary and bool(tensor.isfinite().all())


def whole(value: object, name: str) -> int:
    """A count.

    Raises:
        ValueError: it is not a whole number from 0 on.
    """
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(f"{name} must be a count")
    return value


def finite(value: object, name: str) -> float:
    """A number.

    Raises:
        ValueError: it is not a number, or not finite.
    """
    if type(value) not in (int, float) or not abs(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError(f"{name} must be a finite number")
    return value  # type: ignore[return-value]


def read_sums(value: object, empty: Any) -> Any:
    """Running sums as the dataclass that `empty` is: counts where it has counts, else numbers.

    Raises:
        ValueError: a field is missing, left over, or of another type.
    """
    fields = vars(empty)
    if not isinstance(value, dict) or set(value) != set(fields):
        raise ValueError(f"the running sums must be {', '.join(fields)}")
    read = {
        name: (whole if type(zero) is int else finite)(value[name], name)
        for name, zero in fields.items()
    }
    return type(empty)(**read)


def load_optimizer(optimizer: torch.optim.Optimizer, value: object, keys: Iterable[str]) -> None:
    """Restores what an optimiser remembers of each parameter, and the learning rate it had reached.

    Its other settings stay the caller's own.

    Args:
        optimizer: freshly built over the same parameters.
        value: its former `state_dict`.
        keys: what it keeps per parameter; each a tensor of the parameter's shape, but for ``step``.

    Raises:
        ValueError: the state does not fit.
    """
    if not isinstance(value, dict) or not isinstance(value.get("state"), dict):
        raise ValueError("an optimizer's state is expected")
    groups = optimizer.state_dict()["param_groups"]
    saved = value.get("param_groups")
    if not isinstance(saved, list) or len(saved) != len(groups):
        raise ValueError("an optimizer's groups are of other parameters")
    for group, former in zip(groups, saved, strict=True):
        if not isinstance(former, dict) or finite(former.get("lr"), "a learning rate") < 0:
            raise ValueError("an optimizer's group lacks its learning rate")
        group["lr"] = former["lr"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, kept in value["state"].items():
        if type(index) is not int or not 0 <= index < len(parameters):
            raise ValueError("an optimizer's state is of other parameters")
        if not isinstance(kept, dict) or (kept and set(kept) != set(keys)):
            raise ValueError("an optimizer's state is of another optimizer")
        for name, item in kept.items():
            shape = torch.Size() if name == "step" else parameters[index].shape
            fits = isinstance(item, Tensor) and item.shape == shape and is_plain(item)
            if not (fits or (item is None and name != "step")):
                raise ValueError(f"an optimizer's '{name}' does not fit its parameter")
    # Copies: the elements of a saved tensor may share their memory, and are written to one by one.
    state = {
        index: {name: item if item is None else item.clone() for name, item in kept.items()}
        for index, kept in value["state"].items()
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})
