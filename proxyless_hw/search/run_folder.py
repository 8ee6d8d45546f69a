"""The files of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.runs.folder import FileOfRun, RunFolder
from proxyless_hw.search.config import SearchConfig


@dataclass(frozen=True, slots=True)
class SearchFolder(RunFolder):
    """Paths and small files of one search; `architecture` is the derived network."""

    error: ClassVar[type[ProxylessHwError]] = SearchError
    command: ClassVar[str] = "search"
    free: ClassVar[frozenset[str]] = SearchConfig.free()

    network = FileOfRun("network.pt")
    """Weights of the derived network, from the supernet, BatchNorm recalibrated."""
