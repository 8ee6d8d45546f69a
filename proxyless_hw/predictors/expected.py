"""The differentiable expected latency of a search space (ProxylessNAS, Eq. 6), vectorised."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.costs import SpaceCosts
from proxyless_hw.space.search_space import SearchSpace

_GROUP = 4
"""Slots that `score` looks up at once: max_candidates ** 4 sums stay within a CPU's cache."""
_CHUNK = 1 << 13
"""Architectures scored at a time, so that intermediate arrays stay within a CPU's cache."""


class PricesSpaces(Protocol):
    """Anything that can price a space; every predictor can."""

    def space_costs(
        self, space: SearchSpace, resolution: int | None = None, num_classes: int | None = None
    ) -> SpaceCosts: ...


class _Expectation(torch.autograd.Function):
    """E = sum p L with dE/dalpha = p (L - p . L): one pass forward, one product backward."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor, bias: Tensor, costs: Tensor) -> Tensor:
        p = torch.softmax(alpha + bias, 1)
        weighted = p * costs
        rows = weighted.sum(1, keepdim=True)
        ctx.slope = weighted.addcmul_(p, rows, value=-1)
        return rows.sum()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return ctx.slope * grad_outputs[0], None, None


class ExpectedLatency(nn.Module):
    """``expected(alpha) -> scalar ms``, differentiable in alpha.

    Args:
        space: the search space.
        predictor: prices its ops; any predictor, measured, regressed or calibrated.
        resolution, num_classes: deployment shape; the space's own when None.

    Attributes:
        fixed_ms: cost of what every network has.
        slot_ms: (slots, max_candidates) float64, 0 where no candidate exists.
        mask: True where a candidate exists, same shape.
    """

    slot_ms: Tensor
    mask: Tensor

    def __init__(
        self,
        space: SearchSpace,
        predictor: PricesSpaces,
        resolution: int | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self._set(predictor.space_costs(space, resolution, num_classes))

    @classmethod
    def from_costs(cls, costs: SpaceCosts) -> ExpectedLatency:
        """Builds the module from arrays."""
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        module._set(costs)
        return module

    def _set(self, costs: SpaceCosts) -> None:
        self.fixed_ms = float(costs.fixed_ms)
        mask = torch.as_tensor(costs.mask)
        self.register_buffer("mask", mask, persistent=False)
        filled = torch.as_tensor(costs.slot_ms, dtype=torch.float64).masked_fill(~mask, 0.0)
        self.register_buffer("slot_ms", filled, persistent=False)
        self._constants: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}
        self._lookups = _grouped_sums(filled.numpy())
        self._sizes = mask.sum(1).numpy()

    def forward(self, alpha: Tensor) -> Tensor:
        """Expected latency in ms.

        Args:
            alpha: architecture parameters, (slots, max_candidates); absent ones are ignored.

        Returns:
            Scalar tensor of alpha's dtype.

        Raises:
            PredictorError: alpha has another shape.
        """
        key = (alpha.dtype, alpha.device)
        constants = self._constants.get(key)
        if constants is None:
            bias = torch.zeros(self.mask.shape, dtype=alpha.dtype)
            bias.masked_fill_(~self.mask.cpu(), -torch.inf)
            # p sums to 1 in every slot, so the fixed part can be spread over the slots.
            spread = self.slot_ms + self.fixed_ms / len(self.slot_ms)
            constants = bias.to(alpha.device), spread.to(alpha)
            self._constants[key] = constants
        if alpha.shape != constants[0].shape:
            raise PredictorError(
                f"alpha must have shape {tuple(self.mask.shape)} (slots, max_candidates): "
                f"received {tuple(alpha.shape)}."
            )
        return _Expectation.apply(alpha, *constants)  # type: ignore[no-any-return]

    def score(self, choices: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Latency of many networks at once.

        Args:
            choices: (n, slots) integers, one candidate index per slot.

        Returns:
            (n,) float64, in ms.

        Raises:
            PredictorError: wrong shape, not integers, or an index outside its slot.
        """
        table = np.asarray(choices.cpu() if isinstance(choices, Tensor) else choices)
        if table.ndim != 2 or table.shape[1] != len(self._sizes) or table.dtype.kind not in "iu":
            raise PredictorError(
                f"choices must be integers of shape (n, {len(self._sizes)}): received "
                f"{table.dtype} of shape {table.shape}."
            )
        total = np.empty(len(table))
        for start in range(0, len(table), _CHUNK):
            part = table[start : start + _CHUNK]
            if part.min() < 0 or part.max() > 127:
                self._refuse(part)
            columns = np.ascontiguousarray(part.astype(np.int8).T)
            if (columns.max(1) >= self._sizes).any():
                self._refuse(part)
            total[start : start + _CHUNK] = self._score_columns(columns)
        return total

    def _score_columns(self, columns: NDArray[np.int8]) -> NDArray[np.float64]:
        total = np.full(columns.shape[1], self.fixed_ms)
        index = np.empty(columns.shape[1], dtype=np.intp)
        width = self.mask.shape[1]
        for first, last, sums in self._lookups:
            index[:] = columns[first]
            for column in columns[first + 1 : last]:
                np.multiply(index, width, out=index)
                np.add(index, column, out=index)
            total += sums.take(index)
        return total

    def _refuse(self, part: NDArray[Any]) -> None:
        bad = (part < 0) | (part >= self._sizes)
        row, slot = (int(value) for value in np.argwhere(bad)[0])
        raise PredictorError(
            f"slot {slot} has candidates 0 to {self._sizes[slot] - 1}: received {part[row, slot]}."
        )


def _grouped_sums(slot_ms: NDArray[np.float64]) -> list[tuple[int, int, NDArray[np.float64]]]:
    """(first slot, last slot + 1, sums of all their combinations in base max_candidates)."""
    width = slot_ms.shape[1]
    if width > 127:
        raise PredictorError(f"a slot may have at most 127 candidates: received {width}.")
    group = _GROUP if width**_GROUP <= 1 << 16 else 1
    lookups = []
    for first in range(0, len(slot_ms), group):
        rows = slot_ms[first : first + group]
        sums = rows[0].copy()
        for row in rows[1:]:
            sums = (sums[:, None] + row[None]).ravel()
        lookups.append((first, first + len(rows), sums))
    return lookups
