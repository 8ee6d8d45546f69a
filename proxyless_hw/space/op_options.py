"""What an op of one's own takes beyond the usual settings: a hashable mapping with a text form."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

OptionValue = int | float | str

MAX_OPTIONS: Final = 16
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TEXT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.+]{0,39}")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]+)?(e[+-]?[0-9]{1,3})?")


class OpOptions(Mapping[str, OptionValue]):
    """Options of an op by name, sorted; equal options have one hash and one text.

    Args:
        values: whole numbers, finite numbers, or words (a letter or ``_`` first, then letters,
            digits, ``_``, ``.`` and ``+``).

    Raises:
        ValueError: a name or value breaks these rules, or there are more than 16.
    """

    __slots__ = ("_items",)

    def __init__(self, values: Mapping[str, OptionValue] | None = None) -> None:
        given = values or {}
        if len(given) > MAX_OPTIONS:
            raise ValueError(f"an op has at most {MAX_OPTIONS} options: received {len(given)}")
        for name, value in given.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(
                    "an option's name has 1 to 40 small letters, digits and '_' and begins with "
                    f"a letter: received {str(name)[:60]!r}"
                )
            if not _is_value(value):
                raise ValueError(
                    f"option '{name}' is a number or a word of letters, digits, '_', '.' and '+': "
                    f"received {str(value)[:60]!r}"
                )
        self._items = tuple(sorted(given.items()))

    def __getitem__(self, name: str) -> OptionValue:
        for known, value in self._items:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(self.to_text("-"))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, OpOptions):
            return self.to_text("-") == other.to_text("-")  # 1 and 1.0 are two options
        return dict(self._items) == other if isinstance(other, Mapping) else NotImplemented

    def __repr__(self) -> str:
        return f"OpOptions({dict(self._items)})"

    def to_text(self, separator: str) -> str:
        """``ratio=2`` and so on, joined; `read_options` reads it back."""
        return separator.join(f"{name}={_value_text(value)}" for name, value in self._items)


NO_OPTIONS: Final = OpOptions()


def read_options(text: str, separator: str) -> OpOptions:
    """Reads what `OpOptions.to_text` wrote.

    Raises:
        ValueError: the text is not of that form.
    """
    if not text:
        return NO_OPTIONS
    values: dict[str, OptionValue] = {}
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        if not equals or name in values:
            raise ValueError(f"options read name=value, each once: received {part[:60]!r}")
        values[name] = _read_value(value)
    return OpOptions(values)


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return _TEXT.fullmatch(value) is not None
    if type(value) is int:
        return abs(value) < 10**18
    return type(value) is float and math.isfinite(value)


def _value_text(value: OptionValue) -> str:
    return str(value) if isinstance(value, (int, str)) else repr(value)


def _read_value(text: str) -> OptionValue:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
