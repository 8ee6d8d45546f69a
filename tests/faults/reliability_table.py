"""Writes the tables of docs/reliability.md from what the slow suites and the version matrix kept.

PROXYLESS_HW_RECORD=benchmarks/results/reliability make test-slow
make test-matrix
python tests/faults/reliability_table.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "docs" / "reliability.md"
RESULTS: Final = ROOT / "benchmarks" / "results"
WHAT: Final = {
    "fuzz_": "hypothesis: mutated {}",
    "atheris_": "atheris, guided by coverage: {}",
    "killed-": "killed with SIGKILL at a random moment: {}",
}
"""What a suite does, by how its name begins; others are named as they are."""


def rows(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder, by suite."""
    paths = sorted(folder.glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def described(suite: str) -> str:
    """A suite's name as the page has it."""
    for start, text in WHAT.items():
        if suite.startswith(start):
            return text.format(suite.removeprefix(start).strip("_").replace("_", " "))
    return suite.replace("_", " ")


def suite_table(records: list[dict[str, Any]]) -> str:
    """Cases tried and failed, a line per suite and one for all."""
    lines = ["| suite | cases | failed | minutes | seed |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {described(row['suite'])} | {row['cases']:,} | {row['failed']} "
        f"| {row['seconds'] / 60:.1f} | {row['seed']} |"
        for row in records
    ]
    cases, failed = (sum(row[key] for row in records) for key in ("cases", "failed"))
    minutes = sum(row["seconds"] for row in records) / 60
    return "\n".join([*lines, f"| **all** | **{cases:,}** | **{failed}** | {minutes:.1f} | |"])


def matrix_table(matrix: dict[str, Any]) -> str:
    """Releases and outcome of every column of the version matrix."""
    names = ["python", "torch", "torchvision", "onnxruntime", "numpy", "onnx", "litert-torch"]
    lines = [f"| | {' | '.join(matrix)} |", "|---|" + "---|" * len(matrix)]
    for name in names:
        cells = (column["versions"][name] for column in matrix.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name in ("passed", "failed"):
        cells = (str(column[name]) for column in matrix.values())
        lines.append(f"| **{name}** | {' | '.join(cells)} |")
    return "\n".join(lines)


def placed(text: str, name: str, table: str) -> str:
    """The page with a table put between its two marks."""
    begin, end = f"<!-- {name}: written by reliability_table.py -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE} lacks the marks of '{name}'.")
    return f"{before}{begin}\n{table}\n{end}{after}"


def page() -> str:
    """The page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    text = placed(text, "suites", suite_table(rows(RESULTS / "reliability")))
    path = RESULTS / "version_matrix.json"
    if path.is_file():
        text = placed(text, "versions", matrix_table(json.loads(path.read_text(encoding="utf-8"))))
    return text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
