"""Typed options: what only one profiler understands is a frozen dataclass, parsed here.

A field's type is int, float, str, bool, Path or a `Literal` of texts, each with or without None.
Its default, bounds, choices and help stand in the dataclass, made with `option`. Everything else
(parsing, command line flags, the tables of the documentation) is generated from it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NoReturn,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from proxyless_hw.errors import ProfilingError, did_you_mean
from proxyless_hw.storage.setting_bounds import unusable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Options = TypeVar("Options", bound="DataclassInstance")

MAX_TEXT: Final = 32768
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_TRUTH: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    flag: str | None = None,
    pattern: tuple[str, str] | None = None,
    metrics: tuple[str, ...] | None = None,
    hint: str = "",
) -> Any:
    """Declares a field of an options dataclass.

    Args:
        default: its value when it is not given.
        help: one line for people.
        low: least number.
        high: greatest number.
        flag: the command line flag of its own, as ``--delegate``; None: ``--option NAME=VALUE``.
        pattern: a regular expression that a text must match as a whole, and what that is in words.
        metrics: the metrics for which the option has a meaning; None: all.
        hint: the way on where a value is refused.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "low": low,
            "high": high,
            "flag": flag,
            "pattern": pattern,
            "metrics": metrics,
            "hint": hint,
        },
    )


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Base of the built-in profilers' options: values are checked however one is made.

    Raises:
        ProfilingError: a value has another type, or lies outside its bounds or choices.
    """

    def __post_init__(self) -> None:
        for declared in described_options(type(self)):
            declared.check(getattr(self, declared.name))


@dataclass(frozen=True, slots=True)
class Option:
    """One option as a dataclass declares it.

    Attributes:
        name: the field's name.
        kind: int, float, str, bool or Path; str where there are choices.
        default: value when it is not given.
        choices: the accepted texts; empty where any value of the kind is.
        optional: whether None stands for "not given".
        help, low, high, flag, pattern, metrics, hint: see `option`.
    """

    name: str
    kind: type
    default: Any
    choices: tuple[str, ...]
    optional: bool
    help: str
    low: float | None
    high: float | None
    flag: str | None
    pattern: tuple[str, str] | None
    metrics: tuple[str, ...] | None
    hint: str

    @property
    def typed(self) -> str:
        """What people type for it, without a value."""
        return self.flag or f"--option {self.name}"

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is bool:
            return "true or false"
        if self.kind in (int, float):
            return ("a whole number" if self.kind is int else "a number") + self._bounds()
        if self.pattern is not None:
            return self.pattern[1]
        return "a path" if self.kind is Path else "a text that is not empty"

    def _bounds(self) -> str:
        if self.low is not None and self.high is not None:
            return f" from {plain_number(self.low)} to {plain_number(self.high)}"
        if self.low is not None:
            return f" of at least {plain_number(self.low)}"
        return "" if self.high is None else f" of at most {plain_number(self.high)}"

    def parse(self, value: object) -> Any:
        """The typed value of a text, or a typed value as it is.

        Raises:
            ProfilingError: the value breaks the rule; both are named, and the nearest choice.
        """
        if isinstance(value, str) and self.kind is not str:
            value = self._from_text(value)
        elif self.kind is float and type(value) is int:
            value = float(value)
        self.check(value)
        return value

    def _from_text(self, text: str) -> object:
        if len(text) > MAX_TEXT:
            raise self.refusal(text)
        if self.kind is bool and text in _TRUTH:
            return _TRUTH[text]
        if self.kind is int and _WHOLE.fullmatch(text):
            return int(text)
        if self.kind is float and _NUMBER.fullmatch(text):
            return float(text)
        if self.kind is Path and text:
            return Path(text)
        raise self.refusal(text)

    def check(self, value: object) -> None:
        """Refuses a value that breaks the rule.

        Raises:
            ProfilingError: the rule, what was received, and the nearest choice.
        """
        if value is None and self.optional:
            return
        if not self._accepts(value):
            raise self.refusal(value)

    def _accepts(self, value: object) -> bool:
        if self.kind is Path:
            return isinstance(value, Path) and unusable(self.name, str(value)) is None
        if type(value) is not self.kind:
            return False
        if self.choices:
            return value in self.choices
        if isinstance(value, str):
            if not value or len(value) > MAX_TEXT or unusable(self.name, value) is not None:
                return False
            return self.pattern is None or re.fullmatch(self.pattern[0], value) is not None
        number = float(value) if isinstance(value, (int, float)) else 0.0
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return math.isfinite(number) and low <= number <= high

    def refusal(self, value: object) -> ProfilingError:
        """The error for a value that breaks the rule."""
        shown = f"'{value[:60]}'" if isinstance(value, str) else repr(value)[:60]
        near = did_you_mean(str(value), self.choices)
        hint = f" {self.hint}" if self.hint else ""
        return ProfilingError(f"{self.typed} must be {self.rule}: received {shown}.{near}{hint}")


def described_options(cls: type[DataclassInstance]) -> list[Option]:
    """Every option of a dataclass, in its order.

    Raises:
        TypeError: a field has a type that no option can have; a mistake of its author.
    """
    hints = get_type_hints(cls)
    return [_described(cls, item, hints[item.name]) for item in fields(cls) if item.init]


def _described(cls: type, item: Field[Any], hint: Any) -> Option:
    parts = [hint] if get_origin(hint) is Literal else list(get_args(hint)) or [hint]
    kinds = [part for part in parts if part is not NoneType]
    choices: tuple[str, ...] = ()
    kind = kinds[0] if len(kinds) == 1 else None
    if get_origin(kind) is Literal:
        choices, kind = get_args(kind), str
    if kind not in (int, float, str, bool, Path) or not all(isinstance(c, str) for c in choices):
        raise TypeError(
            f"{cls.__name__}.{item.name}: an option is int, float, str, bool, Path or a Literal "
            f"of texts, or one of these or None; it is {hint}."
        )
    told = item.metadata
    return Option(
        name=item.name,
        kind=kind,
        default=item.default_factory() if item.default_factory is not MISSING else item.default,
        choices=choices,
        optional=NoneType in parts,
        help=told.get("help", ""),
        low=told.get("low"),
        high=told.get("high"),
        flag=told.get("flag"),
        pattern=told.get("pattern"),
        metrics=told.get("metrics"),
        hint=told.get("hint", ""),
    )


def parse_options(
    cls: type[Options],
    given: Mapping[str, object] | DataclassInstance,
    place: str = "",
    elsewhere: Callable[[str], str] = lambda name: "",
) -> Options:
    """Makes a profiler's options from names and texts.

    Args:
        cls: the frozen dataclass of the profiler's options.
        given: values by name, as texts or typed; or an instance, which is returned as it is.
        place: whose options they are, for messages, as ``--device cpu --runtime litert``.
        elsewhere: what to say of a name that others know; an empty text where it is unknown.

    Raises:
        ProfilingError: a name is unknown or does not apply here, or a value breaks its rule; the
            nearest name or choice is given.
    """
    whose = place or cls.__name__
    if isinstance(given, cls):
        return given
    if not isinstance(given, Mapping):
        raise ProfilingError(
            f"{whose} takes {cls.__name__} as options: received {type(given).__name__}."
        )
    declared = {item.name: item for item in described_options(cls)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in declared:
            _refuse_name(str(name), whose, list(declared), elsewhere(str(name)))
        values[name] = declared[name].parse(value)
    for item in declared.values():
        if item.default is MISSING and item.name not in values:
            raise ProfilingError(f"{whose} needs {item.typed}: {item.help or item.rule}.")
    return cls(**values)


def _refuse_name(name: str, whose: str, known: list[str], elsewhere: str) -> NoReturn:
    takes = f"It takes: {', '.join(known)}." if known else "It takes no options."
    if elsewhere:
        raise ProfilingError(f"option '{name[:60]}' does not apply to {whose}: {elsewhere} {takes}")
    raise ProfilingError(f"{whose} has no option '{name[:60]}'.{_nearest(name, known)} {takes}")


def _nearest(name: str, known: list[str]) -> str:
    """The known name nearest to one; dashes and capitals do not count."""
    plain = name.lower().replace("-", "_")
    if plain in known:
        return f" Did you mean '{plain}'?"
    close = difflib.get_close_matches(plain[:100], known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def given_options(options: Mapping[str, Any] | DataclassInstance) -> dict[str, str]:
    """The options that differ from their defaults, as texts that `parse_options` reads back.

    This is the form for journals, other processes and the headers of tables.
    """
    if isinstance(options, Mapping):
        return {str(name): _text(value) for name, value in options.items()}
    return {
        item.name: _text(value)
        for item in described_options(type(options))
        if (value := getattr(options, item.name)) != item.default and value is not None
    }


def option_texts(options: Mapping[str, Any] | DataclassInstance) -> dict[str, str]:
    """Every option that is not None, defaults included, as texts that `parse_options` reads."""
    if isinstance(options, Mapping):
        return given_options(options)
    values = {item.name: getattr(options, item.name) for item in described_options(type(options))}
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain_number(value: float) -> str:
    """A number as a tool's flag takes it: every digit, and no exponent for whole ones."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
