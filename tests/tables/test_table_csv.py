"""The table's CSV: exact round trip, and every bad input named by file, line and value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxyless_hw.errors import MissingEntryError, TableError
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable, shipped_tables

OP = OpSpec("mbconv", 56, 56, 24, 28, 28, 40, kernel=5, stride=2, expand=3, act="relu6")
STEM = OpSpec("conv", 224, 224, 3, 112, 112, 32, kernel=3, stride=2, act="relu6")
GOOD = """\
# schema: proxyless-hw-table/1
# metric: latency ms
# device: a phone
op,in_h,in_w,in_c,out_h,out_w,out_c,kernel,stride,expand,skip,act,se,value,ci_low,ci_high,p90,min,rounds,samples
conv,224,224,3,112,112,32,3,2,1,0,relu6,0,1.5,1.4,1.6,,,15,60
mbconv,56,56,24,28,28,40,5,2,3,0,relu6,0,0.25,,,,,,
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_reads_back_bit_for_bit(tmp_path: Path) -> None:
    odd = 0.1 + 0.2
    entries = {
        OP: Entry(odd, odd * 0.99, odd * 1.01, odd * 1.1, odd * 0.9, 17, 10**9),
        STEM: Entry(1e-7),
    }
    metadata = {"metric": "latency", "unit": "ms", "device": "a phone", "num_classes": "10"}
    table = LatencyTable(entries, metadata)
    table.save(tmp_path / "t.csv")
    again = LatencyTable.load(tmp_path / "t.csv")
    assert dict(again.entries) == entries
    assert list(again.entries) == list(entries)
    assert dict(again.metadata) == metadata
    assert again.num_classes == 10


def test_the_good_table_is_good(tmp_path: Path) -> None:
    table = LatencyTable.load(write(tmp_path, GOOD))
    assert table.entries[STEM] == Entry(1.5, 1.4, 1.6, rounds=15, samples=60)
    assert table.entries[OP].value == 0.25
    assert table.total([OP, OP, STEM]) == 2.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",stride,", ",", r"line 4 lacks the column 'stride'"),
        (",stride,", ",strode,", r"line 4 lacks the column 'stride'.*strode"),
        (",samples\n", ",samples,extra\n", r"line 4 has an unknown column 'extra'"),
        ("0.25", "nan", r"line 6 column value must be a positive finite number: received 'nan'"),
        ("0.25", "-1", r"line 6 column value must be a positive finite number: received '-1'"),
        ("0.25", "0", r"line 6 column value must be a positive finite number: received '0'"),
        ("0.25", "inf", r"line 6 column value .* received 'inf'"),
        ("0.25", "fast", r"line 6 column value .* received 'fast'"),
        ("0.25,,", "0.25,0.3,", r"line 6 must give both ci_low and ci_high"),
        ("0.25,,", "0.25,0.3,0.4", r"line 6 has 21 cells|line 6 must have ci_low <= value"),
        ("-table/1", "-table/2", r"schema must be 'proxyless-hw-table/1': received"),
        ("# schema: proxyless-hw-table/1\n", "", r"schema must be .* received 'none'.*import"),
        ("latency ms", "happiness ms", r"metric must be one of latency in ms.*'happiness ms'"),
        ("latency ms", "latency us", r"metric must be one of .* unit 'us'"),
        ("# device: a phone", "# device", r"line 3 must read '# key: value'"),
        ("# device: a phone", "# metric: energy mJ", r"line 3 repeats the header key 'metric'"),
        (",5,2,3,0,relu6", ",5,2,3,2,relu6", r"line 6 column skip must be 0 or 1: received '2'"),
        (",5,2,3,0,relu6", ",5,2,3,0,rellu", r"line 6 column act .* 'rellu'.*Did you mean 'relu"),
        (",5,2,3,0,relu6", ",5,0,3,0,relu6", r"line 6 column stride must be a whole number"),
        (",5,2,3,0,relu6", ",5,2.5,3,0,relu6", r"line 6 column stride .* received '2.5'"),
        ("mbconv,56,", "mbconv,99999,", r"line 6 column in_h .* received '99999'"),
        ("mbconv,56,56", "mb conv,56,56", r"line 6 column op must be an op's name"),
        ("0.25,,,,,,", "0.25,,,", r"line 6 has 17 cells where the column names have 20"),
    ],
)
def test_a_bad_table_is_refused_by_file_line_and_value(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(TableError, match=message) as caught:
        LatencyTable.load(path)
    assert str(path) in str(caught.value)


def test_a_repeated_row_names_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + GOOD.splitlines()[-1].replace("0.25", "0.3") + "\n")
    with pytest.raises(TableError, match=r"line 7 repeats the op of line 6 \(mbconv 56x56x24"):
        LatencyTable.load(path)


@pytest.mark.parametrize("text", ["", "# schema: proxyless-hw-table/1\n# metric: latency ms\n"])
def test_an_empty_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(TableError, match=r"schema must be|has no row of column names"):
        LatencyTable.load(write(tmp_path, text))


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    text = "".join(line + "\n" for line in GOOD.splitlines()[:4])
    with pytest.raises(TableError, match="has no rows"):
        LatencyTable.load(write(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"# schema: \xff\xfe")
    with pytest.raises(TableError, match="not UTF-8"):
        LatencyTable.load(path)


def test_a_failed_write_leaves_the_old_table(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    table = LatencyTable.load(path)
    blocked = tmp_path / "t.csv" / "below.csv"
    with pytest.raises(TableError, match="cannot write"):
        table.save(blocked)
    assert path.read_text() == GOOD


def test_every_missing_op_is_named(tmp_path: Path) -> None:
    table = LatencyTable.load(write(tmp_path, GOOD))
    space = SearchSpace.load("imagenet")
    with pytest.raises(MissingEntryError) as caught:
        table.require(space.ops())
    absent = [op for op in space.ops() if op not in table.entries]
    assert caught.value.missing == tuple(absent)
    assert all(str(op) in str(caught.value) for op in absent)
    assert "--missing-from" in str(caught.value)


def test_an_energy_table_prices_no_latency(tmp_path: Path) -> None:
    table = LatencyTable.load(write(tmp_path, GOOD.replace("latency ms", "energy mJ")))
    assert (table.metric, table.unit) == ("energy", "mJ")
    with pytest.raises(TableError, match=r"measures energy \(mJ\), not latency"):
        table.require_metric("latency")


@pytest.mark.parametrize("name", ["pixel1", "tables/pixel1.csv"])
def test_a_shipped_table_is_found_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(LatencyTable.load(name)) == 72


def test_an_unknown_table_gets_the_nearest_name() -> None:
    with pytest.raises(TableError, match=re.escape("Did you mean 'pixel1'?")):
        LatencyTable.load("pixle1")


def test_shipped_tables_price_their_spaces() -> None:
    spaces = {"pixel1": "imagenet", "note10": "mobilenet-v3-w1.2"}
    assert set(shipped_tables()) == set(spaces)
    for name, space in spaces.items():
        table = LatencyTable.load(name)
        assert table.missing(SearchSpace.load(space).ops(224)) == []
        assert "published by" in table.metadata["source"]
        assert table.metadata["statistic"] == "mean"


def test_the_pixel_table_holds_the_published_figures() -> None:
    table = LatencyTable.load("pixel1")
    assert table.metadata["device"] == "Google Pixel 1"
    assert table.entries[STEM].value == 4.083755600814664
    assert table.entries[STEM].samples == 982
    wide = OpSpec("mbconv", 112, 112, 16, 56, 56, 24, kernel=7, stride=2, expand=6, act="relu6")
    assert table.entries[wide].value == 22.104676829268296
    assert table.entries[wide].samples == 164
    # 22.1047 +- t(163, 97.5%) sqrt(0.2044 / 164), worked by hand: t = 1.97462.
    half = 1.97462 * (0.20440296570735613 / 164) ** 0.5
    assert table.entries[wide].ci_high == pytest.approx(22.104676829268296 + half, rel=1e-6)
