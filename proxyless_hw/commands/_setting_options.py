"""Command-line options of a run: its settings, made from their declarations, and where they are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import click

from proxyless_hw.commands._options import max_broken_option
from proxyless_hw.runs.folder import RunFolder
from proxyless_hw.runs.settings import Declaration, RunSettings, Settings

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class RunOptions:
    """What the options of a run say.

    Attributes:
        given: the settings that were given, by name.
        preset: the preset's name; None for the settings' own defaults.
        config_file: YAML file of settings; None without one.
    """

    given: Mapping[str, object]
    preset: str | None
    config_file: Path | None

    def settings(
        self, config: type[RunSettings], folder: Callable[[Path], RunFolder]
    ) -> dict[str, object]:
        """Joins settings: those of the file, of the run that goes on, and of the options, in turn.

        Args:
            config: the settings.
            folder: makes the run folder of a path.

        Raises:
            ProxylessHwError: as `config.error`: the file or the run cannot be read.
        """
        settings: dict[str, object] = {}
        if self.config_file is not None:
            settings.update(config.read(self.config_file))
        if self.given.get("resume") and self.given.get("output"):
            run = folder(Path(str(self.given["output"])))
            if run.config.exists():
                settings.update(run.settings())
        return settings | dict(self.given)


def run_options(
    config: type[RunSettings], *, presets: str, output: str, leave_out: Collection[str] = ()
) -> Callable[[Function], Function]:
    """Adds --preset, --config, --output and an option for each setting that has one.

    The command receives them as `run`, a `RunOptions`.

    Args:
        config: the settings.
        presets: help text of --preset.
        output: help text of --output.
        leave_out: settings whose option the command makes itself.
    """
    names = [item.name for item in fields(config) if item.name not in leave_out]

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def collected(*args: Any, **values: Any) -> Any:
            given = _taken(values, names)
            run = RunOptions(given, values.pop("preset"), values.pop("config_file"))
            return function(*args, run=run, **values)

        decorated = cast("Function", collected)
        for option in (
            click.option("--output", metavar="DIR", help=output),
            click.option(
                "--config",
                "config_file",
                type=click.Path(path_type=Path),
                help="YAML file of settings; options given here override it.",
            ),
            click.option("--preset", type=click.Choice(list(config.presets)), help=presets),
            max_broken_option,
            _setting_options(config, leave_out=(*leave_out, "output")),
        ):
            decorated = option(decorated)
        return decorated

    return add


def given_settings(config: type[Settings]) -> Callable[[Function], Function]:
    """Adds an option for each setting that has one, and --max-broken.

    The command receives those that were given as `given`, by name. A setting without a default
    must be given.
    """
    names = [item.name for item in fields(config)]

    def add(function: Function) -> Function:
        @functools.wraps(function)
        def collected(*args: Any, **values: Any) -> Any:
            return function(*args, given=_taken(values, names), **values)

        decorated = max_broken_option(cast("Function", collected))
        return _setting_options(config, leave_out=())(decorated)

    return add


def _taken(values: dict[str, Any], names: Collection[str]) -> dict[str, object]:
    """Takes the settings out of a command's arguments; gives those that are not None."""
    found = {name: values.pop(name) for name in names if name in values}
    return {name: value for name, value in found.items() if value is not None}


def _setting_options(
    config: type[Settings], *, leave_out: Collection[str]
) -> Callable[[Function], Function]:
    """Adds an option for each setting that has one; a value that is not given is None."""
    hints = get_type_hints(config)
    declared = config.declarations()
    wanted = [
        _option(item.name, hints[item.name], declared[item.name], item.default)
        for item in fields(config)
        if item.name in declared and declared[item.name].option and item.name not in leave_out
    ]

    def add(function: Function) -> Function:
        for option in reversed(wanted):
            function = option(function)
        return function

    return add


def _option(
    name: str, hint: Any, said: Declaration, default: Any
) -> Callable[[Function], Function]:
    flag = f"--{name.replace('_', '-')}"
    if hint is bool:
        words = f"{flag}/--no-{name.replace('_', '-')}" if default else flag
        more: dict[str, Any] = {} if default else {"is_flag": True}
        return click.option(words, default=None, help=said.help, **more)
    if get_origin(hint) is Literal:
        return click.option(flag, type=click.Choice(get_args(hint)), help=said.help)
    kinds = set(get_args(hint) or (hint,)) - {type(None)}
    if float in kinds:
        kind: Any = float
    elif int in kinds:
        least = said.least if said.above is None else said.above + 1
        kind = click.IntRange(
            None if least is None else int(least), None if said.most is None else int(said.most)
        )
    else:
        kind = str
    must = default is MISSING
    return click.option(flag, type=kind, metavar=said.metavar, help=said.help, required=must)
