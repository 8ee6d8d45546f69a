"""Two settings compared key by key, nested ones too, in words short enough for a message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MOST_DIFFERENCES = 8
MOST_MEMBERS = 3
MOST_CHARACTERS = 80
CONTEXT_CHARACTERS = 20


def setting_differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """What differs between two JSON objects.

    Args:
        before: one setting, as read from JSON.
        now: the other, likewise.

    Returns:
        `threads: 1, now 2; options.cache: absent, now hot`, in the order of the keys; the empty
        string when they are equal.
    """
    found = _objects("", before, now)
    shown = found[:MOST_DIFFERENCES]
    if len(found) > len(shown):
        shown.append(f"and {len(found) - len(shown)} more")
    return "; ".join(shown)


def _objects(prefix: str, before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    found = []
    for key in dict.fromkeys((*before, *now)):
        name = f"{prefix}{key}"
        if key not in before:
            found.append(f"{name}: absent, now {_short(_plain(now[key]))}")
        elif key not in now:
            found.append(f"{name}: {_short(_plain(before[key]))}, now absent")
        else:
            found += _values(name, before[key], now[key])
    return found


def _values(name: str, before: Any, now: Any) -> list[str]:
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        return _objects(f"{name}.", before, now)
    first, second = _plain(before), _plain(now)
    long = max(len(first), len(second)) > MOST_CHARACTERS
    if long and isinstance(before, list) and isinstance(now, list):
        return [f"{name}: {len(before)} entries, now {len(now)} ({_changes(before, now)})"]
    if first == second:  # the number 1 and the text 1
        first, second = json.dumps(before), json.dumps(now)
    start = _common_start(first, second)
    return [f"{name}: {_short(first, start)}, now {_short(second, start)}"]


def _changes(before: Sequence[Any], now: Sequence[Any]) -> str:
    gone = [_plain(item) for item in before if item not in now]
    new = [_plain(item) for item in now if item not in before]
    parts = [
        f"{word}: {_members(items)}" for word, items in (("gone", gone), ("new", new)) if items
    ]
    return ", ".join(parts) or "the same ones in another order or number"


def _members(items: Sequence[str]) -> str:
    more = f" and {len(items) - MOST_MEMBERS} more" if len(items) > MOST_MEMBERS else ""
    return ", ".join(_short(item) for item in items[:MOST_MEMBERS]) + more


def _plain(value: Any) -> str:
    if value is None:
        return "not given"
    return value if isinstance(value, str) and value else json.dumps(value)


def _common_start(first: str, second: str) -> int:
    pairs = zip(first, second, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def _short(text: str, start: int = 0) -> str:
    """The text; of a long one, the part around `start`."""
    if len(text) <= MOST_CHARACTERS:
        return text
    begin = max(0, start - CONTEXT_CHARACTERS)
    part = text[begin : begin + MOST_CHARACTERS]
    return f"{'…' if begin else ''}{part}{'…' if begin + len(part) < len(text) else ''}"
