"""Payloads that would leave a trace, and the small inputs that carry them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tiny_spaces import TO_SEARCH

from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE: Final = TO_SEARCH
TRACE: Final = "executed"


class Calls:
    """Unpickling an instance calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def payloads(trace: Path) -> dict[str, Calls]:
    """Ways to leave the file `trace` while something is unpickled."""
    return {
        "os.system": Calls(os.system, f"touch '{trace}'"),
        "open": Calls(open, str(trace), "w"),
        "eval": Calls(eval, f"open({str(trace)!r}, 'w')"),
        "exec": Calls(exec, f"open({str(trace)!r}, 'w').close()"),
        "path": Calls(Path.touch, trace),
    }


def fires(trace: Path) -> bool:
    """Whether every payload is live: unpickled plainly, each leaves its trace."""
    for payload in payloads(trace).values():
        subprocess.run(
            [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"],
            input=pickle.dumps(payload),
            check=True,
        )
        if not trace.exists():
            return False
        trace.unlink()
    return True


def write_space_and_table(folder: Path) -> tuple[Path, Path]:
    """A tiny space and a complete table for it; the table's figures are made up."""
    space = SearchSpace.from_yaml(SPACE)
    space_path, table_path = folder / "tiny.yaml", folder / "tiny.csv"
    space_path.write_text(SPACE, encoding="utf-8")
    values = {op: 1.0 + 0.25 * index + 0.1 * op.kernel for index, op in enumerate(space.ops())}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    header = {"metric": "latency", "unit": "ms", "device": "made up", "num_classes": "10"}
    LatencyTable(entries, header).save(table_path)
    return space_path, table_path
