"""Regression: the cost of ops that a table lacks, with intervals whose coverage is checked.

cost = baseline x exp(residual). The baseline is a weighted sum of an op's work (non-negative
rates, fitted to relative error); the residual is learned on its logarithm. Both are judged with
whole shapes held out, since rows of one shape differ only in kernel and expansion and would give
each other away. The held-out errors also make the intervals (split conformal, scaled by the
model's own uncertainty).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.features import (
    OPTIONAL_WORK,
    op_parts,
    shape_features,
    shape_group,
    work_columns,
    work_features,
)
from proxyless_hw.predictors.intervals import conformal_quantile
from proxyless_hw.predictors.residuals import ResidualModel, residual_model
from proxyless_hw.predictors.scores import Scores, score
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

FloatArray = NDArray[np.float64]

MIN_ROWS: Final = 10
MIN_SHAPES: Final = 3
MAX_SINGLE_SHAPES: Final = 20
"""Up to so many shapes each is a fold of its own; more are put together into `FOLDS` folds."""

FOLDS: Final = 10
DEFAULT_LEARNER: Final = "gaussian-process"


@dataclass(frozen=True)
class RegressedOps:
    """Predicted cost of ops, in the table's unit.

    Attributes:
        ms: estimates, (n,).
        low_ms, high_ms: bounds of the interval, (n,).
        extrapolated: True where an op lies outside what the table covers, (n,): the estimate is
            a guess and the interval's coverage is not promised.
    """

    ms: FloatArray
    low_ms: FloatArray
    high_ms: FloatArray
    extrapolated: NDArray[np.bool_]


class CostModel:
    """Baseline and residual, fitted to rows.

    Args:
        learner: name of the residual's learner (`residuals.LEARNERS`).
        seed: for learners that draw.
    """

    def __init__(self, learner: str = DEFAULT_LEARNER, seed: int = 0) -> None:
        self.learner = learner
        self.seed = seed

    def fit(self, ops: Sequence[OpSpec], values: FloatArray) -> CostModel:
        """Fits the rates to relative error, then the residual to what they leave.

        Args:
            ops: distinct ops.
            values: their costs, all positive, (n,).
        """
        from scipy.optimize import nnls

        parts = (part for op in ops for part in op_parts(op))
        kernels = {part.kernel for part in parts if part.kind == "depthwise"}
        # The smallest kernel needs no rate of its own: the common one is its.
        self.kernels_ = sorted(kernels)[1:]
        work = work_features(ops, self.kernels_)
        optional = [name in OPTIONAL_WORK for name in work_columns(self.kernels_)]
        self.seen_ = work.any(0) | np.array(optional, dtype=bool)
        self.rates_, _ = nnls(work / values[:, None], np.ones(len(values)))
        residuals = np.log(values) - np.log(self._baseline(work))
        shapes = shape_features(ops)
        self.low_, self.high_ = shapes.min(0), shapes.max(0)
        self.names_ = {op.op for op in ops}
        self.residual_: ResidualModel = residual_model(self.learner, self.seed)
        self.residual_.fit(shapes, residuals)
        return self

    def predict_log(self, ops: Sequence[OpSpec]) -> tuple[FloatArray, FloatArray]:
        """(log cost, the model's own standard deviation of it), each (n,).

        Raises:
            PredictorError: an op does work of a kind that no fitted row does.
        """
        work = work_features(ops, self.kernels_)
        self._require_seen(ops, work)
        residual, deviation = self.residual_.predict(shape_features(ops))
        return np.log(self._baseline(work)) + residual, deviation

    def can_tell(self, op: OpSpec) -> bool:
        """Whether every kind of work of an op was done by some fitted row."""
        return not work_features([op], self.kernels_)[0, ~self.seen_].any()

    def extrapolates(self, ops: Sequence[OpSpec]) -> NDArray[np.bool_]:
        """Whether each op is of a new name, or outside the fitted rows in some feature."""
        shapes = shape_features(ops)
        slack = 1e-9 + 0.02 * (self.high_ - self.low_)
        outside = (shapes < self.low_ - slack) | (shapes > self.high_ + slack)
        new = [op.op not in self.names_ for op in ops]
        return np.array(outside.any(1) | np.array(new, dtype=bool), dtype=bool)

    def rates(self) -> dict[str, float]:
        """Cost per million of each kind of work; ``calls`` is the cost of one call."""
        return dict(zip(work_columns(self.kernels_), map(float, self.rates_), strict=True))

    def _baseline(self, work: FloatArray) -> FloatArray:
        # An op whose every kind of work came out free still takes some time.
        floor = 1e-6 * max(float(self.rates_.max()), 1e-30)
        baseline: FloatArray = np.maximum(work @ self.rates_, floor)
        return baseline

    def _require_seen(self, ops: Sequence[OpSpec], work: FloatArray) -> None:
        unseen = [op for op, row in zip(ops, work, strict=True) if row[~self.seen_].any()]
        if unseen:
            listed = ", ".join(map(str, unseen))
            raise PredictorError(
                "an op can only be regressed from rows that do the same kinds of work: the table "
                f"has none for {listed[:600]}. Measure them: proxyless-hw profile ... "
                "--missing-from TABLE"
            )


class OpRegression:
    """A fitted regression with its held-out scores and intervals.

    Attributes:
        model: the cost model, fitted to all rows.
        scores: grouped cross-validation, whole shapes held out.
        errors: held-out log errors over the model's standard deviation, (rows,).
    """

    def __init__(self, model: CostModel, scores: Scores, errors: FloatArray) -> None:
        self.model = model
        self.scores = scores
        self.errors = errors

    def predict(self, ops: Sequence[OpSpec], coverage: float = 0.9) -> RegressedOps:
        """Estimates with intervals.

        Args:
            ops: any ops whose kinds of work the table holds.
            coverage: share of new ops of covered shapes whose cost the interval should hold.

        Raises:
            PredictorError: an op does a kind of work the table has no row for, or the table has
                too few rows for that coverage.
        """
        if not ops:
            nothing = np.zeros(0)
            return RegressedOps(nothing, nothing, nothing, np.zeros(0, dtype=bool))
        log_cost, deviation = self.model.predict_log(ops)
        reach = conformal_quantile(self.errors, coverage) * deviation
        return RegressedOps(
            np.exp(log_cost),
            np.exp(log_cost - reach),
            np.exp(log_cost + reach),
            self.model.extrapolates(ops),
        )

    def interval(
        self, ops: Sequence[OpSpec], coverage: float = 0.9
    ) -> tuple[FloatArray, FloatArray]:
        """(low, high), each (n,); see `predict`."""
        regressed = self.predict(ops, coverage)
        return regressed.low_ms, regressed.high_ms


@dataclass(frozen=True)
class HeldOut:
    """Predictions for rows that the model did not see.

    Attributes:
        log_cost: (n,).
        deviation: the model's standard deviation of it, (n,).
        folds: how many fits it took.
    """

    log_cost: FloatArray
    deviation: FloatArray
    folds: int


def fit_regression(
    table: LatencyTable, seed: int = 0, learner: str = DEFAULT_LEARNER
) -> OpRegression:
    """Fits a regression to a table.

    Args:
        table: at least 10 rows of at least 3 shapes, of any one metric.
        seed: for learners that draw.
        learner: how the residual is learned (`residuals.LEARNERS`).

    Raises:
        PredictorError: too few rows or shapes, or all values equal.
    """
    ops, values = training_rows(table)
    held_out = cross_validate(ops, values, learner, seed)
    model = CostModel(learner, seed).fit(ops, values)
    errors = (np.log(values) - held_out.log_cost) / held_out.deviation
    known = np.isfinite(errors)
    scores = score(np.exp(held_out.log_cost[known]), values[known], held_out.folds)
    return OpRegression(model, scores, np.abs(errors[known]))


def training_rows(table: LatencyTable) -> tuple[list[OpSpec], FloatArray]:
    """The rows to learn from.

    Raises:
        PredictorError: too few rows or shapes, or all values equal.
    """
    ops = list(table.entries)
    values = np.array([entry.value for entry in table.entries.values()])
    shapes = len({shape_group(op) for op in ops})
    if len(ops) < MIN_ROWS or shapes < MIN_SHAPES:
        raise PredictorError(
            f"a regression needs at least {MIN_ROWS} rows of at least {MIN_SHAPES} shapes: "
            f"'{table.name}' has {len(ops)} of {shapes}. Measure more: proxyless-hw profile ... "
            f"--missing-from {table.name}"
        )
    if not values.min() > 0:
        raise PredictorError(f"a regression needs positive values: '{table.name}' has others.")
    if np.ptp(values) <= 1e-9 * values.max():
        raise PredictorError(
            f"a regression has nothing to learn from '{table.name}': every op costs "
            f"{values[0]:g} {table.unit}. Was it measured?"
        )
    return ops, values


def cross_validate(
    ops: Sequence[OpSpec], values: FloatArray, learner: str, seed: int = 0
) -> HeldOut:
    """Predicts every row from rows of other shapes; all fitting happens inside the folds.

    A row whose kind of work occurs in its own shape only cannot be held out: it stays NaN.
    """
    folds = shape_folds(ops, seed)
    log_cost = np.full(len(ops), np.nan)
    deviation = np.ones(len(ops))
    for test in folds:
        train = np.setdiff1d(np.arange(len(ops)), test)
        model = CostModel(learner, seed).fit([ops[i] for i in train], values[train])
        possible = np.array([i for i in test if model.can_tell(ops[i])], dtype=np.intp)
        if len(possible):
            log_cost[possible], deviation[possible] = model.predict_log([ops[i] for i in possible])
    return HeldOut(log_cost, deviation, len(folds))


def shape_folds(ops: Sequence[OpSpec], seed: int = 0) -> list[NDArray[np.intp]]:
    """Row numbers of each test part: one shape each, or whole shapes together when many."""
    groups = np.array([shape_group(op) for op in ops])
    names = np.unique(groups)
    order = np.random.default_rng(seed).permutation(len(names))
    count = len(names) if len(names) <= MAX_SINGLE_SHAPES else FOLDS
    parts = np.array_split(names[order], count)
    return [np.flatnonzero(np.isin(groups, part)) for part in parts]
