"""Makes the table that `benchmarks/predictors.py` holds widths and resolutions out of.

Every op of the published space at several widths and resolutions, measured on this machine's CPU in
one session: interleaved rounds see the same machine, so that rows of two widths differ by what they
are and not by when they were measured. Numbers are kept to 5 digits, for the file's size.

    python benchmarks/cpu_widths.py [--budget 600] [--output CSV]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path

from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import Entry, LatencyTable

WIDTHS = ("0.5", "0.75", "1.0", "1.25", "1.4")
RESOLUTIONS = (128, 160, 192, 224)
OUTPUT = Path(__file__).parent / "data" / "cpu_widths.csv"


def all_ops() -> list[OpSpec]:
    """Distinct ops of all widths at all resolutions."""
    spaces = [SearchSpace.load(f"imagenet-w{width}") for width in WIDTHS]
    ops = (op for space in spaces for resolution in RESOLUTIONS for op in space.ops(resolution))
    return list(dict.fromkeys(ops))


def measured(ops: list[OpSpec], budget_s: float) -> LatencyTable:
    """One session over all ops."""
    with tempfile.TemporaryDirectory() as folder:
        listed, output = Path(folder) / "ops.txt", Path(folder) / "table.csv"
        listed.write_text("".join(f"{op.key}\n" for op in ops), encoding="utf-8")
        subprocess.run(
            [
                *(sys.executable, "-m", "proxyless_hw", "profile", "--device", "cpu"),
                *("--only", str(listed), "--budget", f"{budget_s:g}", "--output", str(output)),
            ],
            check=True,
        )
        return LatencyTable.load(output)


def short(entry: Entry) -> Entry:
    """The row with its numbers to 5 digits; p90 and min, which no predictor reads, left out."""
    rounded = {
        field.name: float(f"{getattr(entry, field.name):.5g}")
        for field in fields(Entry)
        if isinstance(getattr(entry, field.name), float)
    }
    return replace(entry, **{**rounded, "p90": None, "min": None})


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=600, help="seconds")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    table = measured(all_ops(), arguments.budget)
    entries = {op: short(entry) for op, entry in table.entries.items()}
    left_out = {"unconverged_ops", "resolutions"}
    metadata = {key: text for key, text in table.metadata.items() if key not in left_out}
    metadata["space"] = " ".join(f"imagenet-w{width}" for width in WIDTHS)
    metadata["resolutions"] = " ".join(map(str, RESOLUTIONS))
    LatencyTable(entries, metadata).save(arguments.output)
    print(f"{arguments.output}: {len(table)} rows")


if __name__ == "__main__":
    main()
