"""A supernet that starts from the weights of a network: each candidate that contains a block.

Blocks of network and space are paired in running order; a pair has the same input and output
channels, stride and shortcut. A candidate takes the block's first channels and the middle of its
kernels. Where the candidate is larger, its kernel is zero around that middle, and its projection is
zero for the channels that the block does not have: at the start it computes what the block does,
and the weights that are zero receive gradients. Where it is smaller, it takes a part, and computes
something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from proxyless_hw.errors import SearchError
from proxyless_hw.network.network import Network
from proxyless_hw.network.ops import Residual
from proxyless_hw.runs.objects import GIVEN, tensors_hash
from proxyless_hw.runs.run_network import load_network
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.run_folder import SearchFolder
from proxyless_hw.search.supernet import MixedOp, SuperNet
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.op_names import CONVOLUTION_BLOCKS
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec, has_expansion, op_variant, squeeze_width
from proxyless_hw.storage.documents import JsonObject
from proxyless_hw.terminal.notices import notice

Fit = Literal["whole", "part", "none"]
"""How much of a block a candidate takes."""

_LISTED = 6


@dataclass(frozen=True)
class StartingWeights:
    """The network whose weights a search starts from.

    Attributes:
        network: None where a search goes on from its checkpoint and the file is gone.
        source: where it comes from, for messages.
        facts: what the run folder keeps, to tell another network by; empty for one that was given
            as an object, of which the folder keeps facts among those of objects.
    """

    network: Network | None
    source: str
    facts: JsonObject


def starting_weights(
    space: SearchSpace, config: SearchConfig, given: Network | None, folder: SearchFolder
) -> StartingWeights | None:
    """Loads the weights that a search starts from. Returns None for a search that starts fresh.

    Args:
        space: the search space.
        config: the settings; they name the weights.
        given: the network that was given as an object, in their place.
        folder: of the run; it tells what a resumed one began with.

    Raises:
        SearchError: they cannot be loaded, are others than those that the run began with, or no
            candidate of the space takes any of them.
        ArchitectureError: the architecture of a published checkpoint is not known.
    """
    if given is not None:
        _require_fit(space, given, "the given network")
        return StartingWeights(given, "the given network", {})
    setting, kept = config.weights, folder.weights() if config.resume else {}
    if setting is None:
        return None
    if setting == GIVEN:
        raise SearchError(
            "this search was given its weights as an object, from Python, and no file holds them. "
            "Give them again: weights=..."
        )
    if config.resume and folder.checkpoint.exists() and not Path(setting).exists():
        return StartingWeights(None, setting, kept)
    network = load_network(setting, SearchError)
    state = network.state_dict()
    facts: JsonObject = {"tensors": len(state), "hash": tensors_hash(state)}
    if kept and kept != facts:
        raise SearchError(
            f"--resume goes on with the run's own weights: {setting} holds others now than when "
            "the run began. Put the former file back, or choose another --output."
        )
    _require_fit(space, network, setting)
    return StartingWeights(network, setting, facts)


def _require_fit(space: SearchSpace, network: Network, source: str) -> None:
    arch = network.arch
    for pair, position in zip(paired(space, arch), space.positions, strict=True):
        if pair is not None and any(
            fit(candidate, arch.blocks[pair]) != "none" for candidate in position.candidates
        ):
            return
    raise SearchError(
        f"weights are put into candidates of the same channels, stride and kind: no candidate of "
        f"space '{space.id}' takes any of {source} ({arch.space}, {len(arch.blocks)} blocks). "
        "Give the weights of a network of this space."
    )


def paired(space: SearchSpace, arch: Architecture) -> list[int | None]:
    """The block of a network for every position of a space, in running order.

    Equally many blocks are paired one by one. Else a block is paired with the next position of its
    channels, stride and shortcut.

    Raises:
        SearchError: they are wired differently: one is a tree, or both are different trees.
    """
    positions = [position.candidates[0] for position in space.positions]
    if space.wiring != arch.wiring:
        raise SearchError(
            f"weights are put into a space that is wired as their network is: '{arch.space}' and "
            f"'{space.id}' differ. Give the weights of a network of this space."
        )
    if len(positions) == len(arch.blocks):
        return list(range(len(positions)))
    found: list[int | None] = [None] * len(positions)
    place = 0
    for number, block in enumerate(arch.blocks):
        if block.is_zero:
            continue
        later = range(place, len(positions))
        match = next((index for index in later if _same_place(positions[index], block)), None)
        if match is not None:
            found[match], place = number, match + 1
    return found


def fit(candidate: LayerSpec, block: LayerSpec) -> Fit:
    """How much of a block's weights a candidate takes.

    Returns:
        ``whole``: the candidate computes what the block does. ``part``: it is smaller somewhere, or
        has another activation or squeeze-and-excite. ``none``: their layers are not alike.
    """
    if block.is_zero or candidate.is_zero:
        return "none"
    if candidate == block:
        return "whole"
    if candidate.op in CONVOLUTION_BLOCKS:
        return _block_fit(candidate, block)
    variants = op_variant(candidate.op), op_variant(block.op)
    both = all(variant.base == "mbconv" for variant in variants) and _same_place(candidate, block)
    if not both or has_expansion(candidate) != has_expansion(block):
        return "none"
    groups = {(variant.groups, variant.shuffle) for variant in variants}
    if groups != {(1, False)} and (len(groups) > 1 or candidate.mid_c != block.mid_c):
        return "none"  # channels of other groups are other channels
    contains = (
        candidate.kernel >= block.kernel
        and candidate.mid_c >= block.mid_c
        and candidate.act == block.act
        and _contains_gate(candidate, block)
    )
    return "whole" if contains else "part"


def _block_fit(candidate: LayerSpec, block: LayerSpec) -> Fit:
    """`fit` of a ``uib`` or ``fused_mbconv``: blocks of one structure are alike."""

    def structure(layer: LayerSpec) -> tuple[str, bool, bool]:
        return layer.op, layer.start_kernel > 1, layer.kernel > 1

    if structure(candidate) != structure(block) or not _same_place(candidate, block):
        return "none"
    contains = (
        candidate.start_kernel >= block.start_kernel
        and candidate.kernel >= block.kernel
        and candidate.mid_c >= block.mid_c
        and candidate.act == block.act
    )
    return "whole" if contains else "part"


def _same_place(one: LayerSpec, other: LayerSpec) -> bool:
    def key(layer: LayerSpec) -> tuple[int, int, int, bool]:
        return layer.in_c, layer.out_c, layer.stride, layer.skip

    return key(one) == key(other)


def _contains_gate(candidate: LayerSpec, block: LayerSpec) -> bool:
    """Whether a candidate's squeeze-and-excite can compute what the block's does."""
    if not candidate.se or not block.se:
        return candidate.se == block.se
    same_sigmoid = (candidate.se == 1) == (block.se == 1)
    squeezed = (squeeze_width(layer.mid_c, layer.se) for layer in (candidate, block))
    return same_sigmoid and next(squeezed) >= next(squeezed)


@torch.no_grad()
def start_from(supernet: SuperNet, weights: StartingWeights) -> str:
    """Puts a network's weights into a supernet.

    Args:
        supernet: changed in place; what takes nothing stays as it is.
        weights: the network, and what to call it.

    Returns:
        What was taken and what was not, in one or two lines.
    """
    network = weights.network
    assert network is not None, "only a resumed search may lack its network"
    arch = network.arch
    if arch.batch_norm.eps != supernet.space.batch_norm.eps:
        notice(
            f"{weights.source}: these weights were trained with a BatchNorm eps of "
            f"{arch.batch_norm.eps:g}, this space has {supernet.space.batch_norm.eps:g}, so "
            "outputs differ at first."
        )
    report = _Report(weights.source)
    pairs = paired(supernet.space, arch)
    for pair, position, mixed in zip(
        pairs, supernet.space.positions, supernet.positions, strict=True
    ):
        if pair is None:
            report.add([], "no block of the network is paired with it")
            continue
        block = arch.blocks[pair]
        fits = [fit(candidate, block) for candidate in position.candidates]
        assert isinstance(mixed, MixedOp)
        for candidate, module in zip(fits, mixed.candidates, strict=True):
            if candidate != "none":
                _take(module, network.blocks[pair])
        why = "removed in the network" if block.is_zero else "other channels, stride or kind"
        report.add(fits, why)
    stem = _take_layers(supernet.stem, network.stem, supernet.space.stem, arch.stem)
    head_layers = [layer.with_classes(supernet.num_classes) for layer in supernet.space.head]
    head = _take_layers(supernet.head, network.head, head_layers, arch.head)
    return report.text(stem, head, arch.num_classes, supernet.num_classes)


def _take(target: nn.Module, source: nn.Module) -> None:
    """Copies a block into a candidate, tensor by tensor: first channels, middle of kernels."""
    given = _body(source).state_dict()
    for name, tensor in _body(target).state_dict().items():
        if name in given:
            _embed(tensor, given[name])


def _body(module: nn.Module) -> nn.Module:
    return module.body if isinstance(module, Residual) else module


def _embed(target: Tensor, given: Tensor) -> None:
    """Copies what both have; the rest of the output channels that were copied becomes zero.

    Output channels that only `target` has stay as they are. Channels count from the first, kernels
    from their middle.
    """
    if target.ndim == 0:
        target.copy_(given)
        return
    target[: len(given)] = 0
    sizes = [min(one, other) for one, other in zip(target.shape, given.shape, strict=True)]

    def place(tensor: Tensor) -> Tensor:
        for axis, size in enumerate(sizes):
            margin = (tensor.shape[axis] - size) // 2 if axis > 1 else 0
            tensor = tensor.narrow(axis, margin, size)
        return tensor

    place(target).copy_(place(given))


def _take_layers(
    targets: nn.Sequential,
    sources: nn.Sequential,
    wanted: Sequence[LayerSpec],
    held: Sequence[LayerSpec],
) -> list[bool]:
    """Copies the layers of a stem or head that are equal; says which were."""
    same = [
        place < len(held) and held[place] == layer and len(held) == len(wanted)
        for place, layer in enumerate(wanted)
    ]
    for place, is_same in enumerate(same):
        if is_same:
            targets[place].load_state_dict(sources[place].state_dict())
    return same


class _Report:
    """Counts the candidates that took something, and names the blocks of which none did."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.blocks = self.taken = 0
        self.candidates: Counter[Fit] = Counter()
        self.notes: dict[str, list[int]] = {}

    def add(self, fits: Sequence[Fit], why_none: str) -> None:
        """Counts the next block of the space."""
        self.blocks += 1
        self.candidates.update(fits)
        if set(fits) <= {"none"}:
            self.notes.setdefault(why_none, []).append(self.blocks)
        else:
            self.taken += 1

    def text(
        self, stem: Sequence[bool], head: Sequence[bool], classes: int, own_classes: int
    ) -> str:
        line = (
            f"weights of {self.source}: {self.taken} of {self.blocks} blocks (candidates: "
            f"{self.candidates['whole']} in full, {self.candidates['part']} in part), stem "
            f"{sum(stem)} of {len(stem)} layers, head {sum(head)} of {len(head)}"
        )
        if classes != own_classes:
            line += f" (the classifier begins anew: {classes} classes there, {own_classes} here)"
        parts = [f"block {_listed(numbers)}: {why}" for why, numbers in self.notes.items()]
        return f"{line}\nno weights for {'; '.join(parts)}" if parts else line


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    return f"{shown} and {len(numbers) - _LISTED} more" if numbers[_LISTED:] else shown
