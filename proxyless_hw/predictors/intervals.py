"""Conformal intervals: how far predictions miss, from cases that the model did not see."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from proxyless_hw.errors import PredictorError


def conformal_quantile(errors: ArrayLike, coverage: float) -> float:
    """The error that a new case stays within with at least the given probability.

    Split conformal prediction: the ceil((n + 1) coverage)-th smallest of n held-out absolute
    errors. No distribution is assumed, only that the new case is like the held-out ones.

    Args:
        errors: absolute errors of held-out cases, (n,).
        coverage: between 0 and 1, both exclusive.

    Raises:
        PredictorError: the coverage is out of range, or n is too small for it.
    """
    if not 0 < coverage < 1:
        raise PredictorError(f"a coverage lies between 0 and 1: received {coverage!r}.")
    ordered = np.sort(np.abs(np.asarray(errors, dtype=float)))
    # Rounded, so that 0.9 of 9 + 1 cases is 9 and not a hair more.
    rank = math.ceil(round((len(ordered) + 1) * coverage, 9))
    if rank > len(ordered):
        needed = math.ceil(round(coverage / (1 - coverage), 9))
        raise PredictorError(
            f"an interval of coverage {coverage:g} needs at least {needed} held-out cases: there "
            f"are {len(ordered)}. Ask for a lower coverage, or measure more."
        )
    return float(ordered[max(rank, 1) - 1])
