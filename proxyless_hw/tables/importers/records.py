"""Measurements as records: a list of objects in JSON or YAML, or NNI's lines of dicts.

NNI's FBNet example reads one Python dict per line, values in microseconds:

    {'op_name': 'ir_k3_e6', 'op_data_shape': (56, 56, 24, 24, 1), 'op_dtype': 'float',
     'op_latency': 912.4}

with the shape as input width and height, input and output channels, and stride.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from proxyless_hw.errors import TableError
from proxyless_hw.space.limits import MAX_CHANNELS, MAX_RESOLUTION, MAX_STRIDE
from proxyless_hw.storage.fields import Fields
from proxyless_hw.tables.importers.rows import ColumnMap, Row, table_of_rows
from proxyless_hw.tables.table import LatencyTable

MAX_RECORDS: Final = 1_000_000
_NNI_NAME: Final = re.compile(r"(?:ir|mb)_k(?P<kernel>\d{1,2})(?:_e(?P<expand>\d{1,2}))?(?:_res)?")
_NNI_SHAPE: Final = ("in_w", "in_h", "in_c", "out_c", "stride")
_NNI_KEYS: Final = ("op_name", "op_data_shape", "op_dtype", "op_latency")
_NNI_COLUMNS: Final = ("op", "in_h", "in_w", "in_c", "out_c", "kernel", "stride", "expand", "skip")


def parse_records(
    items: Iterable[tuple[int, object]], mapping: ColumnMap, source: str, what: str = "record"
) -> LatencyTable:
    """Makes a table of numbered objects, whose fields are columns.

    Raises:
        TableError: a rule is broken; file, record, field and value are named.
    """
    names: dict[str, None] = {}
    rows: list[Row] = []
    for number, item in items:
        if len(rows) == MAX_RECORDS:
            raise TableError(f"{source} has more than {MAX_RECORDS:,} records.")
        record = Fields(item, f"{source}, {what} {number}", TableError)
        names |= dict.fromkeys(record)
        cells = {key: _cell(record, key) for key in record}
        rows.append(Row(number, cells))
    return table_of_rows(list(names), rows, mapping, source, what)


def _cell(record: Fields, key: str) -> str:
    value = record.values[key]
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, (str, int, float)):
        record.fail(key, "must be a number or text")
    return value if isinstance(value, str) else repr(value)


def parse_nni(items: Iterable[tuple[int, object]], source: str) -> LatencyTable:
    """Makes a table of NNI's dicts, each with the number of its line.

    Raises:
        TableError: a rule is broken, or an op has no counterpart here; file, line and value are
            named.
    """
    names = (*_NNI_COLUMNS, "value")
    return table_of_rows(names, _nni_rows(items, source), ColumnMap(unit="us"), source)


def _nni_rows(items: Iterable[tuple[int, object]], source: str) -> Iterator[Row]:
    for line, item in items:
        where = f"{source}, line {line}"
        record = Fields(item, where, TableError)
        record.exactly(_NNI_KEYS)
        name = record.text("op_name")
        match = _NNI_NAME.fullmatch(name)
        if match is None:
            record.fail("op_name", "must be ir_kK_eE or mb_kK_eE: no other op of NNI is known here")
        shape = record.items("op_data_shape", 5, least=5)
        sizes = Fields(
            dict(zip(_NNI_SHAPE, shape, strict=True)), f"{where}: op_data_shape", TableError
        )
        channels = sizes.whole("in_c", 1, MAX_CHANNELS), sizes.whole("out_c", 1, MAX_CHANNELS)
        stride = sizes.whole("stride", 1, MAX_STRIDE)
        yield Row(
            line,
            {
                "op": "mbconv",
                "in_h": str(sizes.whole("in_h", 1, MAX_RESOLUTION)),
                "in_w": str(sizes.whole("in_w", 1, MAX_RESOLUTION)),
                "in_c": str(channels[0]),
                "out_c": str(channels[1]),
                "kernel": match["kernel"],
                "stride": str(stride),
                "expand": match["expand"] or "1",
                "skip": str(int(stride == 1 and channels[0] == channels[1])),
                "value": repr(record.number("op_latency", 0, above=True)),
            },
        )
