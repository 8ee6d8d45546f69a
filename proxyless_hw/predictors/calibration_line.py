"""Network-level calibration: measured = a + b sum + c blocks, from measured networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxyless_hw.errors import PredictorError

LEAST_NETWORKS: Final = 5
_HUBER: Final = 2.0
"""Residuals beyond this many robust standard deviations weigh less."""

_MASKS: Final = ((False, True, False), (True, True, False), (True, True, True))
"""The nested forms, simplest first: b sum; a + b sum; a + b sum + c blocks."""


@dataclass(frozen=True)
class Spread:
    """How far measured networks lie from the line, for prediction intervals.

    Attributes:
        sigma: standard deviation of the relative residuals.
        freedom: degrees of freedom behind it.
        covariance: (3, 3) covariance of (a, b, c) over sigma squared; 0 for terms left out.
    """

    sigma: float
    freedom: int
    covariance: tuple[tuple[float, float, float], ...]

    def relative_half_width(
        self, point: tuple[float, float, float], value: float, coverage: float
    ) -> float:
        """Half the prediction interval over the value, at (1, sum, blocks)."""
        from scipy.stats import t

        row = np.asarray(point) / value
        leverage = float(row @ np.asarray(self.covariance) @ row)
        return float(
            t.ppf(0.5 + coverage / 2, self.freedom) * self.sigma * math.sqrt(1.0 + leverage)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationNetwork:
    """One network that was measured whole.

    Attributes:
        name: of the network.
        predicted_ms: uncalibrated sum of its ops.
        blocks: its blocks.
        measured_ms: its measured latency.
    """

    name: str
    predicted_ms: float
    blocks: int
    measured_ms: float


@dataclass(frozen=True)
class Calibration:
    """An affine correction, fitted on networks measured whole.

    Attributes:
        a: constant in ms.
        b: factor on the sum of ops, not negative.
        c: ms per block.
        spread: what prediction intervals come from; None for a correction that was not fitted.
        loo_errors: relative error of each network predicted from the others.
        networks: the measured networks it comes from.
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 0.0
    spread: Spread | None = None
    loo_errors: tuple[float, ...] = ()
    networks: tuple[CalibrationNetwork, ...] = ()

    @property
    def coefficients(self) -> tuple[float, float, float]:
        """(a, b, c)."""
        return self.a, self.b, self.c

    @property
    def loo_mape(self) -> float | None:
        """Mean absolute relative error, each network predicted from the others; None unfitted."""
        return float(np.mean(np.abs(self.loo_errors))) if self.loo_errors else None

    def apply(self, total_ms: float, blocks: int) -> float:
        """The calibrated prediction in ms for a sum of ops and a number of blocks."""
        return self.a + self.b * total_ms + self.c * blocks

    def interval_ms(self, total_ms: float, blocks: int, coverage: float) -> tuple[float, float]:
        """Prediction interval of a network that was not measured.

        Raises:
            PredictorError: the calibration was not fitted.
        """
        if self.spread is None:
            raise PredictorError("this calibration was not fitted: it has no intervals.")
        value = self.apply(total_ms, blocks)
        half = value * self.spread.relative_half_width((1.0, total_ms, blocks), value, coverage)
        return max(0.0, value - half), value + half


IDENTITY = Calibration()


def fit_calibration(
    predicted_ms: ArrayLike,
    blocks: ArrayLike,
    measured_ms: ArrayLike,
    names: Sequence[str] | None = None,
) -> Calibration:
    """Fits measured = a + b sum + c blocks by robust least squares on relative errors.

    Of the forms ``b sum``, ``a + b sum`` and ``a + b sum + c blocks`` the one that predicts
    left-out networks best is kept, so few or alike networks do not overfit. Intervals are those of
    a linear model with errors proportional to the latency (Student's t, with leverage).

    Args:
        predicted_ms: uncalibrated sums of ops, (n,).
        blocks: blocks of each network, (n,).
        measured_ms: measured latencies, (n,).
        names: names of the networks, kept with the calibration.

    Raises:
        PredictorError: fewer than 5 networks, networks all alike, or a value not positive.
    """
    total = _vector(predicted_ms, "predicted")
    counts = _vector(blocks, "blocks", zero=True)
    measured = _vector(measured_ms, "measured")
    if not len(total) == len(counts) == len(measured):
        raise PredictorError(
            "calibration needs one sum, block count and measurement a network: received "
            f"{len(total)}, {len(counts)} and {len(measured)}."
        )
    if names is not None and len(names) != len(total):
        raise PredictorError(f"{len(total)} networks need as many names: received {len(names)}.")
    if len(total) < LEAST_NETWORKS:
        raise PredictorError(
            f"calibration needs at least {LEAST_NETWORKS} measured networks, better 20: received "
            f"{len(total)}."
        )
    if np.ptp(total) <= 1e-3 * total.mean():
        raise PredictorError(
            "the measured networks all have the same predicted latency; calibration needs networks "
            "spread over the feasible range."
        )
    # Divided by the measurement, every residual is relative.
    rows = np.stack([np.ones_like(total), total, counts], 1) / measured[:, None]
    best: tuple[float, NDArray[np.bool_], NDArray[np.float64]] | None = None
    for mask in map(np.array, _MASKS):
        if np.linalg.matrix_rank(rows[:, mask]) < mask.sum() or mask.sum() + 2 > len(rows):
            continue
        if mask[2] and _share_of_sum(rows, mask) < 0.5:
            continue  # in these networks the number of blocks stands in for the sum
        errors = _left_out_errors(rows, mask)
        score = float(np.mean(np.minimum(np.abs(errors), _cap(errors)) ** 2))
        # A larger form has to earn its place.
        if best is None or score < 0.95 * best[0]:
            best = (score, mask, errors)
    if best is None:
        raise PredictorError("the measured networks do not determine a calibration.")
    _, mask, errors = best
    if not _robust_fit(rows, mask)[1] > 0:
        raise PredictorError(
            "measured latencies do not grow with the predicted ones over these "
            f"{len(total)} networks, so no calibration can help. Are they of the table's device?"
        )
    labels = names or [f"network {index}" for index in range(len(total))]
    columns = (labels, total.tolist(), counts.tolist(), measured.tolist())
    networks = tuple(
        CalibrationNetwork(name=name, predicted_ms=sum_ms, blocks=int(count), measured_ms=whole_ms)
        for name, sum_ms, count, whole_ms in zip(*columns, strict=True)
    )
    return replace(_calibration(rows, mask, errors), networks=networks)


def _calibration(
    rows: NDArray[np.float64], mask: NDArray[np.bool_], errors: NDArray[np.float64]
) -> Calibration:
    a, b, c = _robust_fit(rows, mask).tolist()
    freedom = len(rows) - int(mask.sum())
    residuals = rows @ np.array([a, b, c]) - 1
    covariance = np.zeros((3, 3))
    used = rows[:, mask]
    covariance[np.ix_(mask, mask)] = np.linalg.pinv(used.T @ used)
    # Outliers weigh less in the line, but in full here: intervals are to hold for them too.
    sigma = math.sqrt(float(residuals @ residuals) / freedom)
    cells = tuple(tuple(float(value) for value in row) for row in covariance)
    spread = Spread(sigma, freedom, cells)  # type: ignore[arg-type]
    return Calibration(a, b, c, spread, tuple(float(error) for error in errors))


def _share_of_sum(rows: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """How much of the measured latencies the term ``b sum`` makes up, on average."""
    return float((_robust_fit(rows, mask)[1] * rows[:, 1]).mean())


def _left_out_errors(rows: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    keep = ~np.eye(len(rows), dtype=bool)
    return np.array(
        [row @ _robust_fit(rows[kept], mask) - 1 for row, kept in zip(rows, keep, strict=True)]
    )


def _cap(errors: NDArray[np.float64]) -> float:
    return 3 * 1.4826 * float(np.median(np.abs(errors))) + 1e-12


def _robust_fit(rows: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(a, b, c) with rows @ (a, b, c) near 1: Huber's weights, b not negative, others 0."""
    weights = np.ones(len(rows))
    solution = np.zeros(3)
    for _ in range(20):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(rows[:, mask] * root[:, None], root, rcond=None)[0]
        before, solution = solution, np.zeros(3)
        solution[mask] = found
        if solution[1] < 0:
            # The best line with b >= 0 then has b = 0.
            rest = mask & np.array([True, False, True])
            solution = np.zeros(3)
            if rest.any():
                solution[rest] = np.linalg.lstsq(rows[:, rest] * root[:, None], root, rcond=None)[0]
        residuals = np.abs(rows @ solution - 1)
        scale = max(1.4826 * float(np.median(residuals)), 1e-9)
        weights = np.minimum(1.0, _HUBER * scale / np.maximum(residuals, 1e-300))
        if np.allclose(before, solution, rtol=1e-9, atol=1e-12):
            break
    return solution


def _vector(values: ArrayLike, what: str, zero: bool = False) -> NDArray[np.float64]:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as cause:
        raise PredictorError(
            f"calibration needs numbers for {what}: {str(cause)[:80]!r}."
        ) from cause
    bad = ~np.isfinite(array) | (array < 0) | ((array == 0) & (not zero))
    if array.ndim != 1 or bad.any():
        received = f"{array[bad][0]}" if array.ndim == 1 else f"shape {array.shape}"
        raise PredictorError(
            f"calibration needs {what} values that are {'not negative' if zero else 'positive'} "
            f"and finite: received {received}."
        )
    return array
