"""Network-level calibration: measured = a + b sum + c blocks, from measured networks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """An affine correction, fitted on networks measured whole.

    Attributes:
        a: constant in ms.
        b: factor on the sum of ops.
        c: ms per block.
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 0.0

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """(a, b, c)."""
        return self.a, self.b, self.c


IDENTITY = Calibration()
