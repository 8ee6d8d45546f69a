"""Tables as people have them: JSON, YAML, separators, decimal commas, repeated rows, UTF-16."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from proxyless_hw.errors import TableError
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.importers import import_file
from proxyless_hw.tables.importers.rows import ColumnMap
from proxyless_hw.tables.merge import merge
from proxyless_hw.tables.table import Entry, LatencyTable

BLOCK = OpSpec("mbconv", 56, 56, 24, 56, 56, 24, kernel=3, stride=1, expand=3, act="relu6")
NAMES = ["op", "in_h", "in_w", "in_c", "out_c", "kernel", "stride", "expand", "value"]
CELLS = ["mbconv", "56", "56", "24", "24", "3", "1", "3", "1.25"]
RECORD = {"op": "mbconv", "in_h": 56, "in_w": 56, "in_c": 24, "out_c": 24, "kernel": 3}
RECORD |= {"stride": 1, "expand": 3, "value": 1.25}
PUBLISHED = {
    "Conv-input:224x224x3-output:112x112x24": {"count": 500, "mean": 0.994418, "std": 0.0172},
    "Logits-input:1x1x1536-output:1000": {"count": 500, "mean": 0.669412, "std": 0.0774},
}


def written(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_recognised(separator: str, tmp_path: Path) -> None:
    text = f"{separator.join(NAMES)}\n{separator.join(CELLS)}\n"
    table = import_file(written(tmp_path, "t.txt", text))
    assert dict(table.entries) == {BLOCK: Entry(1.25)}


def test_a_decimal_comma_is_read_and_a_mixture_is_refused(tmp_path: Path) -> None:
    cells = [*CELLS[:-2], "2,5", "1,25"]
    path = written(tmp_path, "t.csv", f"{';'.join(NAMES)}\n{';'.join(cells)}\n")
    ((op, entry),) = import_file(path).entries.items()
    assert (op.expand, entry.value) == (2.5, 1.25)
    quoted = written(tmp_path, "q.csv", ",".join(NAMES) + "\n" + ",".join(CELLS[:-1]) + ',"1,25"\n')
    assert import_file(quoted).entries[BLOCK].value == 1.25
    mixed = ";".join([*CELLS[:-1], "1.250"])
    path = written(tmp_path, "m.csv", f"{';'.join(NAMES)}\n{';'.join(cells)}\n{mixed}\n")
    with pytest.raises(TableError, match=r"with a comma and with a point: '2,5' and '1\.250'"):
        import_file(path)


@pytest.mark.parametrize("head", [["", *NAMES], ["Unnamed: 0", *NAMES], NAMES])
def test_an_index_column_is_left_out(head: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", f"{','.join(head)}\n{','.join(['0', *CELLS])}\n")
    assert dict(import_file(path).entries) == {BLOCK: Entry(1.25)}


def test_repeated_rows_become_their_median_with_an_interval(tmp_path: Path) -> None:
    values = [1.2, 1.5, 1.3, 1.25]
    rows = [",".join([*CELLS[:-1], str(value)]) for value in values]
    single = ",".join(["conv", "8", "8", "3", "4", "3", "1", "1", "2"])
    text = "\n".join([",".join(NAMES), *rows, single]) + "\n"
    table = import_file(written(tmp_path, "t.csv", text))
    entry = table.entries[BLOCK]
    assert entry.value == statistics.median(values) == 1.275
    assert (entry.min, entry.rounds) == (1.2, 4)
    low, high = stats.t.interval(0.95, 3, statistics.fmean(values), stats.sem(values))
    assert math.isclose(entry.ci_low or 0, low)
    assert math.isclose(entry.ci_high or 0, high)
    assert table.metadata["statistic"] == "median"
    (conv,) = (op for op in table.entries if op.op == "conv")
    assert table.entries[conv] == Entry(2.0)
    table.save(tmp_path / "out.csv")
    assert LatencyTable.load(tmp_path / "out.csv").entries == table.entries


def test_the_interval_of_an_outlier_still_holds_the_median(tmp_path: Path) -> None:
    rows = [",".join([*CELLS[:-1], str(value)]) for value in (1, 1, 1, 1, 100)]
    table = import_file(written(tmp_path, "t.csv", "\n".join([",".join(NAMES), *rows])))
    entry = table.entries[BLOCK]
    assert entry.value == 1
    assert entry.ci_low is not None
    assert entry.ci_high is not None
    assert entry.ci_low <= 1 <= entry.ci_high
    assert entry.ci_low >= 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_text_of_windows_is_read(encoding: str, ends: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"{','.join(NAMES)}{ends}{','.join(CELLS)}{ends}".encode(encoding))
    assert dict(import_file(path).entries) == {BLOCK: Entry(1.25)}


def test_another_encoding_is_refused_with_the_way_on(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"{','.join(NAMES)},größe\n".encode("latin-1"))
    with pytest.raises(TableError, match=r"not UTF-8 text .* Save it as UTF-8"):
        import_file(path)


@pytest.mark.parametrize("name", ["t.json", "t.yaml", "t.csv", "t"])
def test_content_says_what_a_file_is_not_its_name(name: str, tmp_path: Path) -> None:
    table = import_file(written(tmp_path, name, json.dumps(PUBLISHED)))
    assert [op.op for op in table.entries] == ["conv", "classifier"]
    assert [entry.value for entry in table.entries.values()] == [0.994418, 0.669412]
    assert table.metadata["statistic"] == "mean"
    yaml = "".join(
        f"{key}:\n" + "".join(f"  {name}: {value}\n" for name, value in fields.items())
        for key, fields in PUBLISHED.items()
    )
    assert import_file(written(tmp_path, name, yaml)).entries == table.entries
    text = f"{','.join(NAMES)}\n{','.join(CELLS)}\n"
    assert dict(import_file(written(tmp_path, name, text)).entries) == {BLOCK: Entry(1.25)}


def test_records_of_json_and_yaml_are_rows(tmp_path: Path) -> None:
    expected = {BLOCK: Entry(1.25)}
    path = written(tmp_path, "t.json", json.dumps([RECORD]))
    assert dict(import_file(path).entries) == expected
    text = "- " + "\n  ".join(f"{key}: {value}" for key, value in RECORD.items()) + "\n"
    assert dict(import_file(written(tmp_path, "t.yaml", text)).entries) == expected
    renamed = {**RECORD, "us": 1250, "note": None}
    del renamed["value"]
    path = written(tmp_path, "r.json", json.dumps([renamed, renamed]))
    table = import_file(path, ColumnMap(columns={"value": "us"}, unit="us"))
    assert dict(table.entries) == {BLOCK: Entry(1.25, 1.25, 1.25, min=1.25, rounds=2)}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([{**RECORD, "value": "fast"}], "record 1 column value .*'fast'"),
        ([RECORD, {**RECORD, "value": [1]}], "record 2: value must be a number or text"),
        ([{"op": "mbconv"}], "has no column 'in_h'"),
        ([1], "maps ops to measurements"),
        ({}, "maps ops to measurements"),
        ({"latency": {"count": 1}}, "no known op has the key 'latency'"),
        ({key: {"mean": 1} for key in PUBLISHED}, "count must be a whole number"),
    ],
)
def test_broken_json_is_refused_by_place_and_value(
    document: object, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "t.json", json.dumps(document))
    with pytest.raises(TableError, match=message) as caught:
        import_file(path)
    assert str(path) in str(caught.value)


def nni(name: str, shape: str = "(56, 56, 24, 24, 1)", latency: str = "912.5") -> str:
    return (
        f"{{'op_name': '{name}', 'op_data_shape': {shape}, 'op_dtype': 'float', "
        f"'op_latency': {latency}}}"
    )


def test_lines_of_dicts_as_nni_writes_them_are_read(tmp_path: Path) -> None:
    text = f"{nni('ir_k3_e3')}\n\n{nni('mb_k5_e6_res', '(56, 28, 24, 40, 2)', '1500')}\n"
    first, second = import_file(written(tmp_path, "lut.txt", text)).entries.items()
    assert first == (
        OpSpec(
            "mbconv", 56, 56, 24, 56, 56, 24, kernel=3, stride=1, expand=3, skip=True, act="relu6"
        ),
        Entry(0.9125),
    )
    assert second == (
        OpSpec("mbconv", 28, 56, 24, 14, 28, 40, kernel=5, stride=2, expand=6, act="relu6"),
        Entry(1.5),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (nni("sep_k3"), "line 1: op_name must be ir_kK_eE or mb_kK_eE.*'sep_k3'"),
        (nni("ir_k3_e3", "(56, 56, 24)"), "op_data_shape must be a list of 5 to 5 items"),
        (nni("ir_k3_e3", latency="'soon'"), "op_latency must be a finite number.*'soon'"),
        (nni("ir_k3_e3", "__import__('os')"), "line 1 is not JSON"),
    ],
)
def test_other_lines_of_dicts_are_refused(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=message):
        import_file(written(tmp_path, "lut.txt", line))


def records() -> list[dict[str, object]]:
    return [RECORD, {**RECORD, "kernel": 5, "value": 2.5}]


def columns() -> dict[str, list[object]]:
    return {name: [item[name] for item in records()] for name in RECORD}


def joined(separator: str) -> str:
    rows = [list(RECORD), *(item.values() for item in records())]
    return "\n".join(separator.join(map(str, row)) for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"{json.dumps(item)}\n" for item in records()),
        "\n".join(str(item) for item in records()),
        json.dumps({"board": "x", "results": records()}),
        json.dumps(columns()),
        json.dumps({key: dict(enumerate(cells)) for key, cells in columns().items()}),
        json.dumps(
            {"columns": list(RECORD), "index": [0, 1], "data": [[*r.values()] for r in records()]}
        ),
        "sep=;\n" + joined(";"),
        "# board 7, cool\n\n" + joined(","),
        "  " + joined("  ").replace("\n", "\n0   "),
    ],
    ids=["jsonl", "dicts", "wrapped", "columns", "pandas", "split", "excel", "comment", "spaces"],
)  # fmt: skip
def test_other_ways_to_write_the_same_rows(text: str, tmp_path: Path) -> None:
    table = import_file(written(tmp_path, "t.txt", text))
    other = replace(BLOCK, kernel=5)
    assert dict(table.entries) == {BLOCK: Entry(1.25), other: Entry(2.5)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv is empty"),
        (b"PK\x03\x04aaaa", "is a workbook .*Save it as CSV"),
        (b"<!DOCTYPE html>", "is HTML or XML"),
        (b"# schema: proxyless-hw-table/9\nop,value\n", "is neither a table"),
        (b'{"op": "mbconv"}\n{"op": 1,\n', "t.csv is not JSON: Extra data at line 2"),
        (b'{"op": "mbconv"}\n{"op": }\n', "t.csv, line 2 is not JSON"),
        (b'{"op": ["mbconv"], "value": [1, 2]}', "no known op has the key"),
    ],
)
def test_what_holds_no_rows_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=message):
        import_file(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["latency_us", "time (us)", "time [µs]"])
def test_a_columns_unit_is_not_taken_for_another(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", f"{','.join([*NAMES[:-1], name])}\n{','.join(CELLS)}\n")
    with pytest.raises(TableError, match=r"is in us by its name, and the unit is taken as ms"):
        import_file(path, ColumnMap(columns={"value": name}))
    table = import_file(path, ColumnMap(columns={"value": name}, unit="us"))
    assert table.entries[BLOCK].value == 0.00125


def test_columns_are_refused_where_the_file_says_what_they_are(tmp_path: Path) -> None:
    for text in (json.dumps(PUBLISHED), nni("ir_k3_e3")):
        with pytest.raises(TableError, match="says itself what its columns and unit are"):
            import_file(written(tmp_path, "t.json", text), ColumnMap(unit="us"))


def tables(*entries: Entry) -> list[LatencyTable]:
    metadata = {"metric": "latency", "unit": "ms", "device": "d"}
    return [LatencyTable({BLOCK: e}, metadata, f"t{n}.csv") for n, e in enumerate(entries)]


def test_a_preference_says_which_of_two_measurements_counts() -> None:
    one = Entry(1.0, 0.9, 1.2, min=0.8, rounds=3, samples=30)
    two = Entry(2.0, 1.5, 2.5, min=1.4, rounds=5, samples=10)
    pair = tables(one, two)
    with pytest.raises(TableError, match=r"'t0.csv' and 't1.csv' hold different.*--prefer first"):
        merge(pair)
    assert merge(pair, prefer="first").entries[BLOCK] == one
    mean = merge(pair, prefer="mean").entries[BLOCK]
    assert mean == Entry(1.5, 0.9, 2.5, min=0.8, rounds=8, samples=40)
    unknown = merge(tables(one, Entry(3.0)), prefer="mean").entries[BLOCK]
    assert unknown == Entry(2.0)


def test_a_preference_mixes_no_settings() -> None:
    one, two = tables(Entry(1.0), Entry(2.0))
    with pytest.raises(TableError, match=r"device is 'd' in 't0\.csv' and 'e'"):
        merge([one, two.with_metadata(device="e")], prefer="mean")
