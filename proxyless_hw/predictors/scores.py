"""How good predictions are: the same few figures everywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Scores:
    """Held-out accuracy.

    Attributes:
        n: cases predicted.
        folds: fits it took; 0 where nothing was held out.
        mape: mean absolute relative error.
        within_5, within_10: share of cases within 5% and 10%.
        spearman: rank correlation; 0 where one side is constant.
    """

    n: int
    folds: int
    mape: float
    within_5: float
    within_10: float
    spearman: float

    def to_dict(self) -> dict[str, float]:
        """A plain dict for JSON."""
        return asdict(self)


def score(predicted: ArrayLike, measured: ArrayLike, folds: int = 0) -> Scores:
    """Compares predictions with measurements, (n,) each, in one unit."""
    estimate = np.asarray(predicted, dtype=float)
    truth = np.asarray(measured, dtype=float)
    error = np.abs(estimate / truth - 1)
    return Scores(
        n=len(truth),
        folds=folds,
        mape=float(error.mean()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        spearman=spearman(estimate, truth),
    )


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Rank correlation with ties averaged; 0 where either side is constant."""
    from scipy.stats import rankdata

    first, second = rankdata(np.asarray(one)), rankdata(np.asarray(other))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
