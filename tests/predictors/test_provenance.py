"""A transferred table prices networks, and what it predicted is never called measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from proxyless_hw.cli import main
from proxyless_hw.errors import PredictorError
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.provenance import transferred_ops
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE = SearchSpace.load("imagenet")
SOURCE = LatencyTable.load("pixel1")
NETWORK = Architecture.from_choices(SPACE, [0] * len(SPACE.slots))


def _probes() -> LatencyTable:
    """The source's own probes at half the cost: a device twice as fast."""
    chosen = choose_probes(SOURCE, 15)
    entries = {op: SOURCE.entries[op].value / 2 for op in chosen}
    return LatencyTable(
        {op: Entry(ms, ci_low=0.99 * ms, ci_high=1.01 * ms) for op, ms in entries.items()},
        {**SOURCE.metadata, "device": "new"},
        "probes",
    )


PROBES = _probes()
TABLE = transfer([SOURCE], PROBES).table


def test_only_the_probes_of_a_transferred_table_count_as_measured() -> None:
    assert transferred_ops(TABLE) == set(SOURCE.entries) - set(PROBES.entries)
    assert transferred_ops(SOURCE) == frozenset()
    for item in fit_predictor(TABLE).explain(NETWORK):
        assert item.source == ("measured" if item.op in PROBES else "transferred")


def test_the_header_keeps_that_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    TABLE.save(path)
    assert transferred_ops(LatencyTable.load(path)) == transferred_ops(TABLE)


def test_predicted_rows_add_up_as_errors_that_point_the_same_way() -> None:
    low, high = fit_predictor(TABLE, "lookup").interval_ms(NETWORK, 0.95)
    ops = NETWORK.ops()
    half = {op: (entry.ci_high - entry.ci_low) / 2 for op, entry in TABLE.entries.items()}  # type: ignore[operator]
    alike = sum(half[op] for op in ops if op not in PROBES)
    alone = {op: ops.count(op) * half[op] for op in ops if op in PROBES}
    expected = np.hypot(alike, np.sqrt(sum(value**2 for value in alone.values())))
    assert (high - low) / 2 == pytest.approx(expected, rel=1e-9)


def test_predict_says_how_many_ops_were_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, network = tmp_path / "new.csv", tmp_path / "network.json"
    TABLE.save(table)
    NETWORK.save(network)
    main_code(["predict", str(network), "--table", str(table), "--json"])
    document = json.loads(capsys.readouterr().out)
    keys = {op.key for op in NETWORK.ops()}
    assert set(document["measured_ops"]) == keys & {op.key for op in PROBES.entries}
    assert set(document["transferred_ops"]) == keys - {op.key for op in PROBES.entries}
    assert document["regressed_ops"] == []
    main_code(["predict", str(network), "--table", str(table)])
    assert "predicted from another device's table" in capsys.readouterr().out


def test_a_header_whose_probes_cannot_be_read_is_refused() -> None:
    broken = TABLE.with_metadata(probes="not-an-op")
    with pytest.raises(PredictorError, match=r"probes as op keys.*not-an-op"):
        fit_predictor(broken).predict(NETWORK)


def test_probes_in_the_header_read_back_as_the_same_ops() -> None:
    keys = TABLE.metadata["probes"].split()
    assert [OpSpec.from_key(key) for key in keys] == list(PROBES.entries)


def main_code(args: list[str]) -> None:
    """Runs the command line, which ends by exiting with 0."""
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 0
