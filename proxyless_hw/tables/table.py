"""The latency table: exact look-up of measured ops. Immutable, with a versioned CSV form."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from proxyless_hw.errors import MissingEntryError, TableError, did_you_mean
from proxyless_hw.formats.load import given_architecture
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.storage.files import write_text_atomically
from proxyless_hw.tables.entry import ESTIMATED, PEAKS
from proxyless_hw.tables.entry import LEVEL_KEY as LEVEL_KEY
from proxyless_hw.tables.entry import OPTION_KEYS as OPTION_KEYS
from proxyless_hw.tables.entry import SETTING_KEYS as SETTING_KEYS
from proxyless_hw.tables.entry import Entry as Entry
from proxyless_hw.tables.missing import missing_message

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from proxyless_hw.tables.diff import TableDiff
    from proxyless_hw.tables.merge import Preference

HTML_ROWS = 10
"""Rows that a notebook shows."""


@dataclass(frozen=True)
class LatencyTable:
    """Measured cost of ops on one device under one setting.

    Attributes:
        entries: op to measurement, in file order.
        metadata: header lines, key to text (`device`, `runtime`, `threads`, `metric`, ...).
        name: where it came from, for messages: a shipped name or a path.

    Example:
        >>> import proxyless_hw as ph
        >>> space, table = ph.SearchSpace.load("imagenet"), ph.LatencyTable.load("pixel1")
        >>> round(table.latency_ms(ph.Architecture.from_choices(space, [0] * len(space.slots))))
        76
    """

    entries: Mapping[OpSpec, Entry]
    metadata: Mapping[str, str]
    name: str = "table"

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    @classmethod
    def load(cls, name_or_path: str | Path) -> LatencyTable:
        """Loads a CSV by path, or a shipped table by name (``pixel1``, ``tables/pixel1.csv``).

        Raises:
            TableError: nothing of that name, or the file breaks a rule (file, line, field named).
        """
        from proxyless_hw.tables.csv_format import read_csv

        path = Path(name_or_path)
        if path.exists():
            return read_csv(path)
        text = str(name_or_path)
        stem = text.removeprefix("tables/").removesuffix(".csv") if text.endswith(".csv") else text
        shipped = shipped_tables()
        if text in (stem, f"tables/{stem}.csv") and stem in shipped:
            return read_csv(shipped[stem], name=stem)
        raise TableError(
            f"no table '{text}'.{did_you_mean(stem, shipped)} Shipped: "
            f"{', '.join(sorted(shipped))}. Make one: proxyless-hw profile --output {text}"
        )

    def save(self, path: str | Path) -> None:
        """Writes the CSV form atomically.

        Raises:
            TableError: the place cannot be written.
        """
        from proxyless_hw.tables.csv_format import format_csv

        write_text_atomically(Path(path), format_csv(self), TableError)

    @classmethod
    def from_pandas(
        cls, frame: DataFrame, metadata: Mapping[str, str] | None = None, name: str = "frame"
    ) -> LatencyTable:
        """Makes a table of a frame that has the columns of `to_pandas`.

        Args:
            frame: one row an op. Columns that describe an op and ``value`` are required; the
                others are unknown (empty) where they are absent.
            metadata: header lines; those that `to_pandas` kept with the frame when None.
            name: of the table, for messages.

        Raises:
            TableError: a column is missing or unknown, a value breaks a rule (line and column
                are named), or there is no metadata.

        Example:
            >>> import proxyless_hw as ph
            >>> table = ph.LatencyTable.load("pixel1")
            >>> ph.LatencyTable.from_pandas(table.to_pandas()).entries == table.entries
            True
        """
        from proxyless_hw.tables.csv_format import SCHEMA, parse_csv
        from proxyless_hw.tables.frame import csv_text

        text = csv_text(frame, metadata, SCHEMA)
        return parse_csv(io.StringIO(text), source=name, name=name)

    def to_pandas(self) -> DataFrame:
        """The rows as a pandas frame, one an op, in file order.

        Columns are those of the CSV form, values in `unit`. ``frame.attrs["metadata"]`` holds the
        header.

        Example:
            >>> import proxyless_hw as ph
            >>> frame = ph.LatencyTable.load("pixel1").to_pandas()
            >>> sorted(frame.groupby("op")["value"].median().index)
            ['classifier', 'conv', 'mbconv']
        """
        from proxyless_hw.tables.frame import frame_of

        return frame_of(self.entries, self.metadata)

    def diff(self, other: LatencyTable, *, at_table_speed: bool = False) -> TableDiff:
        """Compares another table with this one (see `tables.diff.compare`).

        Tables of different settings are compared too; `TableDiff.settings` lists what differs.

        Args:
            other: the later table, or that of the other setting.
            at_table_speed: brings it to this table's speed of the machine, by anchors.

        Raises:
            TableError: the metrics differ, or no op (at table speed, no anchor) is shared.

        Example:
            >>> import proxyless_hw as ph
            >>> table = ph.LatencyTable.load("pixel1")
            >>> bool(table.diff(table).to_pandas()["significant"].any())
            False
        """
        from proxyless_hw.tables.diff import compare

        return compare(self, other, force=True, at_table_speed=at_table_speed)

    def merge(
        self, *others: LatencyTable, prefer: Preference | None = None, name: str = "merged"
    ) -> LatencyTable:
        """Joins the rows of tables of one setting (see `tables.merge.merge`).

        Raises:
            TableError: a setting differs, or two tables hold one op with different numbers and
                nothing is preferred (``first``, ``mean``).
        """
        from proxyless_hw.tables.merge import merge

        return merge([self, *others], name, prefer)

    def plot(self) -> Figure:
        """Draws the table as a matplotlib figure, which a notebook shows.

        ``figure.savefig("table.png")`` keeps it.

        Raises:
            TableError: the table has too many shapes to draw.
        """
        from proxyless_hw.tables.plot import table_figure

        return table_figure(self)

    def __repr__(self) -> str:
        """Short form: ``LatencyTable('pixel1', 301 ops, latency in ms, Pixel 1)``."""
        said = f", {self.metadata['device']}" if self.metadata.get("device") else ""
        return f"LatencyTable({self.name!r}, {len(self)} ops, {self.metric} in {self.unit}{said})"

    def _repr_html_(self) -> str:
        """For notebooks: the setting, and the first rows."""
        setting = ", ".join(f"{key} {value}" for key, value in self.setting.items() if value)
        rows = self.to_pandas().head(HTML_ROWS).to_html(notebook=True, border=0)
        return f"<p><b>{escape(repr(self))}</b><br>{escape(setting)}</p>{rows}"

    def __iter__(self) -> Iterator[OpSpec]:
        """The ops, in file order."""
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, op: OpSpec) -> bool:
        return op in self.entries

    @property
    def metric(self) -> str:
        """What was measured: ``latency``, ``energy``, ``memory``, ``flash`` or ``sram``."""
        return self.metadata["metric"]

    @property
    def unit(self) -> str:
        """Unit of every value: ``ms``, ``mJ`` or ``MB``."""
        return self.metadata["unit"]

    @property
    def is_estimate(self) -> bool:
        """Whether a compiler worked the values out: they are the same however often it is asked."""
        return self.metadata.get("statistic") == ESTIMATED

    @property
    def num_classes(self) -> int | None:
        """Deployment classes: the header's, else the classifier rows' when they agree."""
        if "num_classes" in self.metadata:
            return int(self.metadata["num_classes"])
        classes = {op.out_c for op in self.entries if op.op == "classifier"}
        return classes.pop() if len(classes) == 1 else None

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Input resolutions it can price: the heights at which a layer takes an image."""
        channels = int(self.metadata.get("input_channels", "3"))
        return tuple(sorted({op.in_h for op in self.entries if op.in_c == channels}))

    @property
    def level_half_width(self) -> float:
        """How far all values together may be off, a fraction (95%); 0 where the header is silent.

        Raises:
            TableError: the header holds no number between 0 and 1 there.
        """
        text = self.metadata.get(LEVEL_KEY, "0")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < 1:
            raise TableError(
                f"header {LEVEL_KEY} of '{self.name}' is a fraction: received {text[:40]!r}."
            )
        return value

    @property
    def setting(self) -> dict[str, str]:
        """The part of the header that must agree before two tables are merged."""
        return {key: self.metadata.get(key, "") for key in SETTING_KEYS}

    def missing(self, ops: Iterable[OpSpec]) -> list[OpSpec]:
        """The distinct ops that the table lacks, in order."""
        return [op for op in dict.fromkeys(ops) if op not in self.entries]

    def entry(self, op: OpSpec) -> Entry:
        """The measurement of one op.

        Raises:
            MissingEntryError: the table does not hold it; nothing is ever substituted.
        """
        self.require([op])
        return self.entries[op]

    def require(self, ops: Iterable[OpSpec]) -> None:
        """Checks that every op is there.

        Raises:
            MissingEntryError: names every missing op and how to measure them.
        """
        missing = self.missing(ops)
        if missing:
            raise MissingEntryError(missing_message(missing, self.name), missing)

    def total(self, ops: Iterable[OpSpec]) -> float:
        """Sum over ops, in the table's unit.

        Raises:
            MissingEntryError: names every missing op.
        """
        listed = list(ops)
        self.require(listed)
        return float(sum(self.entries[op].value for op in listed))

    def latency_ms(self, arch: Architecture | str | Path) -> float:
        """Exact sum over the ops of a network, or of what names one, at its deployment shape.

        Raises:
            MissingEntryError: names every missing op.
            TableError: the table's metric is not latency.
        """
        self.require_metric("latency")
        return self.total(given_architecture(arch).ops())

    def require_metric(self, metric: str) -> None:
        """Checks what the table measures.

        Raises:
            TableError: it measures something else.
        """
        if self.metric != metric:
            raise TableError(
                f"'{self.name}' measures {self.metric} ({self.unit}), not {metric}. "
                f"Profile one: proxyless-hw profile --metric {metric}"
            )

    def require_additive(self) -> None:
        """Checks that what a network costs is the sum of what its ops cost.

        Raises:
            TableError: it measures memory or sram, of which each op has its own peak.
        """
        if self.metric in PEAKS:
            raise TableError(
                f"'{self.name}' measures {self.metric} ({self.unit}): each value is the peak of "
                "one op, and the peak of a network is not the sum of its ops' peaks. Measure whole "
                f"networks: proxyless-hw benchmark ARCH --metric {self.metric}"
            )

    def with_metadata(self, **changes: object) -> LatencyTable:
        """A copy with header keys set (None removes one)."""
        merged = {**self.metadata, **changes}
        kept = {key: str(value) for key, value in merged.items() if value is not None}
        return LatencyTable(self.entries, kept, self.name)


def shipped_tables() -> dict[str, Path]:
    """The tables that come with the package: name to path."""
    folder = resources.files("proxyless_hw") / "tables"
    return {
        item.name.removesuffix(".csv"): Path(str(item))
        for item in folder.iterdir()
        if item.name.endswith(".csv")
    }
