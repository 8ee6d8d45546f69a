"""A mixture of Gaussians for every op: its mean, its spread, and the bounds of its intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_HALVINGS: Final = 50
_FURTHEST: Final = 10.0
"""Bounds are sought within so many standard deviations of the parts."""


@dataclass(frozen=True)
class Mixture:
    """Parts by weight.

    Attributes:
        weights: of the parts, adding up to 1, (parts,).
        means, deviations: of each op in each part, (parts, n).
    """

    weights: FloatArray
    means: FloatArray
    deviations: FloatArray

    @property
    def mean(self) -> FloatArray:
        """(n,)."""
        result: FloatArray = self.weights @ self.means
        return result

    @property
    def deviation(self) -> FloatArray:
        """(n,)."""
        apart = (self.means - self.mean) ** 2
        result: FloatArray = np.sqrt(self.weights @ (self.deviations**2 + apart))
        return result

    def widened(self, factor: float) -> Mixture:
        """The same with all distances from its mean times a factor."""
        mean = self.mean
        return Mixture(self.weights, mean + factor * (self.means - mean), factor * self.deviations)

    def interval(self, coverage: float) -> tuple[FloatArray, FloatArray]:
        """(low, high): as much probability is below as above, each (n,)."""
        return self._quantile((1 - coverage) / 2), self._quantile((1 + coverage) / 2)

    def _quantile(self, probability: float) -> FloatArray:
        from scipy.special import ndtr

        low = (self.means - _FURTHEST * self.deviations).min(0)
        high = (self.means + _FURTHEST * self.deviations).max(0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = self.weights @ ndtr((middle - self.means) / self.deviations) < probability
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        result: FloatArray = (low + high) / 2
        return result
