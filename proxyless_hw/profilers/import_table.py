"""Reading a latency table of another form: what ``table import`` calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from proxyless_hw.errors import TableError
from proxyless_hw.profilers.android.bundle_logs import read_bundle
from proxyless_hw.tables.csv_format import COLUMNS
from proxyless_hw.tables.importers import import_file
from proxyless_hw.tables.importers.detect import HEADER_KEYS
from proxyless_hw.tables.importers.rows import ColumnMap
from proxyless_hw.tables.table import LatencyTable


def import_table(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    values: Mapping[str, str] | None = None,
    unit: str | None = None,
) -> LatencyTable:
    """Reads a latency table of another form; the form is detected: ``proxyless-hw table import``.

    Args:
        source: a look-up table that the ProxylessNAS or Once-for-All authors published (YAML or
            JSON), a CSV or a list of records (JSON or YAML) with one row per measurement of an op,
            NNI's lines of dicts, a table of this package, or the folder of a bundle with its logs.
        columns: of a CSV or of records: our name of a column to the file's.
        values: header lines (``device``, ``runtime``, ...), or one value for a column that the
            file lacks (``op``).
        unit: of a CSV or of records: ns, us, ms, s; uJ, mJ, J; kB, MB. ms when None.

    Raises:
        TableError: the form is unknown, or the file breaks a rule (file, line and value are named).

    Example:
        >>> import tempfile, pathlib
        >>> import proxyless_hw as ph
        >>> text = "op,in_h,in_w,in_c,out_h,out_w,out_c,kernel,us\\nconv,8,8,3,8,8,4,1,25\\n"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "theirs.csv")
        ...     _ = path.write_text(text)
        ...     table = ph.import_table(
        ...         path, columns={"value": "us"}, values={"device": "board"}, unit="us"
        ...     )
        >>> [entry.value for entry in table.entries.values()], table.unit
        ([0.025], 'ms')
    """
    path, stated, mapped = Path(source), dict(values or {}), dict(columns or {})
    constants = {key: value for key, value in stated.items() if key in COLUMNS}
    header = {key: value for key, value in stated.items() if key not in COLUMNS}
    if path.is_dir():
        if mapped or constants or unit:
            raise TableError("a bundle's logs need no --map, --unit or column to --set.")
        for key in header:
            if key not in HEADER_KEYS:
                raise TableError(f"no header line '{key[:60]}' can be set.")
        return read_bundle(path).with_metadata(**header)
    chosen = None
    if mapped or constants or unit:
        chosen = ColumnMap(columns=mapped, constants=constants, unit=unit or "ms")
    return import_file(path, chosen, header)
