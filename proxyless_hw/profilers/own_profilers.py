"""Profilers of one's own: registered at run time, or by an installed package."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, TypeVar

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import PROFILER_GROUP, Profiler, ProfilerSettings
from proxyless_hw.profilers.options import DeviceOptions, described_options, option_texts
from proxyless_hw.space.op_registry import is_frozen_dataclass, loading
from proxyless_hw.storage.documents import parse_json
from proxyless_hw.tables.entry import UNITS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Factory = Callable[[ProfilerSettings], Profiler]
Registered = TypeVar("Registered", bound=Factory)

BUILT_IN_KINDS: Final = ("cpu", "gpu", "mobile", "npu", "command")
_KIND: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True, kw_only=True)
class NoOptions(DeviceOptions):
    """The options of a profiler that has none."""


@dataclass(frozen=True, slots=True)
class OwnProfiler:
    """A registered profiler.

    Attributes:
        factory: makes it from settings.
        options: the frozen dataclass of its options.
    """

    factory: Factory
    options: type[DataclassInstance] = NoOptions


_AT_RUN_TIME: Final[dict[str, OwnProfiler]] = {}


def register_profiler(
    kind: str, *, options: type[DataclassInstance] | None = None
) -> Callable[[Registered], Registered]:
    """Registers a profiler under a device kind, for this process. A decorator.

    What it decorates is called with a `ProfilerSettings`, whose `options` is an instance of
    `options`, and returns a `Profiler`: ``describe() -> mapping`` and ``open(workloads) ->
    session``. ``describe`` may give any header fields of a table; those that it leaves out are
    filled in from the settings. A later registration of the same kind replaces an earlier one.

    A package that is installed can register its profiler in the entry-point group
    ``proxyless_hw.profilers`` instead, and use this decorator to declare its options.

    Args:
        kind: what ``--device`` and ``profile(device=...)`` take; small letters, digits, ``-``
            and ``_``.
        options: a frozen dataclass of what the user may set. Its fields are int, float, str,
            bool, Path or a Literal of texts, with or without None. None: there are no options.

    Raises:
        ProfilingError: the kind is built in or no such name, or `options` is no frozen dataclass
            of such fields.

    Example:
        >>> import proxyless_hw as ph
        >>> @ph.register_profiler("abacus")
        ... class Abacus:
        ...     def __init__(self, settings):
        ...         self.settings = settings
        ...     def describe(self):
        ...         return {"device": "abacus of wood"}
        ...     def open(self, workloads):
        ...         return Beads()
        >>> class Beads(ph.ProfilerSession):
        ...     def visit(self, order):
        ...         return [ph.Visit.of([2.0]) for _ in order]
        >>> space = ph.SearchSpace.load("cifar-mbconv")
        >>> table = ph.profile(space, device="abacus", budget_s=5, goal=0.5, quiet=True)
        >>> table.metadata["device"], float(table.to_pandas()["value"].median())
        ('abacus of wood', 2.0)
    """
    if kind in BUILT_IN_KINDS:
        raise ProfilingError(f"device kind '{kind}' is built in. Choose another name.")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ProfilingError(
            "a device kind has 1 to 40 small letters, digits, '-' and '_' and begins with a "
            f"letter: received '{str(kind)[:60]}'."
        )
    declared: type[DataclassInstance] = NoOptions
    if options is not None:
        if not is_frozen_dataclass(options):
            raise ProfilingError(
                f"the options of device kind '{kind}' are a frozen dataclass: received "
                f"{options!r}. Write @dataclass(frozen=True, kw_only=True) above the class."
            )
        try:
            described_options(options)
        except TypeError as cause:
            raise ProfilingError(f"device kind '{kind}': {cause}.") from cause
        declared = options

    def register(factory: Registered) -> Registered:
        if not callable(factory):
            raise ProfilingError(
                f"device kind '{kind}' is served by a class or function that takes settings: "
                f"received {type(factory).__name__}."
            )
        _AT_RUN_TIME[kind] = OwnProfiler(factory, declared)
        return factory

    return register


def own_kinds() -> list[str]:
    """Registered device kinds, sorted."""
    return sorted({*_entries(), *_AT_RUN_TIME})


def exists_here_only(kind: str) -> bool:
    """Whether a device kind was registered at run time: another process does not know it."""
    return kind in _AT_RUN_TIME and kind not in _entries()


def own_profiler(kind: str) -> OwnProfiler | None:
    """The registered profiler of a device kind, or None for a kind that is not registered.

    Raises:
        BackendUnavailableError: an installed package registers it, but it cannot be loaded.
    """
    entry = _entries().get(kind)
    if entry is None:
        return _AT_RUN_TIME.get(kind)
    with loading(entry, f"device kind '{kind}'"):
        factory: Factory = entry.load()
    declared = _AT_RUN_TIME.get(kind)
    return OwnProfiler(factory) if declared is None else declared


def _entries() -> dict[str, EntryPoint]:
    """Profilers of installed packages by kind; a built-in kind cannot be taken over."""
    return {
        entry.name: entry
        for entry in entry_points(group=PROFILER_GROUP)
        if entry.name not in BUILT_IN_KINDS
    }


def completed_header(
    kind: str, given: Mapping[str, object], settings: ProfilerSettings
) -> dict[str, str]:
    """Header fields of an own profiler: what it says itself, else what the settings say.

    Raises:
        ProfilingError: a key or value is no text of one line, or metric and unit are unknown.
    """
    if not isinstance(given, Mapping):
        raise ProfilingError(
            f"device kind '{kind}': describe() returns a dict of header lines: received "
            f"{type(given).__name__}."
        )
    for key, value in given.items():
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", str(key)) or "\n" in str(value):
            raise ProfilingError(
                f"device kind '{kind}': describe() gives header lines, a name in small letters "
                f"and a text of one line each: received {str(key)[:60]!r}: {str(value)[:60]!r}."
            )
    stated = {str(key): str(value) for key, value in given.items()}
    metric = stated.get("metric", settings.metric)
    header = {
        "device": kind,
        "device_kind": kind,
        "runtime": settings.runtime or kind,
        "runtime_version": "not stated",
        "threads": str(settings.threads),
        "batch_size": str(settings.batch_size),
        "precision": settings.precision,
        "metric": metric,
        "unit": UNITS.get(metric, ""),
        "statistic": "median",
        "fingerprint": "not stated",
    }
    options = options_line(option_texts(settings.options))
    header |= {"options": options} if options else {}
    header |= stated
    if UNITS.get(metric) != header["unit"]:
        known = ", ".join(f"{name} in {unit}" for name, unit in UNITS.items())
        raise ProfilingError(
            f"device kind '{kind}': a metric is one of {known}: describe() says {metric!r} in "
            f"{header['unit']!r}."
        )
    return header


def options_line(values: Mapping[str, str]) -> str:
    """Options as one header line; `recorded_own_options` reads it back."""
    return json.dumps(values, ensure_ascii=False) if values else ""


def recorded_own_options(header: Mapping[str, str]) -> dict[str, str]:
    """The device options that the header of an own device's table tells.

    Raises:
        ProfilingError: the line cannot be read.
    """
    line = header.get("options", "{}")
    values = parse_json(line, ProfilingError, "header line options")
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise ProfilingError(
            f"header line options is a JSON object of texts: received {line[:80]!r}. Profile anew."
        )
    return values
