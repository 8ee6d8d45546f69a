"""The tiny space of these tests: three slots, small enough to enumerate."""

from __future__ import annotations

from pathlib import Path

from tiny_spaces import MADE_UP_HEADER, TO_SEARCH

from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

TINY_YAML = TO_SEARCH

# A space with many networks near any cost, so that every window has several.
MANY_YAML = """
schema: proxyless-hw-space/1
id: many
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, stride: 2, width: 8, act: relu6}
candidates:
  - {op: mbconv, kernel: 3, expand: 2, act: relu6}
  - {op: mbconv, kernel: 5, expand: 3, act: relu6}
zero: true
stages:
  - {width: 8, depth: 3, stride: 1}
  - {width: 16, depth: 3, stride: 2}
head:
  - {op: classifier}
"""


def write_files(folder: Path) -> tuple[Path, Path]:
    """Writes the space and a table whose figures are made up, not measured; their paths."""
    space_path = folder / "tiny.yaml"
    space_path.write_text(TINY_YAML)
    space = SearchSpace.from_yaml(TINY_YAML)
    values = {op: 1.0 + 0.25 * index + 0.1 * op.kernel for index, op in enumerate(space.ops())}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    table_path = folder / "tiny.csv"
    LatencyTable(entries, MADE_UP_HEADER).save(table_path)
    return space_path, table_path
