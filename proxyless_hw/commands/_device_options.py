"""The options that say on what and how to measure, shared by profile, validate and benchmark."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import click
from click.core import ParameterSource

from proxyless_hw.commands._options import log
from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.device_options import option_flags

if TYPE_CHECKING:
    from proxyless_hw.profilers.base import ProfilerSettings
    from proxyless_hw.profilers.protocol.timing import Progress

Function = TypeVar("Function", bound=Callable[..., Any])


class Measured(TypedDict):
    """The arguments that say on what and how a function measures."""

    device: str
    settings: ProfilerSettings


class Reported(TypedDict):
    """The arguments that say how a function that measures tells how far it is."""

    progress: Callable[[Progress], None] | None
    say: Callable[[str], None]
    quiet: bool


@dataclass(frozen=True)
class DeviceChoice:
    """What the device options say.

    Attributes:
        device: the kind of device.
        settings: how to measure on it.
        runtimes: the runtimes that were named; several only where a command compares them, and
            `settings` has none then.
        given: names of the options that the user gave; the others have their defaults.
    """

    device: str
    settings: ProfilerSettings
    runtimes: tuple[str, ...]
    given: frozenset[str]

    @property
    def arguments(self) -> Measured:
        """`device` and `settings`, as every function that measures takes them."""
        return {"device": self.device, "settings": self.settings}


_SETTINGS = ("runtime", "threads", "batch_size", "precision", "metric", "cpus", "options")


def device_options(function: Function) -> Function:
    """Adds --device and the options of a device's setting; a command receives them as `on`.

    `on` is a `DeviceChoice`. ProfilingError is raised where --cpus or --option is malformed, or
    where an option is given twice.
    """
    return _device_options(function, several=False)


def runtimes_options(function: Function) -> Function:
    """As `device_options`, for a command that takes --runtime several times."""
    return _device_options(function, several=True)


def _device_options(function: Function, several: bool) -> Function:
    names = ("device", *_SETTINGS, *(flag.name for flag in option_flags()))

    @functools.wraps(function)
    def collected(*args: Any, **values: Any) -> Any:
        source = click.get_current_context().get_parameter_source
        given = frozenset(name for name in names if source(name) is not ParameterSource.DEFAULT)
        taken = {name: values.pop(name) for name in names}
        runtimes = tuple(dict.fromkeys(taken["runtime"]))
        if len(runtimes) > 1 and not several:
            raise click.UsageError(
                f"--runtime is one runtime here: received {', '.join(runtimes)}."
            )
        taken["runtime"] = runtimes[0] if len(runtimes) == 1 else None
        device = taken.pop("device")
        on = DeviceChoice(device, _settings_from(taken, device), runtimes, given)
        return function(*args, on=on, **values)

    decorated = cast("Function", collected)
    for option in reversed(
        (
            click.option("--device", default="cpu", show_default=True,
                         help="cpu, gpu, mobile, npu, command, or a registered kind."),
            click.option("--runtime", multiple=True, metavar="NAME",
                         help="onnxruntime, litert, torch, ...: the device's default when not "
                         f"given.{' Repeat it to compare runtimes.' if several else ''}"),
            click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024)),
            click.option("--batch-size", default=1, show_default=True,
                         type=click.IntRange(1, 4096)),
            click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]),
                         help="Number format of the model: fp32 by default, int8 on an NPU."),
            click.option("--metric", default="latency", show_default=True,
                         type=click.Choice(["latency", "energy", "memory", "flash", "sram"])),
            click.option("--cpus", help="Processors to pin to, as 0 or 0,2."),
            *(
                click.option(flag.flag, metavar=flag.metavar, help=flag.help)
                for flag in option_flags()
            ),
            click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
                         help="Another option of the device; may be repeated. The devices command "
                         "lists them."),
        )
    ):  # fmt: skip
        decorated = option(decorated)
    return decorated


def _settings_from(values: dict[str, Any], device: str) -> ProfilerSettings:
    from proxyless_hw.profilers.base import ProfilerSettings
    from proxyless_hw.profilers.registry import default_precision

    options = {
        flag.name: value
        for flag in option_flags()
        if (value := values.pop(flag.name, None)) is not None
    }
    for text in values.pop("options"):
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ProfilingError(f"--option reads KEY=VALUE: received {text[:80]!r}.")
        if key in options:
            raise ProfilingError(
                f"option '{key[:60]}' is given twice: {options[key][:60]!r} and {value[:60]!r}. "
                "Leave one of the two out."
            )
        options[key] = value
    runtime = values.pop("runtime")
    return ProfilerSettings(
        runtime=runtime,
        threads=values.pop("threads"),
        batch_size=values.pop("batch_size"),
        precision=values.pop("precision") or default_precision(device, runtime),
        metric=values.pop("metric"),
        cpus=_cpus(values.pop("cpus")),
        options=options,
    )


def _cpus(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ProfilingError(f"--cpus lists processors as 0 or 0,2: received {text[:80]!r}.")
    return tuple(int(part) for part in parts)


@contextmanager
def reporting(title: str, quiet: bool, *, bar: bool = True) -> Iterator[Reported]:
    """`progress`, `say` and `quiet`, as functions that measure take them.

    Args:
        title: what is measured.
        quiet: nothing is shown or said.
        bar: shows how far measuring is; False where nothing is measured.
    """
    with progress_bar(title, quiet or not bar) as progress:
        yield {"progress": progress, "say": lambda message: log(message, quiet), "quiet": quiet}


@contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """A measurement's progress on stderr: a bar on a terminal, lines elsewhere; None when quiet."""
    if quiet:
        yield None
        return
    from proxyless_hw.terminal.progress import is_live, phase, stderr_console

    console = stderr_console()
    if not is_live(console):
        with phase(title) as say:
            say("building")
            yield lambda progress: say(progress.text)
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=1.0, state="building")

        def show(progress: Progress) -> None:
            whole = progress.elapsed_s + progress.left_s
            completed = progress.elapsed_s / max(whole, 1e-9)
            bar.update(task, completed=completed, state=progress.text)

        yield show
