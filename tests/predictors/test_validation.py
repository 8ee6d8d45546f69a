"""Validation figures against hand-worked values, and the whole path on a made-up device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from proxyless_hw.drawing.plots import check_plot_path
from proxyless_hw.errors import MissingEntryError, PredictorError
from proxyless_hw.predictors import validate as module
from proxyless_hw.predictors.validation import Validation, accuracy, kendall_tau
from proxyless_hw.predictors.validation_networks import named_choices
from proxyless_hw.predictors.validation_plot import plot_validation
from proxyless_hw.profilers.protocol.measurement import Measurement, Measuring, TableSpeed
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE = SearchSpace.load("imagenet")
HEADER = {
    "metric": "latency", "unit": "ms", "device": "made-up", "runtime": "r", "threads": "1",
    "batch_size": "1", "precision": "fp32", "num_classes": "1000",
}  # fmt: skip


def made_up_table() -> LatencyTable:
    return LatencyTable(
        {op: Entry(1e-7 * op.out_h * op.out_w * op.mid_c * op.kernel) for op in SPACE.ops(224)},
        HEADER,
    )


HOW = Measuring()


@pytest.fixture(autouse=True)
def made_up_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measuring_for", lambda table, **_: HOW)


def validate(table: LatencyTable, *, networks: int, spread: int = 30) -> Validation:
    found = module.validate(table, SPACE, networks=networks, spread=spread, quiet=True)
    return found.validation


def device(table: LatencyTable, factor: float, speed: float | None = None) -> Any:
    """Measures every network at the sum of its ops times a factor.

    Args:
        table: what ops cost.
        factor: what whole networks cost over the sum.
        speed: of the machine relative to the table's; None where the table has no anchors.
    """

    def measure(
        _: LatencyTable, how: Measuring, *, archs: Sequence[Architecture], names: Sequence[str]
    ) -> list[Measurement]:
        found = []
        for name, arch in zip(names, archs, strict=True):
            value = table.latency_ms(arch) * factor
            now = value / (speed or 1.0)
            at_speed = None
            if speed is not None:
                at_speed = TableSpeed(
                    median=value, ci_low=0.99 * value, ci_high=1.01 * value, machine_speed=speed
                )
            found.append(
                Measurement(
                    name=name, median=now, ci_low=0.99 * now, ci_high=1.01 * now, p90=now, min=now,
                    unit="ms", rounds=5, samples=15, converged=True, table_speed=at_speed,
                )
            )  # fmt: skip
        return found

    return measure


@pytest.fixture
def five_percent_slower(monkeypatch: pytest.MonkeyPatch) -> LatencyTable:
    """Every network takes 5% longer than its ops."""
    table = made_up_table()
    monkeypatch.setattr(module, "measure_for", device(table, 1.05))
    return table


def test_figures_of_a_hand_worked_case() -> None:
    found = accuracy(np.array([1.01, 2.08, 2.7, 4.6]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.networks == 4
    assert found.mape == pytest.approx((0.01 + 0.04 + 0.10 + 0.15) / 4)
    assert found.bias == pytest.approx((0.01 + 0.04 - 0.10 + 0.15) / 4)
    assert (found.within_2, found.within_5) == (0.25, 0.5)
    assert found.kendall_tau == found.spearman == pytest.approx(1.0)
    assert found.rmse_ms == pytest.approx(np.sqrt((0.01**2 + 0.08**2 + 0.3**2 + 0.6**2) / 4))


def test_rank_correlations_are_the_usual_ones() -> None:
    generator = np.random.default_rng(0)
    first = generator.normal(size=40)
    second = first + generator.normal(size=40)
    found = accuracy(np.exp(first), np.exp(second))
    assert found.kendall_tau == pytest.approx(stats.kendalltau(first, second).statistic)
    assert found.spearman == pytest.approx(stats.spearmanr(first, second).statistic)


def test_ranks_of_a_constant_are_zero() -> None:
    assert kendall_tau(np.ones(5), np.arange(5.0)) == 0.0


def test_a_steady_bias_is_seen_and_does_not_disturb_the_ranks(
    five_percent_slower: LatencyTable,
) -> None:
    found = validate(five_percent_slower, networks=8, spread=6)
    document = found.to_json()
    assert document["networks"] == 8
    assert document["bias"] == pytest.approx(1 / 1.05 - 1)
    assert document["mape"] == pytest.approx(1 - 1 / 1.05)
    assert (document["within_2"], document["within_5"]) == (0.0, 1.0)
    assert document["kendall_tau"] == pytest.approx(1.0)
    assert document["spread"]["networks"] == 6
    assert document["spread"]["kendall_tau"] == pytest.approx(1.0)
    assert document["calibrated"] is None
    names = [network["name"] for network in document["named"]]
    assert names == ["deepest", "shallowest", "all k3", "all k5", "all k7"]
    assert len(found.calibration_networks()) == 8 + 6 + 5


def test_spread_networks_cover_the_range_evenly(five_percent_slower: LatencyTable) -> None:
    found = validate(five_percent_slower, networks=20, spread=20)
    spread = np.sort([network.predicted_ms for network in found.of_kind("spread")])
    uniform = [network.predicted_ms for network in found.of_kind("uniform")]
    named = [network.predicted_ms for network in found.of_kind("named")]
    assert np.ptp(spread) > 0.8 * np.ptp([*spread, *named])
    assert np.ptp(spread) > 1.5 * np.ptp(uniform)
    assert np.diff(spread).max() < 3 * np.median(np.diff(spread))


def test_the_corners_are_what_their_names_say() -> None:
    corners = named_choices(SPACE)

    def depth(name: str) -> int:
        return Architecture.from_choices(SPACE, corners[name]).depth

    assert depth("shallowest") < depth("deepest") == depth("all k7") == len(SPACE.positions)
    blocks = Architecture.from_choices(SPACE, corners["all k5"]).blocks[1:]
    assert {(block.kernel, block.expand) for block in blocks} == {(5, 6)}


def test_a_calibration_beside_the_table_is_reported_next_to_the_raw_figures(
    five_percent_slower: LatencyTable, tmp_path: Path
) -> None:
    from proxyless_hw.predictors.calibration import fit_calibration, save_calibration

    path = tmp_path / "t.csv"
    five_percent_slower.save(path)
    table = LatencyTable.load(path)
    found = validate(table, networks=8, spread=6)
    networks = found.calibration_networks()
    save_calibration(
        path,
        fit_calibration(
            [network.predicted_ms for network in networks],
            [network.blocks for network in networks],
            [network.measured_ms for network in networks],
            [network.name for network in networks],
        ),
    )
    again = validate(table, networks=8, spread=6).to_json()
    assert again["mape"] == pytest.approx(1 - 1 / 1.05)
    assert again["calibrated"]["mape"] < 1e-6
    assert again["spread"]["calibrated"]["mape"] < 1e-6


def test_a_machine_that_is_slower_today_is_no_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    table = made_up_table()
    monkeypatch.setattr(module, "measure_for", device(table, 1.0, speed=0.5))
    found = validate(table, networks=4, spread=3)
    assert found.to_json()["bias"] == pytest.approx(0.0, abs=1e-9)
    for network in found.networks:
        assert network.measured_ms == pytest.approx(network.predicted_ms)
        assert network.measured.median == pytest.approx(2 * network.predicted_ms)
    assert found.calibration_networks()[0].measured_ms == found.networks[0].measured_ms


def test_a_table_with_gaps_names_them(five_percent_slower: LatencyTable) -> None:
    entries = dict(five_percent_slower.entries)
    gone = next(op for op in entries if op.kernel == 7)
    del entries[gone]
    with pytest.raises(MissingEntryError) as caught:
        validate(LatencyTable(entries, HEADER), networks=1)
    assert caught.value.missing == (gone,)


def test_nothing_to_validate_is_said(five_percent_slower: LatencyTable) -> None:
    with pytest.raises(PredictorError, match="both 0"):
        validate(five_percent_slower, networks=0, spread=0)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_is_written(
    five_percent_slower: LatencyTable, tmp_path: Path, suffix: str
) -> None:
    found = validate(five_percent_slower, networks=3, spread=3)
    path = tmp_path / f"plot{suffix}"
    plot_validation(found, "title", path)
    assert path.stat().st_size > 5000
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


def test_an_unknown_plot_format_is_refused_early() -> None:
    with pytest.raises(PredictorError, match=r"\.png"):
        check_plot_path(Path("x.docx"), PredictorError)
