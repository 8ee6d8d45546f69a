"""A two-slot space and a made-up table for it: small enough to enumerate."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_yaml import TINY_YAML

from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable


@pytest.fixture
def tiny_space() -> SearchSpace:
    return SearchSpace.from_yaml(TINY_YAML)


@pytest.fixture
def tiny_files(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of the space and of a table whose figures are made up, not measured."""
    space_path = tmp_path / "tiny.yaml"
    space_path.write_text(TINY_YAML)
    space = SearchSpace.from_yaml(TINY_YAML)
    values = {op: 1.0 + 0.25 * index + 0.1 * op.kernel for index, op in enumerate(space.ops())}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    metadata = {
        "metric": "latency",
        "unit": "ms",
        "device": "made up",
        "device_kind": "cpu",
        "runtime": "onnxruntime",
        "threads": "1",
        "batch_size": "1",
        "precision": "fp32",
        "statistic": "median",
        "num_classes": "10",
    }
    table_path = tmp_path / "tiny.csv"
    LatencyTable(entries, metadata).save(table_path)
    return space_path, table_path
