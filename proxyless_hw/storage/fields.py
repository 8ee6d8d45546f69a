"""Reading the fields of a parsed document: the one reader that all forms of file share.

`documents` turns text into mappings and lists. `Fields` checks what is in them, one field at a
time. Each message has the same form: the file, the place in it, the rule, what was received and,
where there is one, the next step.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Final, NoReturn, TypeVar

from proxyless_hw.errors import ProxylessHwError, did_you_mean

Word = TypeVar("Word", bound=str)

_SHOWN: Final = 80
"""Characters of a value that a message shows."""


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT: Final = _Absent()


class Fields:
    """One mapping of a document.

    Args:
        value: what stands in the place of the mapping.
        where: the file, or the file and the place of the mapping in it: ``net.config: blocks[3]``.
        error: class of the errors to raise.
        inside: whether `where` names a place in the file; then fields follow after a dot.
        next_step: what the user should do about a fault, added to each message.

    Raises:
        ProxylessHwError: (as `error`) the value is not a mapping with text as keys.
    """

    def __init__(
        self,
        value: object,
        where: str,
        error: type[ProxylessHwError],
        *,
        inside: bool = False,
        next_step: str = "",
    ) -> None:
        self.where = where
        self.error = error
        self.inside = inside
        self.next_step = next_step
        if not isinstance(value, dict):
            self._refuse(where, "must be a mapping of fields", value)
        for key in value:
            if not isinstance(key, str):
                self._refuse(where, "must have text as keys", key)
        self.values: Mapping[str, object] = value

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def place(self, key: str) -> str:
        """The place of a field, for messages: ``net.config: blocks[3].stride``."""
        return f"{self.where}{'.' if self.inside else ': '}{key[:60]}"

    def fail(self, key: str, rule: str, value: object = _ABSENT, hint: str = "") -> NoReturn:
        """Raises the error for a field.

        Args:
            key: the field.
            rule: what it must be, as the rest of a sentence: ``must be odd``.
            value: what was received; the field's value when it is not given.
            hint: a further sentence, with a space before it.
        """
        self._refuse(self.place(key), rule, self.get(key) if value is _ABSENT else value, hint)

    def _refuse(self, place: str, rule: str, value: object, hint: str = "") -> NoReturn:
        shown = repr(value)
        if len(shown) > _SHOWN:
            shown = shown[: _SHOWN - 3] + "..."
        further = f" {self.next_step}" if self.next_step else ""
        raise self.error(f"{place} {rule}: received {shown}.{hint}{further}")

    def only(self, known: Collection[str]) -> None:
        """Refuses fields that are not known."""
        for key, value in self.values.items():
            if key not in known:
                hint = did_you_mean(key, known)
                self._refuse(self.where, f"has an unknown field '{key[:60]}'", value, hint)

    def exactly(self, known: Collection[str]) -> None:
        """Refuses fields that are not known, and a mapping that lacks one of the known ones."""
        for key in known:
            if key not in self.values:
                self._refuse(self.where, f"lacks the field '{key}'", list(self.values))
        self.only(known)

    def schema(self, expected: str) -> None:
        """Checks the field ``schema``, which says what kind of file this is."""
        if self.values.get("schema") != expected:
            self.fail("schema", f"must be '{expected}'")

    def get(self, key: str) -> object:
        """The value of a field as it stands; a stand-in that prints as `nothing` without one."""
        return self.values.get(key, _ABSENT)

    def at(self, key: str) -> tuple[object, str]:
        """The value of a field as it stands, and its place: what reads the field itself needs."""
        return self.get(key), self.place(key)

    def text(self, key: str, default: str | None = None) -> str:
        """A field that must be text; `default` without the field."""
        value = self.values.get(key, _ABSENT if default is None else default)
        if not isinstance(value, str):
            self.fail(key, "must be text", value)
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A field that must be a whole number from `low` to `high`; `default` without the field."""
        value = self.values.get(key, _ABSENT if default is None else default)
        if type(value) is not int or not low <= value <= high:
            self.fail(key, f"must be a whole number from {low} to {high}", value)
        return value

    def number(
        self,
        key: str,
        low: float = -math.inf,
        high: float = math.inf,
        default: float | None = None,
        *,
        above: bool = False,
    ) -> float:
        """A field that must be a finite number; `default` without the field.

        Args:
            key: the field.
            low, high: bounds.
            default: without one the field must be there.
            above: whether `low` itself is excluded.
        """
        value = self.values.get(key, _ABSENT if default is None else default)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not low <= value <= high
            or not math.isfinite(value)
            or (above and value == low)
        ):
            rule = "must be a finite number"
            if low > -math.inf:
                rule += f" above {low:g}" if above else f" from {low:g}"
            if high < math.inf:
                rule += f" to {high:g}"
            self.fail(key, rule, value)
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """A field that must be true or false; `default` without the field."""
        value = self.values.get(key, _ABSENT if default is None else default)
        if not isinstance(value, bool):
            self.fail(key, "must be true or false", value)
        return value

    def choice(self, key: str, options: Collection[Word], default: Word | None = None) -> Word:
        """A field that must be one of some words; `default` without the field."""
        value = self.values.get(key, _ABSENT if default is None else default)
        chosen = next((option for option in options if option == value), None)
        if chosen is None:
            hint = did_you_mean(str(value), options)
            self.fail(key, f"must be one of {', '.join(sorted(options))}", value, hint)
        return chosen

    def inner(self, key: str) -> Fields:
        """A field that must be a mapping; an absent one counts as empty."""
        value = self.values.get(key, {})
        return Fields(value, self.place(key), self.error, inside=True, next_step=self.next_step)

    def items(self, key: str, most: int, least: int = 0) -> list[object]:
        """A field that must be a list with `least` to `most` items."""
        value = self.get(key)
        if not isinstance(value, list) or not least <= len(value) <= most:
            self.fail(key, f"must be a list of {least} to {most} items", value)
        return value

    def rows(self, key: str, most: int, least: int = 0) -> list[Fields]:
        """A field that must be a list of mappings."""
        return [
            Fields(
                item,
                f"{self.place(key)}[{index}]",
                self.error,
                inside=True,
                next_step=self.next_step,
            )
            for index, item in enumerate(self.items(key, most, least))
        ]
