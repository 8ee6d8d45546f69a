"""Bounds that hold for every setting of a run, whatever it is for."""

from __future__ import annotations

from typing import Final

MAX_SEED: Final = 2**62
MAX_WHOLE: Final = 2**31 - 1
MAX_PARALLEL: Final = 1024
"""Most threads or loading processes."""

_PARALLEL: Final = ("threads", "workers")


def unusable(name: str, value: object) -> str | None:
    """Why no run can use a value of the right type; None where nothing speaks against it.

    A whole number beyond 64 bits has no place in a generator or a tensor's shape, and no file
    system takes a path with a null character.
    """
    if type(value) is int:
        limit = {"seed": MAX_SEED, **dict.fromkeys(_PARALLEL, MAX_PARALLEL)}.get(name, MAX_WHOLE)
        if abs(value) > limit:
            return f"may be at most {limit}"
    texts = value if isinstance(value, tuple) else (value,)
    if any(isinstance(text, str) and not _is_text(text) for text in texts):
        return "must be text without null characters"
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return "\0" not in text
