"""Workloads become torch modules with an input shape, ready for a model writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.base import Workload
from proxyless_hw.profilers.models.between import between_convolutions
from proxyless_hw.space.limits import MAX_IMAGE_CHANNELS
from proxyless_hw.space.op_registry import exists_here_only
from proxyless_hw.space.specs import ZERO, OpSpec

if TYPE_CHECKING:
    from torch import nn

WEIGHT_SEED: Final = 0

REFERENCE_OP: Final = OpSpec(
    "mbconv", 28, 28, 40, 28, 28, 40, kernel=5, expand=3, skip=True, act="relu6"
)
"""The reference that every measurement shares, so that tables can be set side by side."""

IDENTITY: Final = Workload(name="identity", op=OpSpec(ZERO, 8, 8, 8, 8, 8, 8, skip=True))
"""A model that does nothing: its latency is the overhead of one call of the runtime."""


def takes_input(workload: Workload) -> bool:
    """Whether an op takes the network's own input: images have up to four channels."""
    return workload.op is not None and workload.op.in_c <= MAX_IMAGE_CHANNELS


def gives_output(workload: Workload) -> bool:
    """Whether an op gives the network's own output."""
    return workload.op is not None and workload.op.op == "classifier"


def ops_here_only(workload: Workload) -> tuple[str, ...]:
    """The ops of an op or a network that were registered at run time: no other process has them."""
    layers = () if workload.arch is None else workload.arch.layers
    names = {layer.op for layer in layers} | ({workload.op.op} if workload.op else set())
    return tuple(sorted(name for name in names if exists_here_only(name)))


def build_module(workload: Workload, batch_size: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Builds an op or a network in eval mode, with its (N, C, H, W) input shape.

    Weights are drawn from a fixed seed: what they are does not change how long a call takes.

    Raises:
        ProfilingError: the workload is a file.
        ArchitectureError, BackendUnavailableError: as `build_layer`.
    """
    from proxyless_hw.network.network import build_network
    from proxyless_hw.network.ops import build_layer, init_weights

    if workload.op is not None:
        op = workload.op
        module = build_layer(op.layer, workload.batch_norm)
        init_weights(module, WEIGHT_SEED)
        if workload.between:
            ends = {"first": takes_input(workload), "last": gives_output(workload)}
            module = between_convolutions(module, op.in_c, op.out_c, **ends)
        return module.eval(), (batch_size, op.in_c, op.in_h, op.in_w)
    if workload.arch is not None:
        arch = workload.arch
        network = build_network(arch, WEIGHT_SEED)
        return network.eval(), (batch_size, arch.in_channels, arch.resolution, arch.resolution)
    raise ProfilingError(f"{workload.name} is a file; only ops and networks are built.")
