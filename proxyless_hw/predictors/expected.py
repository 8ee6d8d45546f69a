"""The differentiable expected cost of a search space (ProxylessNAS, Eq. 6), vectorised."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.costs import CostTable, counted_costs
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.given import space_of
from proxyless_hw.tables.table import LatencyTable


class PricesSpaces(Protocol):
    """Anything that can price a space; every predictor can."""

    def space_costs(
        self, space: SearchSpace, resolution: int | None = None, num_classes: int | None = None
    ) -> CostTable: ...


class _Backward(Protocol):
    """What the forward pass leaves for the backward pass."""

    slope: Tensor


class _Expectation(torch.autograd.Function):
    """E = sum p L with dE/dalpha = p (L - p . L): one pass forward, one product backward."""

    @staticmethod
    def forward(ctx: _Backward, alpha: Tensor, bias: Tensor, costs: Tensor) -> Tensor:
        p = torch.softmax(alpha + bias, 1)
        weighted = p * costs
        rows = weighted.sum(1, keepdim=True)
        ctx.slope = weighted.addcmul_(p, rows, value=-1)
        return rows.sum()

    @staticmethod
    def backward(ctx: _Backward, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return ctx.slope * grad_outputs[0], None, None


class ExpectedLatency(nn.Module):
    """``expected(alpha) -> scalar``, differentiable in alpha: the torch view of a cost table.

    Args:
        space: the search space, or its name or path.
        predictor: prices its ops; any predictor, measured, regressed or calibrated. Or a table, or
            its name or path, of which a predictor is made (`fit_predictor`).
        resolution, num_classes: deployment shape; the space's own when None.

    Attributes:
        costs: the cost table; results are in its unit.
        slots: its costs of candidates, (slots, max_candidates) float64.
        mask: True where a candidate exists, same shape.

    Example:
        >>> import torch
        >>> import proxyless_hw as ph
        >>> space = ph.SearchSpace.load("imagenet")
        >>> expected = ph.ExpectedLatency(space, ph.fit_predictor("pixel1"))
        >>> alpha = torch.zeros(len(space.slots), space.max_candidates, requires_grad=True)
        >>> expected(alpha).backward()
        >>> alpha.grad.shape
        torch.Size([21, 7])
    """

    slots: Tensor
    mask: Tensor

    def __init__(
        self,
        space: SearchSpace | str | Path,
        predictor: PricesSpaces | LatencyTable | str | Path,
        resolution: int | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        if isinstance(predictor, LatencyTable | str | Path):
            predictor = fit_predictor(predictor)
        self._set(predictor.space_costs(space_of(space), resolution, num_classes))

    @classmethod
    def from_costs(cls, costs: CostTable) -> ExpectedLatency:
        """The view of a cost table."""
        module = cls.__new__(cls)
        nn.Module.__init__(module)
        module._set(costs)
        return module

    @classmethod
    def of_macs(
        cls,
        space: SearchSpace | str | Path,
        resolution: int | None = None,
        num_classes: int | None = None,
    ) -> ExpectedLatency:
        """Expected multiply-accumulates, in millions; needs no table."""
        return cls.from_costs(counted_costs("macs", space_of(space), resolution, num_classes))

    def _set(self, costs: CostTable) -> None:
        self.costs = costs
        self.register_buffer("mask", torch.as_tensor(costs.mask), persistent=False)
        self.register_buffer("slots", torch.as_tensor(costs.slots), persistent=False)
        self._constants: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, alpha: Tensor) -> Tensor:
        """The expectation.

        Args:
            alpha: architecture parameters, (slots, max_candidates); absent ones are ignored.

        Returns:
            Scalar tensor of alpha's dtype, in the unit of `costs`.

        Raises:
            PredictorError: alpha has another shape.
        """
        bias, _, spread = self._constants_for(alpha)
        return _Expectation.apply(alpha, bias, spread)  # type: ignore[no-any-return]

    def value(self, alpha: Tensor) -> float:
        """The expectation as a number."""
        return self.value_and_slope(alpha)[0]

    def value_and_slope(self, alpha: Tensor) -> tuple[float, Tensor]:
        """The expectation and its gradient p (L - p . L), (slots, max_candidates).

        Raises:
            PredictorError: alpha has another shape.
        """
        bias, slots, _ = self._constants_for(alpha)
        p = torch.softmax(alpha.detach() + bias, 1)
        rows = (p * slots).sum(1, keepdim=True)
        return self.costs.fixed + float(rows.sum()), p * (slots - rows)

    def score(self, choices: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Cost of many networks at once: `CostTable.score`, for tensors too."""
        return self.costs.score(choices.cpu() if isinstance(choices, Tensor) else choices)

    def _constants_for(self, alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As alpha is: -inf where no candidate exists, the costs, and those with the fixed part.

        p sums to 1 in every slot, so the fixed part can be spread over the slots.
        """
        if alpha.shape != self.mask.shape:
            raise PredictorError(
                f"alpha must have shape {tuple(self.mask.shape)} (slots, max_candidates): "
                f"received {tuple(alpha.shape)}."
            )
        key = (alpha.dtype, alpha.device)
        constants = self._constants.get(key)
        if constants is None:
            bias = torch.zeros(self.mask.shape, dtype=alpha.dtype)
            bias.masked_fill_(~self.mask.cpu(), -torch.inf)
            spread = self.slots + self.costs.fixed / len(self.slots)
            constants = bias.to(alpha.device), self.slots.to(alpha), spread.to(alpha)
            self._constants[key] = constants
        return constants
