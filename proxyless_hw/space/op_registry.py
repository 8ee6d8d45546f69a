"""The ops that spaces, tables and networks may name: built-in ones and those of one's own.

An own op is registered at run time by `register_op`, or by an installed package through the
entry-point group ``proxyless_hw.ops``: the entry's name is the op's name, and it loads the builder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final, TypeVar, get_type_hints

from proxyless_hw.errors import ArchitectureError, BackendUnavailableError, did_you_mean
from proxyless_hw.space.bottlenecks import built_in_options
from proxyless_hw.space.op_options import OpOptions, OptionValue
from proxyless_hw.space.specs import ZERO, BatchNormSpec, LayerSpec, op_variant

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn

OP_GROUP: Final = "proxyless_hw.ops"
BUILT_IN_OPS: Final = frozenset(
    (
        *("conv", "conv_nobn", "mbconv", "pool", "classifier"),
        *("mbconv_pw", "mbconv_g2_shuffle"),
        *("uib", "fused_mbconv"),
        *("conv_pre", "conv_pre_g2_shuffle", "sepconv_pre", "sepconv_pre_d2"),
        *("avgpool", "maxpool", "identity", "identity_pre"),
    )
)
"""The usual built-in names; `specs.op_variant` reads every combination of modifiers."""

STANDARD_KEYS: Final = frozenset(("op", "kernel", "stride", "width", "expand", "act", "se"))
"""Keys of an op in a space that every op has; others are options."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")

if TYPE_CHECKING:
    Builder = Callable[[LayerSpec, BatchNormSpec], nn.Module]
Registered = TypeVar("Registered", bound="Builder")


@dataclass(frozen=True, slots=True)
class OwnOp:
    """A registered op.

    Attributes:
        build: ``build(layer, batch_norm)`` -> module, (N, in_c, H, W) to (N, out_c, H/stride,
            W/stride).
        options: the frozen dataclass of its options; None takes any.
        shortcut: whether a residual addition is put around it where stride is 1 and channels
            match.
    """

    build: Builder
    options: type[DataclassInstance] | None = None
    shortcut: bool = False


_AT_RUN_TIME: Final[dict[str, OwnOp]] = {}


def register_op(
    name: str, *, options: type[DataclassInstance] | None = None, shortcut: bool = False
) -> Callable[[Registered], Registered]:
    """Registers an op under a name, for this process. A decorator.

    What it decorates is called with a `LayerSpec` and a `BatchNormSpec`, and returns a torch
    module that maps (N, in_c, H, W) to (N, out_c, H/stride, W/stride). What the space says of the
    op beyond the standard keys (kernel, expand, act, se) is in ``layer.options``. A later
    registration of the same name replaces an earlier one.

    Parameters and multiply-accumulates are counted by torch on the built module.

    Args:
        name: what a space calls it; small letters, digits and ``_``.
        options: a frozen dataclass of int, float and str fields: the keys that the space may set,
            with their defaults. Other keys are refused. None takes any key.
        shortcut: whether a residual addition is put around the op where stride is 1 and channels
            match, as around ``mbconv``. Without it the op owns any addition; in a slot that holds
            such an op, Zero is the identity path.

    Raises:
        ArchitectureError: the name is built in or no such name, or `options` is no frozen
            dataclass of such fields.

    Example:
        >>> from torch import nn
        >>> import proxyless_hw as ph
        >>> @ph.register_op("pointwise")
        ... class Pointwise(nn.Conv2d):
        ...     def __init__(self, layer, batch_norm):
        ...         super().__init__(layer.in_c, layer.out_c, 1, layer.stride)
        >>> ph.op_macs(ph.OpSpec("pointwise", 8, 8, 16, 8, 8, 32))
        32768
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ArchitectureError(
            "an op's name has 1 to 40 small letters, digits and '_' and begins with a letter: "
            f"received {str(name)[:60]!r}."
        )
    if name == ZERO or not op_variant(name).is_custom:
        raise ArchitectureError(f"op '{name}' is built in. Choose another name.")
    if options is not None:
        _check_options_class(name, options)

    def register(build: Registered) -> Registered:
        if not callable(build):
            raise ArchitectureError(
                f"op '{name}' is built by a class or function of (layer, batch_norm): received "
                f"{type(build).__name__}."
            )
        _AT_RUN_TIME[name] = OwnOp(build, options, shortcut)
        return build

    return register


def is_frozen_dataclass(cls: object) -> bool:
    """Whether something is the class of a frozen dataclass."""
    if not isinstance(cls, type) or not is_dataclass(cls):
        return False
    return bool(getattr(getattr(cls, "__dataclass_params__", None), "frozen", False))


def _check_options_class(name: str, options: type[DataclassInstance]) -> None:
    if not is_frozen_dataclass(options):
        raise ArchitectureError(
            f"the options of op '{name}' are a frozen dataclass: received {options!r}. Write "
            "@dataclass(frozen=True, kw_only=True) above the class."
        )
    kinds = get_type_hints(options)
    for item in fields(options):
        if kinds[item.name] not in (int, float, str) or item.name in STANDARD_KEYS:
            raise ArchitectureError(
                f"op '{name}': an option is an int, float or str, and none of the standard keys "
                f"{', '.join(sorted(STANDARD_KEYS))}: received {item.name}: {kinds[item.name]}."
            )


@cache
def custom_ops() -> dict[str, EntryPoint]:
    """Ops of installed packages by name; a built-in name cannot be taken over."""
    return {
        entry.name: entry
        for entry in entry_points(group=OP_GROUP)
        if op_variant(entry.name).is_custom
    }


def own_op_names() -> list[str]:
    """Every registered op, sorted."""
    return sorted({*custom_ops(), *_AT_RUN_TIME})


def known_ops() -> frozenset[str]:
    """The usual op names that can be used here, for messages."""
    return BUILT_IN_OPS | frozenset(own_op_names())


def is_known_op(name: object) -> bool:
    """Whether an op of this name is built in or registered."""
    return isinstance(name, str) and (
        not op_variant(name).is_custom or name in _AT_RUN_TIME or name in custom_ops()
    )


def exists_here_only(name: str) -> bool:
    """Whether an op was registered at run time: another process does not know it."""
    return name in _AT_RUN_TIME and name not in custom_ops()


def own_op(name: str) -> OwnOp:
    """A registered op.

    Raises:
        ArchitectureError: no op of that name is registered.
        BackendUnavailableError: an installed package registers it, but it cannot be loaded.
    """
    entry = custom_ops().get(name)
    declared = _AT_RUN_TIME.get(name)
    if entry is None:
        if declared is None:
            hint = did_you_mean(name, known_ops())
            raise ArchitectureError(
                f"no op '{name}' is built in or registered.{hint} Register it with "
                "proxyless_hw.register_op, or install the package that does."
            )
        return declared
    with loading(entry, f"op '{name}'"):
        build: Builder = entry.load()
    # Loading may have run the decorator, which knows its options and shortcut.
    return _AT_RUN_TIME.get(name, OwnOp(build))


@contextmanager
def loading(entry: EntryPoint, what: str) -> Iterator[None]:
    """Within it an entry point is loaded; `what` names in the message what it registers.

    Raises:
        BackendUnavailableError: it cannot be loaded.
    """
    try:
        yield
    except (ImportError, AttributeError) as cause:
        raise BackendUnavailableError(
            f"{what} is registered as {entry.value} but cannot be loaded: {cause}."
        ) from cause


def op_options(name: str, given: Mapping[str, object]) -> OpOptions:
    """The options of an op: what a space gives, and the defaults of the rest.

    Raises:
        ValueError: an option is unknown (the nearest is named), missing, or has a wrong value.
        ArchitectureError, BackendUnavailableError: as `own_op`.
    """
    if not op_variant(name).is_custom:
        return built_in_options(name, given)
    declared = own_op(name).options
    if declared is None:
        return OpOptions({key: _checked(key, value, None) for key, value in given.items()})
    kinds = get_type_hints(declared)
    for key in given:
        if key not in kinds:
            near = did_you_mean(str(key), kinds)
            raise ValueError(
                f"op '{name}' has no option '{str(key)[:60]}'.{near} It takes: {', '.join(kinds)}"
            )
    values = {}
    for item in fields(declared):
        if item.name in given:
            values[item.name] = _checked(item.name, given[item.name], kinds[item.name])
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"op '{name}' needs option '{item.name}'")
    instance = declared(**values)  # its own checks, and the defaults
    return OpOptions({item.name: getattr(instance, item.name) for item in fields(declared)})


def _checked(name: str, value: object, kind: type | None) -> OptionValue:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) not in ((int, float, str) if kind is None else (kind,)):
        wanted = "a number or a word" if kind is None else f"of type {kind.__name__}"
        raise ValueError(f"option '{name}' is {wanted}: received {str(value)[:60]!r}")
    assert isinstance(value, (int, float, str))
    return value
