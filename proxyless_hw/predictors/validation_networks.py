"""The networks of a space on which a table is validated.

Uniform random networks give the errors a search would meet. Ranks are judged on networks spread
evenly over the feasible range, because uniform ones lie close together and their order is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.sampling import spread_choices, uniform_choices
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import LayerSpec
from proxyless_hw.tables.check import pricing_shape
from proxyless_hw.tables.table import LatencyTable

SPREAD_NETWORKS: Final = 30


@dataclass(frozen=True, slots=True)
class DrawnNetwork:
    """A network that a table is validated on.

    Attributes:
        name: what it is.
        kind: ``uniform``, ``spread`` or ``named``.
        arch: the network at its deployment shape.
    """

    name: str
    kind: str
    arch: Architecture


def draw_networks(
    table: LatencyTable,
    space: SearchSpace,
    networks: int,
    spread: int,
    seed: int,
    resolution: int | None = None,
) -> list[DrawnNetwork]:
    """Networks of a space: uniform, spread over the feasible range, and its corners.

    Raises:
        PredictorError: none are asked for.
        MissingEntryError: the table lacks ops of the space.
    """
    if networks + spread < 1:
        raise PredictorError("nothing to validate: --networks and --spread are both 0.")
    sizes, classes = pricing_shape(table, space, () if resolution is None else (resolution,))
    side = space.resolution if space.resolution in sizes else sizes[0]
    table.require(space.ops(side, classes))
    costs = fit_predictor(table, "lookup", calibrate=False).space_costs(space, side, classes)
    chosen = [
        (f"uniform {index}", "uniform", row.tolist())
        for index, row in enumerate(uniform_choices(space, networks, seed))
    ]
    chosen += [
        (f"spread {index}", "spread", row.tolist())
        for index, row in enumerate(spread_choices(costs, spread, seed))
    ]
    chosen += [(name, "named", row) for name, row in named_choices(space).items()]
    return [
        DrawnNetwork(
            name,
            kind,
            Architecture.from_choices(space, row, resolution=side, num_classes=classes),
        )
        for name, kind, row in chosen
    ]


def named_choices(space: SearchSpace) -> dict[str, list[int]]:
    """The corners of a space: deepest, shallowest, and one network per kernel size.

    Returns:
        Name to one candidate index per slot. The deepest has every block at its narrowest, the
        shallowest no block that may be removed, those of one kernel every block at its widest.
    """
    kernels = sorted(
        {
            layer.largest_kernel
            for slot in space.slots
            for layer in slot.candidates
            if not layer.is_zero and layer.largest_kernel > 1
        }
    )
    corners = {
        "deepest": [_narrowest(slot.candidates) for slot in space.slots],
        "shallowest": [
            next(
                (index for index, layer in enumerate(slot.candidates) if layer.is_zero),
                _widest(slot.candidates, None),
            )
            for slot in space.slots
        ],
    }
    for kernel in kernels:
        corners[f"all k{kernel}"] = [_widest(slot.candidates, kernel) for slot in space.slots]
    return corners


def _widest(candidates: Sequence[LayerSpec], kernel: int | None) -> int:
    """The candidate with the largest expansion, of a kernel where the slot has it."""
    indices = [index for index, layer in enumerate(candidates) if not layer.is_zero]
    matching = [index for index in indices if kernel in (None, candidates[index].largest_kernel)]
    return max(matching or indices, key=lambda index: candidates[index].expand)


def _narrowest(candidates: Sequence[LayerSpec]) -> int:
    indices = [index for index, layer in enumerate(candidates) if not layer.is_zero]

    def size(index: int) -> tuple[float, int]:
        return candidates[index].expand, candidates[index].largest_kernel

    return min(indices, key=size)
