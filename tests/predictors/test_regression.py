"""Regression of ops that a table lacks: accuracy, intervals, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from device_tables import plain_cost, published_ops, table_of

from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.features import op_parts, shape_features, shape_group
from proxyless_hw.predictors.intervals import conformal_quantile
from proxyless_hw.predictors.regression import (
    CostModel,
    cross_validate,
    fit_regression,
    shape_folds,
)
from proxyless_hw.predictors.residuals import LEARNERS
from proxyless_hw.predictors.scores import score, spearman
from proxyless_hw.space.counting import op_macs
from proxyless_hw.space.specs import OpSpec

OPS = published_ops()
BLOCKS = [op for op in OPS if op.op == "mbconv"]
NEW = replace(BLOCKS[20], in_c=48, out_c=48, expand=3, skip=False)


def test_the_parts_of_an_op_count_every_multiply_accumulate() -> None:
    squeezing = replace(BLOCKS[10], se=1, act="hswish")
    for op in [*published_ops(192, 224), squeezing]:
        assert sum(part.macs for part in op_parts(op)) == op_macs(op)


def test_parts_of_a_block_are_its_three_convolutions_and_the_addition() -> None:
    op = OpSpec("mbconv", 14, 14, 80, 14, 14, 80, kernel=5, expand=3, skip=True, act="relu6")
    parts = op_parts(op)
    assert [part.kind for part in parts] == ["pointwise", "depthwise", "pointwise", "addition"]
    assert [part.macs for part in parts] == [
        14 * 14 * 80 * 240,
        14 * 14 * 240 * 25,
        14 * 14 * 240 * 80,
        0,
    ]


def test_a_device_that_follows_the_baseline_is_learned_from_other_shapes() -> None:
    held_out = cross_validate(BLOCKS, np.array([plain_cost(op) for op in BLOCKS]), "baseline")
    for op, log_cost in zip(BLOCKS, held_out.log_cost, strict=True):
        assert np.exp(log_cost) == pytest.approx(plain_cost(op), rel=0.03)


def test_the_rates_of_a_device_are_found_again() -> None:
    ops = [replace(op, skip=False) for op in published_ops(128, 192, 224) if op.op == "mbconv"]
    rates = CostModel("baseline").fit(ops, np.array([plain_cost(op) for op in ops])).rates()
    assert rates["calls"] / 1 == pytest.approx(0.1, rel=1e-3)
    assert rates["pointwise_macs"] == pytest.approx(0.2, rel=1e-3)
    assert rates["depthwise_macs"] == pytest.approx(0.5, rel=1e-3)
    assert rates["pointwise_outputs"] == pytest.approx(4.0, rel=1e-3)


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_predicts_a_noisy_device(learner: str) -> None:
    regression = fit_regression(table_of(BLOCKS, noise=0.02), learner=learner)
    assert regression.scores.within_10 > 0.9
    assert regression.scores.spearman > 0.98
    assert regression.scores.n == len(BLOCKS)
    predicted = regression.predict([NEW])
    assert predicted.ms[0] == pytest.approx(plain_cost(NEW), rel=0.15)
    assert predicted.low_ms[0] < predicted.ms[0] < predicted.high_ms[0]


def test_what_the_baseline_cannot_say_is_learned_as_a_residual() -> None:
    def bent(op: OpSpec) -> float:
        return plain_cost(op) * (op.in_h / 56) ** 0.3

    table = table_of(published_ops(160, 224), bent)
    learned = fit_regression(table).scores
    baseline = fit_regression(table, learner="baseline").scores
    assert learned.mape < 0.5 * baseline.mape


def test_one_kernel_may_be_slow_on_its_own() -> None:
    def no_fast_routine(op: OpSpec) -> float:
        return plain_cost(op) * (12.0 if op.kernel == 7 else 1.0)

    assert fit_regression(table_of(BLOCKS, no_fast_routine)).scores.within_10 > 0.8


def test_a_whole_shape_is_held_out_together() -> None:
    folds = shape_folds(OPS)
    assert sorted(np.concatenate(folds)) == list(range(len(OPS)))
    groups = [{shape_group(OPS[row]) for row in fold} for fold in folds]
    for one in range(len(groups)):
        for other in range(one):
            assert not groups[one] & groups[other]


def test_no_fold_sees_the_values_it_predicts() -> None:
    values = np.array([plain_cost(op) for op in BLOCKS])
    before = cross_validate(BLOCKS, values, "gaussian-process").log_cost
    fold = shape_folds(BLOCKS)[0]
    values[fold] *= 7.0
    after = cross_validate(BLOCKS, values, "gaussian-process").log_cost
    np.testing.assert_array_equal(before[fold], after[fold])


def test_intervals_cover_new_ops_as_often_as_they_say() -> None:
    train = table_of(published_ops(160, 224), noise=0.05, seed=1)
    fresh = table_of(published_ops(192), noise=0.05, seed=2)
    regression = fit_regression(train)
    ops = list(fresh.entries)
    truth = np.array([entry.value for entry in fresh.entries.values()])
    shares = []
    for coverage in (0.5, 0.9):
        low, high = regression.interval(ops, coverage)
        shares.append(float(((low <= truth) & (truth <= high)).mean()))
    assert 0.35 < shares[0] < 0.75
    assert 0.82 < shares[1] <= 1.0


def test_ops_beyond_the_table_are_flagged() -> None:
    regression = fit_regression(table_of(BLOCKS))
    wider = replace(BLOCKS[-1], in_c=512)
    unseen_kernel = replace(BLOCKS[3], kernel=9)
    flags = regression.predict([BLOCKS[0], NEW, wider, unseen_kernel]).extrapolated
    assert flags.tolist() == [False, False, True, True]


def test_a_kind_of_work_that_the_table_never_did_is_named() -> None:
    classifier = next(op for op in OPS if op.op == "classifier")
    with pytest.raises(PredictorError, match="classifier 7x7x1280"):
        fit_regression(table_of(BLOCKS)).predict([NEW, classifier])


def test_no_ops_give_no_numbers() -> None:
    assert fit_regression(table_of(BLOCKS)).predict([]).ms.shape == (0,)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([], "has 0 of 0"),
        (BLOCKS[:1], "has 1 of 1"),
        ([op for op in BLOCKS if op.in_h == 14 and op.in_c == 80 and op.out_c == 80], "of 1"),
    ],
)
def test_too_small_a_table_is_refused(ops: list[OpSpec], message: str) -> None:
    with pytest.raises(PredictorError, match=message):
        fit_regression(table_of(ops))


def test_a_table_of_equal_values_is_refused() -> None:
    with pytest.raises(PredictorError, match=r"every op costs 0\.5 ms"):
        fit_regression(table_of(BLOCKS, lambda op: 0.5))


def test_an_unknown_learner_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PredictorError, match="Did you mean 'random-forest'"):
        fit_regression(table_of(BLOCKS), learner="random-forests")


def test_the_same_seed_gives_the_same_numbers() -> None:
    table = table_of(BLOCKS, noise=0.05)
    one, other = (fit_regression(table, seed=3).predict([NEW]).ms[0] for _ in range(2))
    assert one == other


def test_the_conformal_quantile_is_the_right_order_statistic() -> None:
    errors = [0.4, -0.1, 0.3, 0.2, 0.6, 0.5, 0.9, -0.8, 0.7]
    assert conformal_quantile(errors, 0.9) == 0.9
    assert conformal_quantile(errors, 0.5) == 0.5
    with pytest.raises(PredictorError, match="needs at least 19 held-out cases"):
        conformal_quantile(errors, 0.95)
    with pytest.raises(PredictorError, match="between 0 and 1"):
        conformal_quantile(errors, 1.0)


def test_scores_count_what_they_say() -> None:
    scores = score([1.0, 1.04, 1.2, 4.0], [1.0, 1.0, 1.0, 4.0])
    assert (scores.within_5, scores.within_10) == (0.75, 0.75)
    assert scores.mape == pytest.approx(0.06)
    assert spearman([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0.0


def test_shape_features_do_not_depend_on_the_measurement() -> None:
    assert shape_features(OPS).shape[0] == len(OPS)
    assert np.isfinite(shape_features(OPS)).all()


def test_narrow_ops_are_told_from_wider_ones_on_a_device_that_pays_per_layer() -> None:
    """Launches and fused-out activations are most of a narrow op, counted here by hand."""

    def cost(op: OpSpec) -> float:
        expands = op.expand != 1
        area = op.out_h * op.out_w + (op.in_h * op.in_w if expands else 0)
        return plain_cost(op) + 0.2 * (3 if expands else 2) + 0.5 * area * op.mid_c / 1e6

    wide = [replace(op, act="hswish", skip=False) for op in BLOCKS]
    model = CostModel("baseline").fit(wide, np.array([cost(op) for op in wide]))
    narrow = [replace(op, in_c=op.in_c // 4, out_c=op.out_c // 4) for op in wide]
    log_cost, _ = model.predict_log(narrow)
    np.testing.assert_allclose(np.exp(log_cost), [cost(op) for op in narrow], rtol=0.05)


def test_an_activation_that_no_row_has_is_extrapolated_not_refused() -> None:
    regression = fit_regression(table_of(BLOCKS))
    (flag,) = regression.predict([replace(BLOCKS[20], act="hswish")]).extrapolated
    assert flag
