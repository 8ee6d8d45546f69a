"""Settings of a run. Each is declared once: its field has the default, the bounds and the help.

Command-line options, the YAML form, the checks and the report's lines come from the declaration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self, get_args, get_type_hints

from proxyless_hw.errors import ProxylessHwError, did_you_mean
from proxyless_hw.runs.objects import GIVEN
from proxyless_hw.storage.documents import parse_yaml, read_text
from proxyless_hw.storage.setting_bounds import unusable

Autocast = Literal["none", "bf16", "fp16"]

DECLARATION: Final = "setting"
"""Key of a field's metadata."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a field declares beside its type and default.

    Attributes:
        help: what it is; the help text of its option.
        least, most: bounds that are allowed themselves; None for no bound.
        above, below: bounds that are not.
        metavar: what its option calls the value.
        option: whether a command has an option of the same name for it.
        free: whether it may differ between a run and its resumption, as it does not change the
            result.
    """

    help: str
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    metavar: str | None = None
    option: bool = True
    free: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies within the bounds."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    @property
    def rule(self) -> str:
        """The bounds as text."""
        low = self.least if self.above is None else self.above
        high = self.most if self.below is None else self.below
        if low is not None and high is not None:
            if self.above is not None and self.below is not None:
                return f"must lie strictly between {low:g} and {high:g}"
            start, end = "[" if self.above is None else "(", "]" if self.below is None else ")"
            return f"must lie in {start}{low:g}, {high:g}{end}"
        if self.above == 0:
            return "must be positive"
        if self.least == 0:
            return "must not be negative"
        if self.least is not None:
            return f"must be at least {self.least:g}"
        if self.above is not None:
            return f"must be above {self.above:g}"
        return f"must be below {high:g}" if self.below is not None else f"must be at most {high:g}"


def setting(default: Any, help: str, **more: Any) -> Any:
    """A dataclass field with its declaration.

    Args:
        default: the value when none is given; `dataclasses.MISSING` where one must be.
        help: what it is.
        more: fields of `Declaration`.
    """
    metadata = {DECLARATION: Declaration(help, **more)}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that are declared by fields made with `setting`; a subclass adds its own.

    Attributes:
        error: what a value out of its range raises.
        presets: named settings; those of a preset take the place of defaults.
    """

    error: ClassVar[type[ProxylessHwError]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = getattr(self, item.name)
            reason = _wrong(item.name, value, hints[item.name]) or _out_of_range(item, value)
            if reason is not None:
                raise self.error(f"{item.name} {reason}: received {repr(value)[:200]}.")

    @classmethod
    def declarations(cls) -> dict[str, Declaration]:
        """The declared settings by name, in order."""
        return {
            item.name: item.metadata[DECLARATION]
            for item in fields(cls)
            if DECLARATION in item.metadata
        }

    @classmethod
    def free(cls) -> frozenset[str]:
        """Settings that may differ between a run and its resumption."""
        return frozenset(name for name, said in cls.declarations().items() if said.free)

    @classmethod
    def of(
        cls,
        settings: Mapping[str, Any],
        preset: str | None = None,
        source: str = "the configuration",
    ) -> Self:
        """Builds a configuration from a preset and settings that override it.

        Args:
            settings: name to value; lists become tuples.
            preset: name of a preset.
            source: where the settings come from, for messages.

        Raises:
            ProxylessHwError: as `error`: an unknown preset or setting, a value out of range, or a
                setting without a default that is left out.
        """
        if preset is not None and preset not in cls.presets:
            raise cls.error(f"no preset '{preset[:60]}'.{did_you_mean(preset, cls.presets)}")
        values = dict(cls.presets[preset]) if preset is not None else {}
        known = {item.name for item in fields(cls)}
        for key, value in settings.items():
            if key not in known:
                raise cls.error(
                    f"{source} has an unknown setting '{str(key)[:60]}'."
                    f"{did_you_mean(str(key), known)}"
                )
            values[key] = tuple(value) if isinstance(value, list) else value
        for item in fields(cls):
            if item.default is MISSING and item.name not in values:
                help_text = item.metadata[DECLARATION].help
                raise cls.error(f"{source} must name '{item.name}'. {help_text}")
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """Reads settings from a YAML file, a mapping of this class's names.

        Raises:
            ProxylessHwError: as `error`: the file cannot be read, or holds no mapping.
        """
        document = parse_yaml(read_text(path, cls.error, "configuration"), cls.error, str(path))
        if not isinstance(document, dict):
            raise cls.error(f"{path} must hold a mapping of settings.")
        return {str(key): value for key, value in document.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for config.json."""
        values = asdict(self)
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
        }


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """Settings that every run has; a subclass adds its own and may change a default."""

    data: str = setting(
        "digits", "digits, mnist, fashion-mnist, cifar10, folder, ...", metavar="NAME"
    )
    data_root: str | None = setting(
        None, "Folder of the data set, where it needs one.", metavar="DIR"
    )
    limit: int | None = setting(None, "Largest number of training images.", above=0)
    train_resolution: int | None = setting(
        None, "Training resolution; the data set's by default.", least=8, most=1024
    )
    batch_size: int = setting(64, "Images per step and process.", above=0)
    workers: int = setting(0, "Data-loading processes.", least=0, free=True)
    max_broken: int | float | None = setting(
        None, "Unreadable images of a folder that are passed over.", option=False, free=True
    )
    holdout: float = setting(
        0.0, "Share of the training images that is held out.", least=0, below=1
    )
    device: str = setting("cpu", "Where torch computes: cpu, cuda, mps or auto.", metavar="DEVICE")
    autocast: Autocast = setting("none", "Mixed precision.")
    threads: int | None = setting(
        None, "torch threads; torch's default by default.", above=0, free=True
    )
    seed: int = setting(0, "Seeds weights, paths, order and augmentation.", least=0)
    output: str | None = setting(None, "Run folder.", metavar="DIR", free=True)
    resume: bool = setting(False, "Go on with an interrupted run.", free=True)

    def data_settings(self) -> dict[str, Any]:
        """The arguments of `proxyless_hw.data.base.DataConfig`.

        Raises:
            ProxylessHwError: as `error`: the data were given as an object.
        """
        if self.data == GIVEN:
            raise self.error(
                "the data of this run were given as an object, from Python, and no file holds "
                "them. Give them again, from Python: data=... (ph.evaluate, ph.export, "
                "ph.derive_run), or name a data set."
            )
        return {
            "name": self.data,
            "root": self.data_root,
            "limit": self.limit,
            "resolution": self.train_resolution,
            "batch_size": self.batch_size,
            "holdout": self.holdout,
            "seed": self.seed,
            "workers": self.workers,
            "max_broken": self.max_broken,
        }


def _wrong(name: str, value: object, hint: Any) -> str | None:
    """Returns why a value does not have a setting's type; None if it has."""
    reason = unusable(name, value)
    if reason is not None:
        return reason
    options = get_args(hint)
    if options and all(isinstance(option, str) for option in options):
        return None if value in options else f"must be one of {', '.join(options)}"
    if hint == tuple[str, ...]:
        texts = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        return None if texts else "must be a list of texts such as 'macs=320M'"
    accepted = tuple(option for option in (options or (hint,)) if isinstance(option, type))
    if value is None and type(None) in accepted:
        return None
    if float in accepted:
        number = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
        return None if number else "must be a number"
    names = " or ".join(kind.__name__ for kind in accepted if kind is not type(None))
    return None if type(value) in accepted else f"must be of type {names}"


def _out_of_range(item: Field[Any], value: Any) -> str | None:
    said = item.metadata.get(DECLARATION)
    if said is None or value is None or type(value) not in (int, float) or said.holds(value):
        return None
    return str(said.rule)
