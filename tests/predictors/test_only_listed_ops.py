"""Profiling the ops of a list, and no mixing of measured with transferred rows."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from device_tables import HEADER, published_ops, table_of

from proxyless_hw.errors import TableError
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.profilers.profile import ProfileConfig, needed_ops, profile
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable


class Described:
    """A profiler that says what it is and must not be asked to measure."""

    def describe(self) -> Mapping[str, str]:
        return HEADER

    def open(self, workloads: object) -> object:
        raise AssertionError("nothing may be measured here")


def test_only_the_listed_ops_are_needed(tmp_path: Path) -> None:
    chosen = choose_probes(table_of(published_ops()), 5)
    listed = tmp_path / "probes.txt"
    listed.write_text("# probes\n" + "".join(f"{op.key}\n" for op in chosen))
    config = ProfileConfig(output=tmp_path / "out.csv", only=listed)
    assert list(needed_ops(SearchSpace.load("imagenet"), config)) == chosen


def test_a_transferred_table_is_not_filled_with_measurements(tmp_path: Path) -> None:
    source = table_of(published_ops(), name="known")
    chosen = {op: source.entries[op] for op in choose_probes(source, 5)}
    predicted = transfer([source], LatencyTable(chosen, HEADER, "probes")).table
    predicted.save(tmp_path / "new.csv")
    config = ProfileConfig(
        output=tmp_path / "out.csv", resolutions=(160,), missing_from=str(tmp_path / "new.csv")
    )
    with pytest.raises(TableError, match="measured rows cannot be mixed with predicted ones"):
        profile(config, profiler=Described())  # type: ignore[arg-type]
