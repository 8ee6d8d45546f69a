"""Which tensors of a checkpoint are the weights: one choice for every file that is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from torch import Tensor

from proxyless_hw.terminal.notices import notice

AVERAGED: Final = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema"),
    "average",
)
"""Keys of a moving average of the weights; the first ones in timm's order, the last one ours."""

PLAIN: Final = (
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module"),
    "weights",
)
_WRAPPERS: Final = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
"""Of several GPUs, of torch.compile, and of what a training framework calls its network."""
_COUNTER: Final = "n_averaged"  # torch's AveragedModel counts its updates in a buffer


def choose_state_dict(document: Mapping[str, Any], source: str) -> dict[Any, Any]:
    """The weights in what a checkpoint holds, without the prefixes of wrapped models.

    Where a file holds a moving average of the weights too, that one is taken, as timm does; a
    notice says so whenever there was a choice. What is taken is not checked: it may hold anything.

    Args:
        document: a dict of tensors, or a dict that holds some under one of the usual keys.
        source: the file, for the notice.
    """
    averaged, plain = _found(document, AVERAGED), _found(document, PLAIN)
    if not averaged and not plain:
        held = (document[key] for key in PLAIN if isinstance(document.get(key), dict))
        return _unwrapped(next(held, document))
    key, tensors = next(iter((averaged or plain).items()))
    others = list(plain) if averaged else list(plain)[1:]
    rest = f", not those under {', '.join(others)}" if others else ""
    if averaged:
        notice(f"{source}: the averaged weights are taken ({key}){rest}.")
    elif others:
        notice(f"{source}: the weights under {key} are taken{rest}.")
    return _unwrapped(tensors)


def _found(document: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    """What holds tensors under some of the keys, in their order."""
    found = {}
    for key in keys:
        value = document.get(key)
        # {"ema": {"decay": 0.999, "module": {...}}}: one more level.
        levels = [value, *(value.get(inner) for inner in PLAIN)] if isinstance(value, dict) else []
        held = next((level for level in levels if _holds_tensors(level)), None)
        if held is not None:
            found[key] = held
    return found


def _holds_tensors(value: object) -> bool:
    return isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())


def _unwrapped(tensors: Mapping[Any, Any]) -> dict[Any, Any]:
    kept = {name: tensor for name, tensor in tensors.items() if name != _COUNTER}
    while kept and (
        prefix := next(
            (
                wrapper
                for wrapper in _WRAPPERS
                if all(isinstance(name, str) and name.startswith(wrapper) for name in kept)
            ),
            None,
        )
    ):
        kept = {name.removeprefix(prefix): tensor for name, tensor in kept.items()}
    return kept
