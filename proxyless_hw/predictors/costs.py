"""What every choice of a space costs: the one form that goes from predictor to report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.calibration import IDENTITY, Calibration
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.counting import op_macs, op_parameters
from proxyless_hw.space.footprint import Precision, op_flash_bytes
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec

FloatArray = NDArray[np.float64]

COUNTED: Final = {"macs": "M", "parameters": "M", "flash": "MB"}
"""Costs that need no table, and their units: millions."""

PEAK: Final = "memory"
"""What a network needs at its most, which is no sum over its ops."""

GROUP: Final = 4
"""Slots that `score` looks up at once: max_candidates ** 4 sums stay within a CPU's cache."""

CHUNK: Final = 1 << 13
"""Networks scored at a time, so that intermediate arrays stay within a CPU's cache."""


@dataclass(frozen=True)
class CostTable:
    """Cost of every choice of a space, separable over slots; calibration is contained.

    Attributes:
        name: where it comes from, for messages: a table's name, or ``macs``, ``parameters``,
            ``flash``.
        unit: ``ms``, ``mJ``, ``M``, ``MB``.
        fixed: cost of what every network has.
        slots: cost of each candidate, (slots, max_candidates); 0 where none exists, whatever was
            given there.
        mask: True where a candidate exists, same shape.
    """

    name: str
    unit: str
    fixed: float
    slots: FloatArray
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        mask = np.asarray(self.mask, dtype=bool)
        object.__setattr__(self, "fixed", float(self.fixed))
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "slots", np.where(mask, self.slots, 0.0).astype(np.float64))

    def cost(self, choices: Sequence[int]) -> float:
        """Cost of the network that `choices`, one candidate per slot, stand for."""
        return self.fixed + float(self.slots[np.arange(len(choices)), list(choices)].sum())

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest cost in the space."""
        low = np.where(self.mask, self.slots, np.inf).min(1).sum()
        high = np.where(self.mask, self.slots, -np.inf).max(1).sum()
        return self.fixed + float(low), self.fixed + float(high)

    def expected(self, probabilities: FloatArray) -> float:
        """Mean cost of networks drawn slot by slot.

        Args:
            probabilities: (slots, max_candidates); rows sum to 1.
        """
        return self.fixed + float((np.asarray(probabilities) * self.slots).sum())

    def score(self, choices: ArrayLike) -> FloatArray:
        """Cost of many networks at once.

        Args:
            choices: (n, slots) integers, one candidate index per slot.

        Returns:
            (n,) float64, in `unit`.

        Raises:
            PredictorError: wrong shape, not integers, or an index outside its slot.
        """
        table = np.asarray(choices)
        if table.ndim != 2 or table.shape[1] != len(self.slots) or table.dtype.kind not in "iu":
            raise PredictorError(
                f"choices must be integers of shape (n, {len(self.slots)}): received "
                f"{table.dtype} of shape {table.shape}."
            )
        total = np.empty(len(table))
        for start in range(0, len(table), CHUNK):
            part = table[start : start + CHUNK]
            if part.min() < 0 or part.max() > 127:
                self._refuse(part)
            columns = np.ascontiguousarray(part.astype(np.int8).T)
            if (columns.max(1) >= self._sizes).any():
                self._refuse(part)
            total[start : start + CHUNK] = self._score_columns(columns)
        return total

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        sizes: NDArray[np.int64] = self.mask.sum(1)
        return sizes

    @cached_property
    def _sums(self) -> list[tuple[int, int, FloatArray]]:
        return _grouped_sums(self.slots)

    def _score_columns(self, columns: NDArray[np.int8]) -> FloatArray:
        total = np.full(columns.shape[1], self.fixed)
        index = np.empty(columns.shape[1], dtype=np.intp)
        width = self.mask.shape[1]
        for first, last, sums in self._sums:
            index[:] = columns[first]
            for column in columns[first + 1 : last]:
                np.multiply(index, width, out=index)
                np.add(index, column, out=index)
            total += sums.take(index)
        return total

    def _refuse(self, choices: ArrayLike) -> None:
        part = np.asarray(choices)
        bad = (part < 0) | (part >= self._sizes)
        row, slot = (int(value) for value in np.argwhere(bad)[0])
        raise PredictorError(
            f"slot {slot} has candidates 0 to {self._sizes[slot] - 1}: received {part[row, slot]}."
        )


def space_costs(
    space: SearchSpace,
    op_costs: Callable[[Sequence[OpSpec]], FloatArray],
    calibration: Calibration | None,
    resolution: int | None = None,
    num_classes: int | None = None,
    *,
    name: str = "",
    unit: str = "ms",
) -> CostTable:
    """Prices a space: measured = a + b sum + c blocks, with Zero at 0 and 0 blocks.

    Args:
        space: the space.
        op_costs: prices distinct ops, in order; raises for those it cannot.
        calibration: a, b, c; None for the plain sum.
        resolution, num_classes: deployment shape; the space's own when None.
        name, unit: of the result.
    """
    a, b, c = (calibration or IDENTITY).coefficients
    distinct = space.ops(resolution, num_classes)
    price = dict(zip(distinct, (float(value) for value in op_costs(distinct)), strict=True))
    mask = np.zeros((len(space.slots), space.max_candidates), dtype=bool)
    slots = np.zeros(mask.shape)
    for row, ops in enumerate(space.slot_ops(resolution)):
        mask[row, : len(ops)] = True
        slots[row, : len(ops)] = [0.0 if op is None else b * price[op] + c for op in ops]
    fixed = space.fixed_ops(resolution, num_classes)
    fixed_blocks = sum(
        not position.is_slot and not position.candidates[0].is_free for position in space.positions
    )
    total = a + b * sum(price[op] for op in fixed) + c * fixed_blocks
    return CostTable(name, unit, total, slots, mask)


def counted_costs(
    name: str,
    space: SearchSpace,
    resolution: int | None = None,
    num_classes: int | None = None,
    precision: Precision = "fp32",
) -> CostTable:
    """The cost of every choice in millions of ``macs`` or ``parameters``, or in MB of ``flash``.

    Args:
        name: a key of `COUNTED`.
        space: the space.
        resolution, num_classes: deployment shape; the space's own when None.
        precision: number format of the weights, for ``flash``.

    Raises:
        PredictorError: the cost is no sum over a network's ops, or not known.
    """
    if name == PEAK:
        raise PredictorError(
            "the memory of a network is the peak of one of its ops, and no sum: it has no "
            "expectation. Take the candidates out that need more than the limit: "
            "within_memory(space, limit)."
        )
    if name not in COUNTED:
        raise PredictorError(f"counted are {', '.join(COUNTED)}: received '{name[:80]}'.")
    counts: dict[str, Callable[[OpSpec], int]] = {
        "macs": op_macs,
        "parameters": op_parameters,
        "flash": lambda op: op_flash_bytes(op, precision),
    }
    count = counts[name]
    return space_costs(
        space,
        lambda ops: np.array([count(op) / 1e6 for op in ops]),
        None,
        resolution,
        num_classes,
        name=name,
        unit=COUNTED[name],
    )


def count_blocks(arch: Architecture) -> int:
    """How often the calibration's ``c blocks`` term applies to a network.

    A block is what stands between stem and head and runs, whatever its op: the place decides, so
    that a network counts as many blocks as `space_costs` charges for its choices. Removed blocks
    and plain identities cost nothing and do not count; in a tree every op counts.
    """
    return sum(not layer.is_free for layer in arch.blocks)


def _grouped_sums(slots: FloatArray) -> list[tuple[int, int, FloatArray]]:
    """(first slot, last slot + 1, sums of all their combinations in base max_candidates)."""
    width = slots.shape[1]
    if width > 127:
        raise PredictorError(f"a slot may have at most 127 candidates: received {width}.")
    group = GROUP if width**GROUP <= 1 << 16 else 1
    lookups = []
    for first in range(0, len(slots), group):
        rows = slots[first : first + group]
        sums = rows[0].copy()
        for row in rows[1:]:
            sums = (sums[:, None] + row[None]).ravel()
        lookups.append((first, first + len(rows), sums))
    return lookups
