"""The files of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from proxyless_hw.errors import ProxylessHwError, SearchError
from proxyless_hw.runs.folder import FileOfRun, RunFolder
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.storage.documents import JsonObject


@dataclass(frozen=True, slots=True)
class SearchFolder(RunFolder):
    """Paths and small files of one search; `architecture` is the derived network."""

    error: ClassVar[type[ProxylessHwError]] = SearchError
    command: ClassVar[str] = "search"
    free: ClassVar[frozenset[str]] = SearchConfig.free()

    network = FileOfRun("network.pt")
    """Weights of the derived network, from the supernet, BatchNorm recalibrated."""

    def weights(self) -> JsonObject:
        """Facts of the weights file that the search started from; empty without one.

        Raises:
            SearchError: the settings file is malformed.
        """
        found = self.read_json(self.config).get("weights", {}) if self.config.exists() else {}
        if not isinstance(found, dict):
            raise self.error(f"'weights' in {self.config} must be a mapping.")
        return found
