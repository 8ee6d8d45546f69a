"""A two-slot space and a made-up table for it: small enough to enumerate."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_yaml import TINY_YAML, write_files

from proxyless_hw.space.search_space import SearchSpace


@pytest.fixture
def tiny_space() -> SearchSpace:
    return SearchSpace.from_yaml(TINY_YAML)


@pytest.fixture
def tiny_files(tmp_path: Path) -> tuple[Path, Path]:
    """Paths of the space and of a table whose figures are made up, not measured."""
    return write_files(tmp_path)
