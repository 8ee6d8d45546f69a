"""Learners of the residual that a baseline leaves on log cost, behind one small interface."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from proxyless_hw.errors import PredictorError, did_you_mean
from proxyless_hw.predictors.features import SHAPE_FEATURES

FloatArray = NDArray[np.float64]

Learner = Literal["gaussian-process", "random-forest", "gradient-boosting", "baseline"]
"""Names of the learners; ``baseline`` adds nothing to the baseline."""

LEARNERS: Final[tuple[Learner, ...]] = get_args(Learner)

GP_FEATURES: Final = tuple(
    name for name in SHAPE_FEATURES if name not in ("log_macs", "log_bytes", "log_intensity")
)
"""The distance between ops is measured in these; the rest are functions of them."""

MAX_TUNING_ROWS: Final = 120
"""Rows on which a Gaussian process chooses its length scales; it then learns from all rows."""

TUNINGS: Final = 3
"""Draws of `MAX_TUNING_ROWS` rows from a larger table.

Draws choose different length scales that explain the table about as well, and then disagree where
there are no rows near. So each draw makes a process of its own, and their mean counts.
"""


class ResidualModel(Protocol):
    """Learns log(cost) minus log(baseline) from `shape_features`."""

    def fit(self, shapes: FloatArray, residuals: FloatArray) -> ResidualModel: ...

    def predict(self, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(residual, its standard deviation as far as the model knows), each (n,)."""
        ...


def residual_model(learner: str, seed: int) -> ResidualModel:
    """A new, unfitted learner.

    Raises:
        PredictorError: no learner of that name.
    """
    match learner:
        case "gaussian-process":
            return GaussianProcess(seed)
        case "random-forest":
            return Trees("random-forest", seed)
        case "gradient-boosting":
            return Trees("gradient-boosting", seed)
        case "baseline":
            return NoCorrection()
    raise PredictorError(
        f"a learner is one of {', '.join(LEARNERS)}: received '{learner}'."
        f"{did_you_mean(learner, LEARNERS)}"
    )


class _Regressor(Protocol):
    """A fitted Gaussian process of scikit-learn."""

    kernel_: object

    def predict(self, X: FloatArray, *, return_std: bool) -> tuple[FloatArray, FloatArray]: ...


class _Ensemble(Protocol):
    """A fitted ensemble of trees of scikit-learn."""

    def fit(self, X: FloatArray, y: FloatArray) -> object: ...

    def predict(self, X: FloatArray) -> FloatArray: ...


@dataclass
class NoCorrection:
    """No correction: the baseline alone."""

    def fit(self, shapes: FloatArray, residuals: FloatArray) -> NoCorrection:
        """Learns nothing."""
        return self

    def predict(self, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Zeros, all equally sure."""
        return np.zeros(len(shapes)), np.ones(len(shapes))


@dataclass
class GaussianProcess:
    """Gaussian process with a length scale per feature, chosen by marginal likelihood.

    From a table of more than `MAX_TUNING_ROWS` rows: `TUNINGS` processes, which count alike.
    """

    seed: int
    models_: list[_Regressor] = field(default_factory=list, init=False, repr=False)

    def fit(self, shapes: FloatArray, residuals: FloatArray) -> GaussianProcess:
        """Chooses the kernel's parameters on these rows only, then conditions on them."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        rows = self._columns(shapes)
        scales = RBF(np.full(rows.shape[1], 1.5), (0.5, 30.0))
        kernel = ConstantKernel(0.01, (1e-6, 2.0)) * scales + WhiteKernel(1e-3, (1e-5, 0.02))
        if len(rows) <= MAX_TUNING_ROWS:
            self.models_ = [_tuned(kernel, rows, residuals, self.seed)]
            return self
        generator = np.random.default_rng(self.seed)
        self.models_ = []
        for _ in range(TUNINGS):
            drawn = generator.permutation(len(rows))[:MAX_TUNING_ROWS]
            chosen = _tuned(kernel, rows[drawn], residuals[drawn], self.seed).kernel_
            model = GaussianProcessRegressor(chosen, optimizer=None).fit(rows, residuals)
            self.models_.append(model)
        return self

    def predict(self, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Posterior mean and standard deviation; where processes disagree, that adds to it."""
        assert self.models_, "fit comes first"
        columns = self._columns(shapes)
        found = [model.predict(columns, return_std=True) for model in self.models_]
        means = np.array([mean for mean, _ in found])
        variance = np.mean([deviation**2 for _, deviation in found], axis=0) + means.var(0)
        mean: FloatArray = means.mean(0)
        return mean, np.sqrt(variance)

    @staticmethod
    def _columns(shapes: FloatArray) -> FloatArray:
        columns: FloatArray = shapes[:, [SHAPE_FEATURES.index(name) for name in GP_FEATURES]]
        return columns


def _tuned(kernel: object, rows: FloatArray, residuals: FloatArray, seed: int) -> _Regressor:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor

    with warnings.catch_warnings():
        # A length scale at its bound is an answer here: the feature does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted: _Regressor = GaussianProcessRegressor(kernel, random_state=seed).fit(
            rows, residuals
        )
        return fitted


@dataclass
class Trees:
    """Tree ensembles; they do not extrapolate, so beyond the table the baseline decides."""

    kind: Literal["random-forest", "gradient-boosting"]
    seed: int
    model_: _Ensemble | None = field(default=None, init=False, repr=False)

    def fit(self, shapes: FloatArray, residuals: FloatArray) -> Trees:
        """Grows the trees."""
        from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

        if self.kind == "random-forest":
            self.model_ = RandomForestRegressor(200, random_state=self.seed)
        else:
            self.model_ = GradientBoostingRegressor(
                n_estimators=200, learning_rate=0.05, max_depth=3, random_state=self.seed
            )
        self.model_.fit(shapes, residuals)
        return self

    def predict(self, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean of the trees; all rows equally sure."""
        assert self.model_ is not None, "fit comes first"
        return self.model_.predict(shapes), np.ones(len(shapes))
