"""Files to import that are large, ambiguous or broken: read in good time, or refused by name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from proxyless_hw.errors import TableError
from proxyless_hw.tables.importers import import_file
from proxyless_hw.tables.importers.plain_csv import parse_plain_csv
from proxyless_hw.tables.importers.published import parse_published_yaml
from proxyless_hw.tables.importers.rows import ColumnMap

HEADER = "op,in_h,in_w,in_c,out_c,value\n"
MICROSECONDS = ColumnMap(unit="us")


def _block(index: int) -> str:
    size, channels = 1 + index // 500, 8 + 8 * (index % 500)
    shape = f"{size}x{size}x{channels}"
    return (
        f"expanded_conv-input:{shape}-output:{shape}-expand:3-kernel:5-stride:1-idskip:1:\n"
        f"  {{count: {index + 2}, mean: {1 + index / 7!r}, var: 0.05}}\n"
    )


def test_ten_thousand_yaml_entries_are_read_exactly_and_in_good_time() -> None:
    text = "".join(_block(index) for index in range(10_000))
    start = time.process_time()
    table = parse_published_yaml(text, "big.yaml")
    seconds = time.process_time() - start
    entries = list(table.entries.values())
    assert [entry.value for entry in entries] == [1 + index / 7 for index in range(10_000)]
    assert [entry.samples for entry in entries] == list(range(2, 10_002))
    assert seconds < 30


@pytest.mark.parametrize("value", ["1e999999999", "1e999999", "1e-999999", "nan", "inf", "-1", "0"])
def test_a_number_that_no_latency_can_be_is_named_whatever_its_size(value: str) -> None:
    with pytest.raises(TableError, match=r"theirs.csv, line 2 column value must be a positive"):
        parse_plain_csv(f"{HEADER}conv,8,8,3,8,{value}\n", MICROSECONDS, "theirs.csv")


def test_a_column_name_that_stands_twice_is_refused_rather_than_chosen_from() -> None:
    text = "op,in_h,in_w,in_c,out_c,value,value\nconv,8,8,3,8,1,2\n"
    with pytest.raises(TableError, match="line 1 repeats the column name 'value'"):
        parse_plain_csv(text, ColumnMap(), "theirs.csv")


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text(f"{HEADER}conv,8,8,3,8,1234.5\n", encoding="utf-8-sig")
    (entry,) = import_file(path, MICROSECONDS).entries.values()
    assert entry.value == 1.2345


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x\n", r"bad.yaml uses a YAML alias \(line 2\)"),
        ("!!python/object/apply:os.getcwd []\n", "bad.yaml is not valid YAML at line 1"),
        ("a: " + "[" * 5000, "bad.yaml nests brackets more than 64 deep"),
        ("{", "bad.yaml is not valid YAML at line"),
        ("\x00", "bad.yaml is not valid YAML"),
        ("", "maps ops to measurements: received NoneType"),
        ("<<: {count: 2, mean: 1, var: 1}\n", "bad.yaml, line 1"),
        (2 * _block(0), "line 3 repeats the key of line 1"),
    ],
)
def test_yaml_that_is_no_table_is_refused_and_runs_nothing(text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        parse_published_yaml(text, "bad.yaml")
