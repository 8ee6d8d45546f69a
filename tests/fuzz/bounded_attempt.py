"""One attempt at a huge file under limits on memory and processor time; prints what it took.

python bounded_attempt.py FORM SHAPE FOLDER MEGABYTES SECONDS
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fuzz_samples import space, table
from fuzz_targets import TARGETS

from proxyless_hw.errors import ProxylessHwError
from proxyless_hw.tables.csv_format import format_csv

LINE: Final = 100 * 2**20
ROWS: Final = 1_000_000
DEPTH: Final = 100_000


def pieces(form: str, shape: str) -> Iterator[str]:
    """The text of a huge file, in pieces."""
    if shape == "line":
        yield "# " if form == "table" else ""
        for _ in range(LINE // 2**20):
            yield "x" * 2**20
    elif shape == "rows":
        yield from _rows(form)
    elif shape == "fitting rows":
        yield from _fitting_rows(form)
    else:
        opening = {"brackets": "[", "braces": '{"a":', "dashes": "- ", "questions": "? "}[shape]
        yield opening * DEPTH


def _rows(form: str) -> Iterator[str]:
    if form == "table":
        header, _, rows = format_csv(table()).partition("op,in_h")
        names, _, rows = rows.partition("\n")
        yield f"{header}op,in_h{names}\n"
        cells = rows.splitlines()[0].split(",")
        for index in range(ROWS):
            sizes = [str(1 + index % 1000), str(1 + index // 1000)]
            yield ",".join([cells[0], *sizes, *cells[3:]]) + "\n"
    elif form == "benchmark_model":
        yield from ("INFO: Inference timings in us: " * 60 + "\n" for _ in range(ROWS // 60))
    else:
        yield from (f"a{index}: [1, x, {{y: 2}}]\n" for index in range(ROWS))


def _fitting_rows(form: str) -> Iterator[str]:
    """As many rows as the limit of 16 MiB lets in."""
    word = {"timm_strings": "ds_r1_k3_s1_c16\n", "plain_csv": "x,", "net_config": "1,"}.get(form)
    if form in ("net_config", "architecture"):
        yield '{"name": "ProxylessNASNets", "blocks": ['
    word = word or ("{}," if form == "architecture" else "a,\n" if form == "bundle" else "- 1\n")
    for _ in range(16 * 2**20 // (len(word) * 1000) - 1):
        yield word * 1000


def main() -> None:
    """Makes the file, sets the limits, reads the file, prints peak memory and processor time."""
    form, shape, folder, megabytes, seconds = sys.argv[1:]
    target, name = TARGETS[form]
    path = Path(folder) / name
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(pieces(form, shape))
    size = path.stat().st_size
    _ = space()
    resource.setrlimit(resource.RLIMIT_AS, (int(megabytes) * 2**20,) * 2)
    before = resource.getrusage(resource.RUSAGE_SELF)
    spent = before.ru_utime + before.ru_stime
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + int(seconds),) * 2)
    try:
        target(path)
        outcome = "read"
    except ProxylessHwError as error:
        outcome = f"refused: {str(error)[:200]}"
    after = resource.getrusage(resource.RUSAGE_SELF)
    took = after.ru_utime + after.ru_stime - spent
    report = {"size": size, "outcome": outcome, "seconds": took, "peak_mb": after.ru_maxrss / 1024}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
