"""Makes the table that `benchmarks/predictors.py` holds widths and resolutions out of.

Profiles the published space at several widths and resolutions on this machine's CPU, one session
per width, and merges the sessions into one table (the rows of a session keep its drift correction;
ops that two widths share are kept as the first session measured them). A width that was
measured before is not measured again.

    python benchmarks/cpu_widths.py [--budget 90] [--folder tables] [--output CSV]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from proxyless_hw.tables.table import Entry, LatencyTable

WIDTHS = ("0.5", "0.75", "1.0", "1.25", "1.4")
RESOLUTIONS = (128, 160, 192, 224)
OUTPUT = Path(__file__).parent / "data" / "cpu_widths.csv"


def profile(width: str, budget_s: float, path: Path) -> None:
    """Measures one width at all resolutions, unless it is there."""
    if path.exists():
        return
    sizes = [word for resolution in RESOLUTIONS for word in ("--resolution", str(resolution))]
    subprocess.run(
        [
            *(sys.executable, "-m", "proxyless_hw", "profile", "--device", "cpu", "--quiet"),
            *("--space", f"imagenet-w{width}", *sizes),
            *("--budget", f"{budget_s:g}", "--output", str(path)),
        ],
        check=True,
    )


def joined(tables: list[LatencyTable]) -> LatencyTable:
    """One table of all rows, its numbers to 6 digits to keep the file small."""
    entries: dict[object, Entry] = {}
    for table in tables:
        for op, entry in table.entries.items():
            entries.setdefault(op, _short(entry))
    metadata = {**tables[0].setting, "unit": tables[0].unit, "device_kind": "cpu"}
    for key in ("statistic", "runtime_version", "cache", "protocol", "source", "num_classes"):
        if key in tables[0].metadata:
            metadata[key] = tables[0].metadata[key]
    for key in ("space", "created", "load", "quality_median_half_width"):
        metadata[key] = "; ".join(table.metadata.get(key, "?") for table in tables)
    return LatencyTable(entries, metadata, "cpu widths")


def _short(entry: Entry) -> Entry:
    rounded = {
        name: None if number is None else float(f"{number:.6g}")
        for name, number in (
            ("value", entry.value),
            ("ci_low", entry.ci_low),
            ("ci_high", entry.ci_high),
            ("p90", entry.p90),
            ("min", entry.min),
        )
    }
    return replace(entry, **rounded)


def main() -> None:
    """Profiles what is not there, merges, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=90, help="seconds for each width")
    parser.add_argument("--folder", type=Path, default=Path("tables"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    paths = [arguments.folder / f"cpu-w{width}.csv" for width in WIDTHS]
    for width, path in zip(WIDTHS, paths, strict=True):
        print(f"width {width}", flush=True)
        profile(width, arguments.budget, path)
    table = joined([LatencyTable.load(path) for path in paths])
    table.save(arguments.output)
    print(f"{arguments.output}: {len(table)} rows")


if __name__ == "__main__":
    main()
