"""The ops that spaces, tables and networks may name: built-in ones and those of third parties.

A third party registers an op through the entry-point group ``proxyless_hw.ops``: the entry's name
is the op's name, and it loads a callable ``build(layer: LayerSpec, batch_norm: BatchNormSpec) ->
torch.nn.Module`` that maps (N, in_c, H, W) to (N, out_c, H/stride, W/stride).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from proxyless_hw.errors import ArchitectureError, BackendUnavailableError
from proxyless_hw.space.specs import op_variant

OP_GROUP: Final = "proxyless_hw.ops"
BUILT_IN_OPS: Final = frozenset(
    (
        *("conv", "conv_nobn", "mbconv", "pool", "classifier"),
        *("conv_pre", "conv_pre_g2_shuffle", "sepconv_pre", "sepconv_pre_d2"),
        *("avgpool", "maxpool", "identity", "identity_pre"),
    )
)
"""The usual built-in names; `specs.op_variant` reads every combination of modifiers."""


@cache
def custom_ops() -> dict[str, EntryPoint]:
    """Registered third-party ops by name; a built-in name cannot be taken over."""
    return {
        entry.name: entry
        for entry in entry_points(group=OP_GROUP)
        if op_variant(entry.name).is_custom
    }


def known_ops() -> frozenset[str]:
    """The usual op names that can be used here, for messages."""
    return BUILT_IN_OPS | frozenset(custom_ops())


def is_known_op(name: object) -> bool:
    """Whether an op of this name is built in or registered."""
    return isinstance(name, str) and (not op_variant(name).is_custom or name in custom_ops())


def load_custom_op(name: str) -> Any:
    """The builder of a registered third-party op.

    Raises:
        ArchitectureError: no op of that name is built in or registered.
        BackendUnavailableError: the registered builder cannot be loaded.
    """
    entry = custom_ops().get(name)
    if entry is None:
        raise ArchitectureError(f"no op '{name}' is built in or registered.")
    try:
        return entry.load()
    except (ImportError, AttributeError) as cause:
        raise BackendUnavailableError(
            f"op '{name}' is registered as {entry.value} but cannot be loaded: {cause}."
        ) from cause
