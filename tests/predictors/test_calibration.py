"""Calibration: the line is found, intervals hold, and a stale sidecar is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from proxyless_hw.cli import main
from proxyless_hw.errors import PredictorError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.predictors.calibration import (
    Calibration,
    calibration_path,
    fit_calibration,
    load_calibration,
    save_calibration,
)
from proxyless_hw.predictors.costs import count_blocks, space_costs
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.sampling import spread_choices, uniform_choices
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(n: int, generator: np.random.Generator, noise: float = 0.008) -> Drawn:
    """Sums, blocks and measurements of a device with a = 0.2, b = 0.93, c = 0.04."""
    blocks = generator.integers(6, 22, n)
    total = 3 + blocks * generator.uniform(0.3, 0.7, n)
    measured = (0.2 + 0.93 * total + 0.04 * blocks) * (1 + noise * generator.standard_normal(n))
    return total, blocks, measured


def test_a_noiseless_line_is_found_exactly() -> None:
    total, blocks, measured = draw(20, np.random.default_rng(0), noise=0.0)
    calibration = fit_calibration(total, blocks, measured)
    assert calibration.coefficients == pytest.approx((0.2, 0.93, 0.04), rel=1e-6)
    assert calibration.loo_mape == pytest.approx(0.0, abs=1e-9)


def test_unseen_networks_are_predicted_to_the_noise() -> None:
    generator = np.random.default_rng(1)
    calibration = fit_calibration(*draw(20, generator))
    total, blocks, measured = draw(500, generator, noise=0.0)
    errors = [
        abs(calibration.apply(*pair) / truth - 1)
        for *pair, truth in zip(total, blocks, measured, strict=True)
    ]
    assert np.mean(errors) < 0.005


def test_one_disturbed_network_does_not_bend_the_line() -> None:
    generator = np.random.default_rng(2)
    total, blocks, measured = draw(20, generator, noise=0.002)
    measured[3] *= 1.5
    calibration = fit_calibration(total, blocks, measured)
    clean = fit_calibration(*(np.delete(part, 3) for part in (total, blocks, measured)))
    assert calibration.apply(10.0, 14) == pytest.approx(clean.apply(10.0, 14), rel=0.005)


@pytest.mark.parametrize("networks", [10, 30])
def test_intervals_cover_unseen_networks_as_often_as_they_say(networks: int) -> None:
    generator = np.random.default_rng(3)
    coverages = (0.8, 0.9, 0.95)
    inside: dict[float, list[bool]] = {coverage: [] for coverage in coverages}
    for _ in range(25):
        calibration = fit_calibration(*draw(networks, generator))
        for total, blocks, measured in zip(*draw(40, generator), strict=True):
            for coverage in coverages:
                low, high = calibration.interval_ms(float(total), int(blocks), coverage)
                inside[coverage].append(bool(low <= measured <= high))
    # One calibration's own coverage varies; what is promised is the average over calibrations.
    for coverage in coverages:
        assert np.mean(inside[coverage]) == pytest.approx(coverage, abs=0.04)


def test_the_slope_is_never_negative() -> None:
    total = np.linspace(5, 6, 8)
    with pytest.raises(PredictorError, match="do not grow with the predicted ones"):
        fit_calibration(total, np.full(8, 10), 10 - total)


@pytest.mark.parametrize("seed", range(6))
def test_blocks_never_stand_in_for_the_sum(seed: int) -> None:
    generator = np.random.default_rng(seed)
    blocks = np.arange(8, 18)
    total = 0.5 * blocks * (1 + 0.02 * generator.standard_normal(10))
    # The sums are noise around a multiple of the blocks, which alone explain the measurements.
    calibration = fit_calibration(total, blocks, 0.5 * blocks)
    assert calibration.b == pytest.approx(1.0, abs=0.1)


def test_networks_of_one_depth_get_no_term_per_block() -> None:
    total = np.linspace(3, 9, 12)
    calibration = fit_calibration(total, np.full(12, 10), 0.5 + 1.1 * total)
    assert calibration.apply(6.0, 10) == pytest.approx(0.5 + 1.1 * 6.0, rel=1e-6)
    assert calibration.c == 0.0


@pytest.mark.parametrize(
    ("total", "blocks", "measured", "message"),
    [
        ([1.0, 2.0], [3, 4], [1.0, 2.0], "at least 5 measured networks.*received 2"),
        ([1.0] * 8, [3] * 8, [1.0] * 8, "all have the same predicted latency"),
        ([1, 2, 3, 4, 5.0], [3] * 5, [1, 2, 3, 4, float("nan")], "positive and finite.*nan"),
        ([1, 2, 3, 4, -5.0], [3] * 5, [1, 2, 3, 4, 5.0], "predicted values.*received -5.0"),
        ([1, 2, 3, 4, 5.0], [3] * 4, [1, 2, 3, 4, 5.0], "received 5, 4 and 5"),
    ],
)
def test_bad_measurements_are_refused(
    total: list[float], blocks: list[int], measured: list[float], message: str
) -> None:
    with pytest.raises(PredictorError, match=message):
        fit_calibration(total, blocks, measured)


def table_file(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    LatencyTable.load("pixel1").save(path)
    return path


def fitted() -> Calibration:
    return fit_calibration(*draw(20, np.random.default_rng(4)))


def test_the_sidecar_reads_back_the_same_calibration(tmp_path: Path) -> None:
    path = table_file(tmp_path)
    assert load_calibration(path) is None
    calibration = fitted()
    assert save_calibration(path, calibration) == tmp_path / "t.calibration.json"
    assert load_calibration(path) == calibration


def test_a_changed_table_refuses_its_old_calibration(tmp_path: Path) -> None:
    path = table_file(tmp_path)
    save_calibration(path, fitted())
    text = path.read_text()
    assert "4.083755600814664" in text
    path.write_text(text.replace("4.083755600814664", "4.08"))
    with pytest.raises(PredictorError, match=r"calibrates other rows.*table calibrate"):
        fit_predictor(LatencyTable.load(path))
    assert fit_predictor(LatencyTable.load(path), calibrate=False).calibration is None


def test_rows_in_another_order_are_the_same_table(tmp_path: Path) -> None:
    path = table_file(tmp_path)
    save_calibration(path, fitted())
    table = LatencyTable.load(path)
    LatencyTable(dict(reversed(table.entries.items())), table.metadata).save(path)
    assert load_calibration(path) == fitted()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", "other/1", "schema must be"),
        ("networks", 3, "networks must be a list"),
        ("networks", [{"name": "x"}], r"networks\[0\] must hold"),
        ("b", 1.5, "b does not follow from the networks in the file: received '1.5'"),
        ("a", None, "a does not follow from the networks in the file"),
    ],
)
def test_a_damaged_sidecar_is_refused(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = table_file(tmp_path)
    save_calibration(path, fitted())
    sidecar = calibration_path(path)
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), key: value}))
    with pytest.raises(PredictorError, match=message) as caught:
        load_calibration(path)
    assert str(sidecar) in str(caught.value)


def test_a_calibrated_space_prices_every_network_as_the_line_does(tmp_path: Path) -> None:
    path = table_file(tmp_path)
    save_calibration(path, fitted())
    predictor = fit_predictor(LatencyTable.load(path))
    space = SearchSpace.load("imagenet")
    expected = ExpectedLatency(space, predictor)
    choices = uniform_choices(space, 20, seed=0)
    a, b, c = fitted().coefficients
    for row, scored in zip(choices, expected.score(choices), strict=True):
        arch = Architecture.from_choices(space, row.tolist())
        ops = arch.ops()
        blocks = count_blocks(arch)
        by_hand = a + b * sum(predictor.table.entries[op].value for op in ops) + c * blocks
        assert scored == pytest.approx(by_hand, rel=1e-12)
        assert predictor.predict_ms(arch) == pytest.approx(by_hand, rel=1e-12)
        low, high = predictor.interval_ms(arch)
        assert low < by_hand < high


def test_spread_networks_cover_the_feasible_range_evenly() -> None:
    space = SearchSpace.load("imagenet")
    costs = fit_predictor(LatencyTable.load("pixel1"), "lookup").space_costs(space)
    expected = ExpectedLatency.from_costs(costs)
    scores = expected.score(spread_choices(costs, 30, seed=0))
    low = costs.fixed + np.where(costs.mask, costs.slots, np.inf).min(1).sum()
    high = costs.fixed + costs.slots.max(1).sum()
    ideal = low + (np.arange(30) + 0.5) / 30 * (high - low)
    assert np.abs(scores - ideal).max() < 0.02 * (high - low)
    assert len(np.unique(spread_choices(costs, 30, seed=0), axis=0)) == 30


def test_calibrate_from_a_file_of_measured_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table_file(tmp_path)
    space = SearchSpace.load("imagenet")
    table = LatencyTable.load(path)
    lines = ["network,measured_ms"]
    for index, row in enumerate(uniform_choices(space, 8, seed=0)):
        arch = Architecture.from_choices(space, row.tolist())
        arch.save(tmp_path / f"n{index}.json")
        lines.append(f"n{index}.json,{2 + 0.9 * table.latency_ms(arch)!r}")
    measured = tmp_path / "measured.csv"
    measured.write_text("\n".join(lines) + "\n")
    with pytest.raises(SystemExit) as caught:
        main(["table", "calibrate", str(path), "--from", str(measured), "--json"])
    assert caught.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["networks"] == 8
    assert document["left_out_mape"] < 1e-6 < document["mape_before"]
    calibration = load_calibration(path)
    assert calibration is not None
    assert calibration.apply(80.0, 20) == pytest.approx(74.0, rel=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network,ms\nx,1\n", "line 1 must name the columns network and measured_ms"),
        ("network,measured_ms\nproxyless-mobile,fast\n", "line 2: measured_ms .*'fast'"),
        ('[{"network": "proxyless-mobile", "measured_ms": -1}]', r"\[0\]: measured_ms .*'-1'"),
        ('[{"measured_ms": 1}]', r"\[0\] must hold network"),
        ("{}", "must be a list"),
    ],
)
def test_a_bad_file_of_measured_networks_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    from proxyless_hw.predictors.network_files import read_measured_networks

    path = tmp_path / "measured.csv"
    path.write_text(text)
    with pytest.raises(PredictorError, match=message) as caught:
        read_measured_networks(path, LatencyTable.load("pixel1"))
    assert str(path) in str(caught.value)


def test_a_shipped_table_is_not_calibrated_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["table", "calibrate", "pixel1", "--networks", "5"])
    assert caught.value.code == 1
    assert "shipped table" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mobilenet-v3-large", "mobilenet-v3-small", "proxyless-mobile"])
def test_stem_and_head_are_no_blocks_whatever_their_ops(name: str) -> None:
    arch = load_architecture(name)
    assert count_blocks(arch) == arch.depth
    # The place decides, not the op's name: a block moved into the head is no block any more.
    moved = replace(arch, blocks=arch.blocks[:-1], head=(arch.blocks[-1], *arch.head))
    assert count_blocks(moved) == arch.depth - 1


@pytest.mark.parametrize("name", ["imagenet", "mobilenet-v3", "cifar-mbconv", "cifar-tree"])
def test_a_space_charges_c_once_for_every_block_of_a_network(name: str) -> None:
    space = SearchSpace.load(name)
    only_blocks = replace(fitted(), a=0.0, b=0.0, c=1.0)
    costs = space_costs(space, lambda ops: np.ones(len(ops)), only_blocks)
    for row in uniform_choices(space, 5, seed=1):
        arch = Architecture.from_choices(space, row.tolist())
        charged = costs.fixed + costs.slots[np.arange(len(row)), row].sum()
        assert charged == count_blocks(arch)
