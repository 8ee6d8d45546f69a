"""The fields of result.json of a search or a training. What is absent or null is None."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Self, get_type_hints

from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.storage.fields import Fields
from proxyless_hw.units import figure_key

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Interval = tuple[float, float]


class ResultFields(Fields):
    """One mapping of a result file. Files of older versions lack some fields."""

    def optional(self, key: str) -> float | None:
        """A number; None where it is absent or null.

        Raises:
            ProxylessHwError: (as `error`, here and below) it is something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
        ):
            self.fail(key, "must be a number", value)
        return value

    def required(self, key: str) -> float:
        """A number that must be there."""
        value = self.optional(key)
        if value is None:
            raise self.error(f"{self.where} lacks {key}.")
        return value

    def count(self, key: str) -> int | None:
        """A whole number from 0 on; None where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is not int or value < 0:
            self.fail(key, "must be a count", value)
        return value

    def words(self, key: str) -> str | None:
        """Text; None where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.fail(key, "must be text", value)
        return value

    def switch(self, key: str) -> bool | None:
        """True or false; None where it is absent or null."""
        return None if self.values.get(key) is None else self.flag(key)

    def figure(self, name: str) -> float | None:
        """A number that `units.in_unit` wrote; older files hold it under ``NAME_ms`` alone."""
        return self.optional(figure_key(self.values, name))

    def figure_required(self, name: str) -> float:
        """A number that `units.in_unit` wrote and that must be there."""
        return self.required(figure_key(self.values, name))

    def interval(self, name: str) -> Interval | None:
        """A pair of numbers that `units.in_unit` wrote; None where it is absent or null."""
        key = figure_key(self.values, name)
        if self.values.get(key) is None:
            return None
        pair = self._numbers(key)
        if pair is None or len(pair) != 2:
            self.fail(key, "must be two numbers")
        return pair[0], pair[1]

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of numbers; empty where it is absent or null."""
        if self.values.get(key) is None:
            return ()
        found = self._numbers(key)
        if found is None:
            self.fail(key, "must be a list of numbers")
        return found

    def counts(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; empty where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            self.fail(key, "must be a list of whole numbers")
        return tuple(value)

    def objects(self, key: str) -> list[ResultFields]:
        """A list of mappings; empty where it is absent or null."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            self.fail(key, "must be a list of objects", value)
        return [
            ResultFields(row, f"{self.place(key)}[{index}]", self.error, inside=True)
            for index, row in enumerate(value)
        ]

    def object(self, key: str) -> ResultFields | None:
        """A mapping; None where it is absent, null or empty."""
        value = self.values.get(key)
        if not value:
            return None
        return ResultFields(value, self.place(key), self.error, inside=True)

    def plain(self, kind: type[DataclassInstance]) -> dict[str, Any]:
        """Values for the fields of a dataclass that are numbers, texts and intervals.

        The type of a field says how it is read. ``float``, ``int`` and ``str`` must be there; with
        ``| None`` they may be absent or null. An absent field takes its default. Figures of
        `units.in_unit` are read as by `figure`. Fields of other types are left out.
        """
        hints = get_type_hints(kind)
        found, lacking = {}, []
        for item in fields(kind):
            read = _READERS.get(hints[item.name])
            if read is None:
                continue
            key = figure_key(self.values, item.name)
            value = read(self, key)
            if value is None and item.default is not MISSING:
                continue
            if value is None and hints[item.name] in (float, int, str):
                lacking.append(key)
            found[item.name] = value
        if lacking:  # after what is malformed
            raise self.error(f"{self.where} lacks {lacking[0]}.")
        return found

    def _numbers(self, key: str) -> tuple[float, ...] | None:
        value = self.values.get(key)
        if not isinstance(value, list):
            return None
        numbers = [item for item in value if type(item) in (int, float) and math.isfinite(item)]
        return tuple(numbers) if len(numbers) == len(value) else None


_READERS: Final[Mapping[object, Callable[[ResultFields, str], object]]] = {
    float: ResultFields.optional,
    float | None: ResultFields.optional,
    int: ResultFields.count,
    int | None: ResultFields.count,
    str: ResultFields.words,
    str | None: ResultFields.words,
    Interval | None: ResultFields.interval,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultRow:
    """A part of a result file that holds nothing but numbers, texts and intervals."""

    def to_json(self) -> JsonObject:
        """The object that the file holds."""
        return asdict(self)

    @classmethod
    def from_json(cls, read: ResultFields) -> Self:
        """Reads what `to_json` gave.

        Raises:
            ProxylessHwError: (as the error of `read`) a field is missing or malformed.
        """
        return cls(**read.plain(cls))
