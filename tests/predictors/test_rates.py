"""Amounts of each kind of cost, and rates read from a whole table."""

import numpy as np
import pytest
from device_tables import plain_cost, published_ops

from proxyless_hw.predictors.rates import KINDS, Freedom, cost_amounts, fit_rates
from proxyless_hw.space.specs import LayerSpec, OpSpec

OPS = published_ops()


def amounts_of(op: OpSpec) -> dict[str, float]:
    (row,) = cost_amounts([op])
    return {kind: float(value) for kind, value in zip(KINDS, row, strict=True) if value}


def test_amounts_of_a_block_are_those_counted_by_hand() -> None:
    layer = LayerSpec("mbconv", 8, 8, kernel=5, expand=4, skip=True, act="hswish", se=1)
    found = amounts_of(layer.at(10, 10))
    # 8 -> 32 channels, 5x5 depthwise, squeezed to 8, 32 -> 8, addition.
    assert found == pytest.approx(
        {
            "calls": 1,
            "layers": 3,
            "squeezes": 5,
            "activations": 2,
            "additions": 1,
            "pointwise": 2 * 100 * 8 * 32 / 1e6,
            "depthwise_5": 100 * 25 * 32 / 1e6,
            "moved": 100 * (8 + 32 + 32 + 32 + 32 + 8) / 1e6,
            "weights": (8 * 32 + 25 * 32 + 32 * 8 + 2 * 32 * 8) / 1e6,
            "squeeze_moved": 3 * 100 * 32 / 1e6,
            "activation_moved": 2 * 100 * 32 / 1e6,
            "addition_moved": 3 * 100 * 8 / 1e6,
            "channels": (32 + 32 + 8) / 1e3,
        }
    )


def test_fused_activations_and_layers_without_normalisation_cost_nothing_of_their_own() -> None:
    plain = amounts_of(LayerSpec("conv", 8, 16, act="relu6").at(4, 4))
    assert "activations" not in plain
    assert plain["channels"] == 16e-3
    assert "channels" not in amounts_of(LayerSpec("conv_nobn", 8, 16, act="relu6").at(4, 4))
    assert "channels" not in amounts_of(LayerSpec("classifier", 8, 16).at(1, 1))


def test_rates_explain_a_device_that_follows_them() -> None:
    """`plain_cost` counts 1x1 outputs, which no kind does: kinds that move data stand for them."""
    rates = fit_rates(cost_amounts(OPS), np.log([plain_cost(op) for op in OPS]))
    assert np.std(rates.misfit) < 0.03


def test_a_device_that_only_launches_is_recognised() -> None:
    amounts = cost_amounts(OPS)
    layers = amounts[:, KINDS.index("layers")]
    launching = fit_rates(amounts, np.log(0.2 * layers))
    working = fit_rates(amounts, np.log([plain_cost(op) for op in OPS]))
    assert launching.launch_share(amounts) > 2
    assert working.launch_share(amounts) < 0
    assert np.abs(launching.misfit).max() < 0.1


def test_rates_of_work_that_a_table_does_not_hold_stay_uncertain() -> None:
    amounts = cost_amounts(OPS)
    rates = fit_rates(amounts, np.log([plain_cost(op) for op in OPS]))
    deviation = dict(zip(KINDS, np.sqrt(np.diag(rates.covariance)), strict=True))
    assert deviation["squeeze_moved"] > 1 > deviation["dense"]


def test_the_unit_of_a_table_changes_nothing_but_the_scale() -> None:
    amounts = cost_amounts(OPS)
    logs = np.log([plain_cost(op) for op in OPS])
    in_ms, in_us = fit_rates(amounts, logs), fit_rates(amounts, logs + np.log(1000))
    assert np.allclose(in_us.log - in_ms.log, np.log(1000), atol=1e-2)


def test_freedom_is_a_covariance_with_the_stated_deviations() -> None:
    freedom = Freedom(
        scale=3, launches=2, launch=0.5, work=0.4, depthwise=0.3, kernel=0.2,
        large_kernel=0.1, memory=0.6, channels=0.7,
    )  # fmt: skip
    covariance = freedom.covariance()
    assert np.linalg.eigvalsh(covariance).min() > 0
    variance = dict(zip(KINDS, np.diag(covariance), strict=True))
    assert variance["calls"] == pytest.approx(9 + 4 + 0.25)
    assert variance["dense"] == pytest.approx(9 + 0.16)
    assert variance["depthwise_5"] == pytest.approx(9 + 0.09 + 0.04)
    assert variance["depthwise_7"] == pytest.approx(9 + 0.09 + 0.04 + 0.01)
    assert variance["weights"] == pytest.approx(9 + 0.16 + 0.36)
    assert variance["channels"] == pytest.approx(9 + 0.16 + 0.49)
    between = covariance[KINDS.index("calls"), KINDS.index("layers")]
    assert between == pytest.approx(9 + 4)
