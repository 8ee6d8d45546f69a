"""Predictors: exact sums, what is looked up and what regressed, intervals, other metrics."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch

from proxyless_hw.cli import main
from proxyless_hw.errors import (
    ArchitectureError,
    MissingEntryError,
    PredictorError,
    TableError,
)
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.network.network import build_network
from proxyless_hw.predictors.expected import ExpectedLatency
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE = SearchSpace.load("imagenet")


def network(choice: int = 0) -> Architecture:
    return Architecture.from_choices(SPACE, [choice] * len(SPACE.slots))


def without(table: LatencyTable, *ops: OpSpec) -> LatencyTable:
    kept = {op: entry for op, entry in table.entries.items() if op not in ops}
    return LatencyTable(kept, table.metadata, "gappy")


def test_a_lookup_is_the_exact_sum() -> None:
    table = LatencyTable.load("pixel1")
    arch = network()
    by_hand = sum(table.entries[op].value for op in arch.ops())
    for kind in ("lookup", "auto"):
        assert fit_predictor(table, kind).predict_ms(arch) == pytest.approx(by_hand, rel=1e-14)


def test_a_lookup_names_every_missing_op() -> None:
    arch = network()
    gone = arch.ops()[3], arch.ops()[9]
    predictor = fit_predictor(without(LatencyTable.load("pixel1"), *gone), "lookup")
    with pytest.raises(MissingEntryError) as caught:
        predictor.predict_ms(arch)
    assert set(caught.value.missing) == set(gone)
    with pytest.raises(MissingEntryError):
        predictor.space_costs(SPACE)


def test_auto_says_which_ops_were_measured_and_which_regressed() -> None:
    table = LatencyTable.load("pixel1")
    arch = network()
    gone = arch.ops()[5]
    predictor = fit_predictor(without(table, gone), "auto")
    for item in predictor.explain(arch):
        assert item.source == ("regressed" if item.op == gone else "measured")
        if item.op != gone:
            assert item.ms == table.entries[item.op].value
    assert predictor.op_ms([gone])[0] == pytest.approx(table.entries[gone].value, rel=0.3)
    assert ExpectedLatency(SPACE, predictor).costs.fixed > 0


def test_regression_prices_measured_ops_too_and_ignores_their_entries() -> None:
    table = LatencyTable.load("pixel1")
    predictor = fit_predictor(table, "regression")
    assert {item.source for item in predictor.explain(network())} == {"regressed"}
    values = predictor.op_ms(list(table.entries))
    truth = np.array([entry.value for entry in table.entries.values()])
    assert not np.array_equal(values, truth)
    assert np.mean(np.abs(values / truth - 1)) < 0.2


def test_the_interval_of_a_sum_adds_independent_errors_and_repeats_linearly() -> None:
    one = OpSpec("conv", 8, 8, 4, 8, 8, 4, kernel=3)
    head = OpSpec("classifier", 8, 8, 4, 1, 1, 10)
    document = {
        "schema": "proxyless-hw-architecture/1",
        "space": "x",
        "resolution": 8,
        "num_classes": 10,
        "stem": [{"op": "conv", "in_c": 3, "out_c": 4, "kernel": 3}],
        "blocks": [{"op": "conv", "in_c": 4, "out_c": 4, "kernel": 3}] * 2,
        "head": [{"op": "classifier", "in_c": 4, "out_c": 10}],
    }
    arch = Architecture.from_json(json.dumps(document))
    stem = arch.ops()[0]
    table = LatencyTable(
        {stem: Entry(1, 0.9, 1.1), one: Entry(2, 1.7, 2.3), head: Entry(4, 3.8, 4.2)},
        {"metric": "latency", "unit": "ms"},
    )
    low, high = fit_predictor(table, "lookup").interval_ms(arch, 0.95)
    half = (0.1**2 + (2 * 0.3) ** 2 + 0.2**2) ** 0.5
    assert (low, high) == pytest.approx((9 - half, 9 + half), rel=1e-12)
    low90, high90 = fit_predictor(table, "lookup").interval_ms(arch, 0.9)
    scale = NormalDist().inv_cdf(0.95) / NormalDist().inv_cdf(0.975)
    assert high90 - low90 == pytest.approx(2 * half * scale, rel=1e-12)
    # What moved all ops together when the table was made stays whole in a sum.
    levelled = replace(table, metadata={**table.metadata, "quality_level_half_width": "0.05"})
    low, high = fit_predictor(levelled, "lookup").interval_ms(arch, 0.95)
    whole = (half**2 + (0.05 * 9) ** 2) ** 0.5
    assert (low, high) == pytest.approx((9 - whole, 9 + whole), rel=1e-12)


@pytest.mark.parametrize("text", ["wide", "nan", "-0.1", "1e9"])
def test_a_level_that_is_no_fraction_is_refused(text: str) -> None:
    table = LatencyTable.load("pixel1")
    odd = replace(table, metadata={**table.metadata, "quality_level_half_width": text})
    with pytest.raises(TableError, match="quality_level_half_width"):
        _ = odd.level_half_width


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, 1.5])
def test_a_coverage_outside_0_to_1_is_refused(coverage: float) -> None:
    with pytest.raises(PredictorError, match="coverage lies between 0 and 1"):
        fit_predictor(LatencyTable.load("pixel1")).interval_ms(network(), coverage)


def test_an_unknown_kind_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(PredictorError, match=r"received 'lookout'.*Did you mean 'lookup'"):
        fit_predictor(LatencyTable.load("pixel1"), "lookout")  # type: ignore[arg-type]


def test_an_energy_table_prices_spaces_but_no_latency() -> None:
    latency = LatencyTable.load("pixel1")
    table = LatencyTable(latency.entries, {"metric": "energy", "unit": "mJ"}, "e")
    predictor = fit_predictor(table)
    assert predictor.predict(network()) == pytest.approx(latency.latency_ms(network()))
    assert predictor.space_costs(SPACE).mask.any()
    with pytest.raises(TableError, match="measures energy"):
        predictor.predict_ms(network())


@pytest.mark.parametrize("rows", [1, 5])
def test_a_tiny_table_is_looked_up_but_not_regressed(rows: int) -> None:
    entries = dict(list(LatencyTable.load("pixel1").entries.items())[:rows])
    table = LatencyTable(entries, {"metric": "latency", "unit": "ms"}, "tiny")
    assert fit_predictor(table, "auto").op_ms(list(entries)).shape == (rows,)
    with pytest.raises(PredictorError, match=f"at least 10 rows.*'tiny' has {rows} "):
        fit_predictor(table, "regression")
    with pytest.raises(PredictorError, match="at least 10 rows"):
        fit_predictor(table, "auto").predict_ms(network(1))


def predict(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["predict", *arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_predict_reports_total_interval_and_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arch = network()
    arch.save(tmp_path / "a.json")
    code = predict([str(tmp_path / "a.json"), "--table", "pixel1", "--breakdown", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    table = LatencyTable.load("pixel1")
    assert document["latency_ms"] == pytest.approx(table.latency_ms(arch))
    assert document["interval_ms"][0] < document["latency_ms"] < document["interval_ms"][1]
    assert document["regressed_ops"] == []
    assert set(document["measured_ops"]) == {op.key for op in arch.ops()}
    assert [item["op"] for item in document["breakdown"]] == [op.key for op in arch.ops()]
    assert document["interval_of"] == "sum of ops"


def test_the_published_mobile_network_has_three_ops_regressed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert predict(["proxyless-mobile", "--table", "pixel1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["regressed_ops"]) == 3
    assert all("x32-" in key for key in document["regressed_ops"])
    assert document["interval_ms"][0] < document["latency_ms"] < document["interval_ms"][1]


def test_predict_by_lookup_alone_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(["proxyless-mobile", "--table", "pixel1", "--kind", "lookup"]) == 1
    error = capsys.readouterr().err
    assert "no entry for 3 ops in 'pixel1'" in error
    assert "mbconv 56x56x32->28x28x40 k7 e3 s2" in error


def test_compare_is_a_matrix_of_networks_by_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = LatencyTable.load("pixel1")
    double = {op: Entry(2 * entry.value, 0.0, 9e3) for op, entry in table.entries.items()}
    LatencyTable(double, table.metadata).save(tmp_path / "slow.csv")
    names = []
    for choice in (0, 3):
        network(choice).save(tmp_path / f"{choice}.json")
        names.append(str(tmp_path / f"{choice}.json"))
    tables = ["--table", "pixel1", "--table", str(tmp_path / "slow.csv")]
    assert predict(["--compare", *names, *tables, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    expected = [table.latency_ms(network(choice)) for choice in (0, 3)]
    assert np.array(document["latency_ms"]) == pytest.approx(
        np.array([[value, 2 * value] for value in expected])
    )


@pytest.mark.parametrize("kind", ["measured", "regressed", "transferred", "both"])
def test_a_star_is_explained_wherever_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    table = LatencyTable.load("pixel1")
    entries = {op: Entry(entry.value, 0.0, 9e3) for op, entry in table.entries.items()}
    if kind in ("regressed", "both"):
        del entries[network().ops()[5]]
    header = dict(table.metadata)
    if kind in ("transferred", "both"):
        header |= {"statistic": "transferred", "probes": network().ops()[0].key}
    LatencyTable(entries, header).save(tmp_path / "t.csv")
    network().save(tmp_path / "n.json")
    assert predict(["--compare", str(tmp_path / "n.json"), "--table", str(tmp_path / "t.csv")]) == 0
    cells, _, explained = capsys.readouterr().out.partition("\n* ")
    assert ("*" in cells) == (kind != "measured") == bool(explained)
    assert ("that the table lacks, regressed" in explained) == (kind in ("regressed", "both"))
    assert ("another device's table" in explained) == (kind in ("transferred", "both"))


def test_compare_shows_a_cell_that_cannot_be_priced(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--compare", "proxyless-mobile", "--table", "pixel1", "--kind", "lookup"]
    assert predict([*arguments, "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["latency_ms"] == [[None]]
    assert "proxyless-mobile on pixel1: no entry for 3 ops" in captured.err


@pytest.mark.parametrize("name", ["imagenet", "mobilenet-v3"])
def test_an_exported_file_is_read_back_as_its_ops(name: str, tmp_path: Path) -> None:
    from proxyless_hw.export.onnx_file import write_onnx
    from proxyless_hw.formats.load import load_architecture

    space = SearchSpace.load(name)
    generator = np.random.default_rng(0)
    choices = [int(generator.integers(len(slot.candidates))) for slot in space.slots]
    arch = Architecture.from_choices(space, choices, resolution=64)
    path = write_onnx(build_network(arch), (1, 3, 64, 64), tmp_path / "n.onnx")
    again = load_architecture(str(path))
    assert again.ops() == arch.ops()
    assert again.resolution == 64


def test_an_onnx_file_with_unknown_ops_names_them(tmp_path: Path) -> None:
    from proxyless_hw.export.onnx_file import write_onnx
    from proxyless_hw.formats.load import load_architecture

    strange = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Softplus(), torch.nn.Tanh())
    path = write_onnx(strange, (1, 3, 16, 16), tmp_path / "n.onnx")
    with pytest.raises(PredictorError, match=r"no known op holds: Softplus, Tanh"):
        load_architecture(str(path))


def test_an_onnx_file_of_known_nodes_in_an_unknown_order_is_refused(tmp_path: Path) -> None:
    from proxyless_hw.export.onnx_file import write_onnx
    from proxyless_hw.formats.load import load_architecture

    unpadded = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    path = write_onnx(unpadded, (1, 3, 16, 16), tmp_path / "n.onnx")
    with pytest.raises(PredictorError, match=r"not made of known ops alone: .* 3x3 convolution"):
        load_architecture(str(path))


def test_fit_prints_held_out_scores(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "pixel1", "--json"])
    assert caught.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scores"]["folds"] > 3
    assert 0 < document["scores"]["mape"] < 0.2
    assert document["calibration"] is None


def test_a_name_is_taken_wherever_a_network_is() -> None:
    predictor = fit_predictor(LatencyTable.load("pixel1"))
    network = load_architecture("proxyless-mobile")
    assert predictor.predict_ms("proxyless-mobile") == predictor.predict_ms(network)
    assert predictor.interval_ms("proxyless-mobile") == predictor.interval_ms(network)
    assert predictor.explain("proxyless-mobile") == predictor.explain(network)
    with pytest.raises(ArchitectureError, match="proxyless-mobil'"):
        predictor.interval_ms("proxyless-mobil")
