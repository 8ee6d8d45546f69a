"""The fields of result.json of a search or a training. What is absent or null is None."""

from __future__ import annotations

import math

from proxyless_hw.storage.fields import Fields
from proxyless_hw.units import figure_key


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

    def interval(self, name: str) -> tuple[float, float] | None:
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

    def _numbers(self, key: str) -> tuple[float, ...] | None:
        value = self.values.get(key)
        if not isinstance(value, list):
            return None
        numbers = [item for item in value if type(item) in (int, float) and math.isfinite(item)]
        return tuple(numbers) if len(numbers) == len(value) else None
