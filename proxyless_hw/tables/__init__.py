"""Latency tables: what each op was measured to cost on one device under one setting."""

from proxyless_hw.tables.table import Entry, LatencyTable

__all__ = ["Entry", "LatencyTable"]
