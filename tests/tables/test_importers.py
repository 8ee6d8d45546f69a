"""Importing published YAML tables and plain CSV: exact values, and every fault named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxyless_hw.cli import main
from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.importers import import_file
from proxyless_hw.tables.importers.published import parse_published_yaml
from proxyless_hw.tables.importers.rows import ColumnMap
from proxyless_hw.tables.table import LatencyTable

PROXYLESS = """\
Conv-input:224x224x3-output:112x112x32:
  count: 982
  mean: 4.083755600814664
  var: 0.2502372872758427
Logits-input:7x7x1280-output:1000:
  count: 982
  mean: 0.3096415478615071
  var: 0.05583766681628091
expanded_conv-input:14x14x80-output:14x14x80-expand:3-kernel:5-stride:1-idskip:1:
  count: 407
  mean: 2.126525798525799
  var: 0.05374764674845087
"""
ONCE_FOR_ALL = """\
AvgPool2D-input:7x7x1152-output:1x1x1152:
  count: 495
  mean: 0.015270707070707077
  std: 0.000903109390250199
Conv_2-input:1x1x1152-output:1x1x1536:
  count: 500
  mean: 0.762458
  std: 0.10130917152953131
Logits-input:1x1x1536-output:1000:
  count: 500
  mean: 0.669412
  std: 0.07743974597065771
expanded_conv-input:56x56x32-output:28x28x48-expand:96-kernel:5-stride:2-idskip:0-se:1-hs:0:
  count: 5
  mean: 1.5
  std: 0.25
expanded_conv-input:14x14x96-output:14x14x96-expand:384-kernel:3-stride:1-idskip:1-se:0-hs:1:
  count: 1
  mean: 2.5
  std: 0.0
"""


def test_the_proxylessnas_form_keeps_values_and_counts() -> None:
    table = parse_published_yaml(PROXYLESS, "p.yaml")
    stem, logits, block = table.entries
    assert stem == OpSpec("conv", 224, 224, 3, 112, 112, 32, kernel=3, stride=2, act="relu6")
    assert logits == OpSpec("classifier", 7, 7, 1280, 1, 1, 1000)
    assert block == OpSpec(
        "mbconv", 14, 14, 80, 14, 14, 80, kernel=5, expand=3, skip=True, act="relu6"
    )
    assert [entry.value for entry in table.entries.values()] == [
        4.083755600814664,
        0.3096415478615071,
        2.126525798525799,
    ]
    assert [entry.samples for entry in table.entries.values()] == [982, 982, 407]
    assert table.num_classes == 1000
    assert table.metadata["statistic"] == "mean"


def test_the_once_for_all_form_keeps_squeeze_excite_and_h_swish() -> None:
    table = parse_published_yaml(ONCE_FOR_ALL, "n.yaml")
    pool, mix, logits, squeezed, swish = table.entries
    assert pool == OpSpec("pool", 7, 7, 1152, 1, 1, 1152)
    assert mix == OpSpec("conv_nobn", 1, 1, 1152, 1, 1, 1536, act="hswish")
    assert logits == OpSpec("classifier", 1, 1, 1536, 1, 1, 1000)
    assert squeezed == OpSpec(
        "mbconv", 56, 56, 32, 28, 28, 48, kernel=5, stride=2, expand=3, act="relu", se=1
    )
    assert swish == OpSpec(
        "mbconv", 14, 14, 96, 14, 14, 96, kernel=3, expand=4, skip=True, act="hswish"
    )


def test_the_interval_is_that_of_the_mean() -> None:
    table = parse_published_yaml(ONCE_FOR_ALL, "n.yaml")
    five, one = list(table.entries.values())[-2:]
    # Student's t with 4 degrees of freedom: 2.77645.
    assert five.ci_low == pytest.approx(1.5 - 2.776445 * 0.25 / 5**0.5, rel=1e-6)
    assert five.ci_high == pytest.approx(1.5 + 2.776445 * 0.25 / 5**0.5, rel=1e-6)
    assert (one.ci_low, one.ci_high, one.samples) == (None, None, 1)


@pytest.mark.parametrize("text", [PROXYLESS, ONCE_FOR_ALL])
def test_an_imported_table_reads_back_the_same(text: str, tmp_path: Path) -> None:
    source = tmp_path / "theirs.yaml"
    source.write_text(text)
    target = tmp_path / "t.csv"
    main_ok(["table", "import", str(source), "--set", "device=a phone", "--output", str(target)])
    again = LatencyTable.load(target)
    assert dict(again.entries) == dict(parse_published_yaml(text, "x").entries)
    assert again.metadata["device"] == "a phone"
    assert again.metadata["source"] == "theirs.yaml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Conv-input:224", "Convolution-input:224", "line 1: no known op has the key"),
        (
            "mean: 0.3096415478615071",
            "mean: .nan",
            r"line 5 .*mean must be a finite.*nan",
        ),
        (
            "mean: 0.3096415478615071",
            "mean: -1",
            "mean must be a finite number above 0.* -1",
        ),
        (
            "mean: 0.3096415478615071",
            "mean: 0",
            "mean must be a finite number above 0.* 0",
        ),
        ("mean: 0.3096415478615071", "mean: yes", "mean must be a finite number.*received True"),
        ("count: 407", "count: 4.5", "line 9 .*count must be a whole number.*received 4.5"),
        ("count: 407", "count: 0", "count must be a whole number from 1 to .*received 0"),
        ("  var: 0.05583766681628091\n", "", "must give var or std"),
        ("var: 0.0558", "variance: 0.0558", "unknown field 'variance'"),
        ("-output:14x14x80", "-output:7x7x80", "the output does not follow from the input"),
        ("kernel:5", "kernel:4", "odd kernel"),
        ("-idskip:1", "-idskip:1-se:1-hs:1", "line 9: .*expanded_conv has an odd kernel|expansion"),
        ("14x14x80-expand", "14x14x96-expand", "idskip:1 needs stride 1 and equal channels"),
        ("  count: 982\n", "  count: [\n", "not valid YAML at line"),
        ("  count: 982\n", "  count: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        ("  count: 982\n", "  count: &a 982\n  var: *a\n", "YAML alias"),
        ("Logits-input:7x7x1280-output:1000", "Conv-input:224x224x3-output:112x112x32", "repeats"),
    ],
)
def test_a_bad_yaml_is_refused_by_line_key_and_value(old: str, new: str, message: str) -> None:
    assert old in PROXYLESS
    with pytest.raises(TableError, match=message) as caught:
        parse_published_yaml(PROXYLESS.replace(old, new, 1), "theirs.yaml")
    assert "theirs.yaml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "just text", "{}"])
def test_a_yaml_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(TableError, match="maps ops to measurements"):
        parse_published_yaml(text, "theirs.yaml")


def plain(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "theirs.csv"
    path.write_text(text)
    return path


def test_a_plain_csv_is_read_by_a_column_mapping(tmp_path: Path) -> None:
    path = plain(
        tmp_path,
        "kind,h,w,cin,cout,k,s,latency_us,n\n"
        "conv,224,224,3,32,3,2,1234.5,7\n\nclassifier,7,7,320,10,1,1,0.1,7\n",
    )
    columns = {"op": "kind", "in_h": "h", "in_w": "w", "in_c": "cin", "out_c": "cout"}
    columns |= {"kernel": "k", "stride": "s", "value": "latency_us", "samples": "n"}
    table = import_file(path, ColumnMap(columns=columns, unit="us"))
    stem, last = table.entries
    assert stem == OpSpec("conv", 224, 224, 3, 112, 112, 32, kernel=3, stride=2, act="relu6")
    assert last == OpSpec("classifier", 7, 7, 320, 1, 1, 10)
    # Scaled in decimal: the same number as the one written in ms.
    assert [entry.value for entry in table.entries.values()] == [1.2345, 0.0001]
    assert [entry.samples for entry in table.entries.values()] == [7, 7]
    assert (table.metric, table.unit) == ("latency", "ms")


def test_energy_in_joules_becomes_millijoules(tmp_path: Path) -> None:
    path = plain(tmp_path, "op,in_h,in_w,in_c,out_c,value\nconv,8,8,4,4,0.25\n")
    table = import_file(path, ColumnMap(unit="J"))
    assert (table.metric, table.unit, table.total(table.entries)) == ("energy", "mJ", 250.0)


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("op,in_h,in_w,in_c,out_c\n", {}, "line 1 has no column 'value'.*--map value=COLUMN"),
        ("op,v\n", {"value": "w"}, "line 1 has no column 'w' to map to value"),
        ("op,in_h,in_w,in_c,out_c,value\nconv,8,8,4,4,nan\n", {}, "line 2 column value.*'nan'"),
        ("op,in_h,in_w,in_c,out_c,value\nconv,8,8,4,4\n", {}, "line 2 has 5 cells"),
        ("op,in_h,in_w,in_c,out_c,value\n\nconv,8,-8,4,4,1\n", {}, "line 3 column in_w.*'-8'"),
        ("op,in_h,in_w,in_c,out_c,value\n", {}, "has no rows"),
        ("# something: else\n", {}, "neither a table .* nor a plain CSV"),
        ("", {}, "is empty"),
        ('op,"in_h\n', {}, "not CSV"),
    ],
)
def test_a_bad_csv_is_refused_by_line_and_value(
    tmp_path: Path, text: str, columns: dict[str, str], message: str
) -> None:
    path = plain(tmp_path, text)
    with pytest.raises(TableError, match=message) as caught:
        import_file(path, ColumnMap(columns=columns))
    assert str(path) in str(caught.value)


def test_unknown_columns_units_and_header_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no column 'valu'.*Did you mean 'value'"):
        ColumnMap(columns={"valu": "x"})
    with pytest.raises(TableError, match="unit must be one of ns, us, ms"):
        ColumnMap(unit="minutes")
    with pytest.raises(TableError, match="no header line 'colour'"):
        import_file(tmp_path / "x.csv", header={"colour": "red"})


def test_our_own_table_passes_through_unchanged(tmp_path: Path) -> None:
    shipped = LatencyTable.load("pixel1")
    shipped.save(tmp_path / "a.csv")
    main_ok(["table", "import", str(tmp_path / "a.csv"), "--output", str(tmp_path / "b.csv")])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_import_keeps_an_existing_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "p.yaml", tmp_path / "t.csv"
    source.write_text(PROXYLESS)
    target.write_text("mine")
    with pytest.raises(SystemExit) as caught:
        main(["table", "import", str(source), "--output", str(target)])
    assert caught.value.code == 1
    assert "is there already" in capsys.readouterr().err
    assert target.read_text() == "mine"


def test_import_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "p.yaml", tmp_path / "t.csv"
    source.write_text(PROXYLESS)
    main_ok(["table", "import", str(source), "--output", str(target), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["rows"], document["unit"], document["resolutions"]) == (3, "ms", [224])


def main_ok(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
