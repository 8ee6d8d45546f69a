"""What a slow suite tried and what failed, as a file that docs/reliability.md is written from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "PROXYLESS_HW_RECORD"


def record(suite: str, cases: int, failed: int, seconds: float, seed: int) -> None:
    """Writes ``<suite>.json`` into the folder that PROXYLESS_HW_RECORD names; otherwise nothing."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    document = {
        "suite": suite,
        "cases": cases,
        "failed": failed,
        "seconds": round(seconds, 1),
        "seed": seed,
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    (Path(folder) / f"{suite}.json").write_text(text, encoding="utf-8")


@dataclass
class Count:
    """Cases of one suite as they are tried; `failed` has a line for each that went wrong."""

    cases: int = 0
    failed: list[str] = field(default_factory=list)

    def check(self, holds: bool, what: str) -> None:
        """Counts one case; when it does not hold, `what` says which and how."""
        self.cases += 1
        if not holds:
            self.failed.append(what)


@contextmanager
def counted(suite: str, seed: int) -> Iterator[Count]:
    """Counts the cases of a suite, records them, and fails with every failure listed."""
    count = Count()
    start = time.monotonic()
    yield count
    record(suite, count.cases, len(count.failed), time.monotonic() - start, seed)
    assert not count.failed, f"{len(count.failed)} of {count.cases}: " + "; ".join(
        count.failed[:20]
    )
