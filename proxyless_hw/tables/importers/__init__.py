"""Tables of other tools: the published YAML forms and plain CSV, read into `LatencyTable`."""

from proxyless_hw.tables.importers.detect import import_file

__all__ = ["import_file"]
