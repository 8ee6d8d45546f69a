"""The ops that spaces, tables and networks may name: built-in ones and those of third parties.

A third party registers an op through the entry-point group ``proxyless_hw.ops``: the entry's name
is the op's name, and it loads a callable ``build(layer: LayerSpec, batch_norm: BatchNormSpec) ->
torch.nn.Module`` that maps (N, in_c, H, W) to (N, out_c, H/stride, W/stride).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

OP_GROUP: Final = "proxyless_hw.ops"
BUILT_IN_OPS: Final = frozenset(("conv", "conv_nobn", "mbconv", "pool", "classifier"))


@cache
def custom_ops() -> dict[str, EntryPoint]:
    """Registered third-party ops by name; a built-in name cannot be taken over."""
    return {
        entry.name: entry
        for entry in entry_points(group=OP_GROUP)
        if entry.name not in BUILT_IN_OPS
    }


def known_ops() -> frozenset[str]:
    """Every op name that can be used here."""
    return BUILT_IN_OPS | frozenset(custom_ops())
