"""Which estimate of an op's cost holds between quiet and busy runs? Compared on kept journals.

    python benchmarks/any_machine.py --row two_tables
    python benchmarks/estimators.py runs/any-machine/*.csv.journal.jsonl

Every journal is one process that measured the same ops. For each estimator and pair of journals:
how far all ops moved together (taken out by the anchors of a table), and how far each moved beyond
that. `raw`: median of visits. `low`: their lower fifth. `ratio`: median of the ratios to the
references beside each visit. `clean`: the same over visits at undisturbed speed, which is what a
table holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from proxyless_hw.profilers.protocol.drift import Samples, collect
from proxyless_hw.profilers.protocol.journal import Journal
from proxyless_hw.profilers.protocol.statistics import fit_sessions

NEIGHBOURS = 3


def raw(item: Samples, part: int) -> np.ndarray:
    return np.log(item.raw[item.parts == part])


def low(item: Samples, part: int) -> np.ndarray:
    values = np.log(item.raw[item.parts == part])
    return np.sort(values)[: max(1, round(0.4 * len(values)))]  # its median is the lower fifth


def ratio(item: Samples, part: int) -> np.ndarray:
    return np.log(item.corrected[item.parts == part])


def clean(item: Samples, part: int) -> np.ndarray:
    return np.log(item.corrected[(item.parts == part) & item.clean])


ESTIMATORS: dict[str, Callable[[Samples, int], np.ndarray]] = {
    "raw": raw,
    "low": low,
    "ratio": ratio,
    "clean": clean,
}


def read(path: Path) -> tuple[list[str], list[Samples]]:
    """The ops of a journal and their visits."""
    header = json.loads(path.read_text().splitlines()[0])["record"]
    header.pop("schema")
    names = [name for name in header["workloads"] if name != "identity"]
    with Journal(path, header, resume=True) as journal:
        found = collect(journal.rounds, names, NEIGHBOURS)
    return names, found


def estimate(samples: Sequence[Samples], how: Callable[[Samples, int], np.ndarray]) -> np.ndarray:
    """Log cost of every op, fitted over sessions."""
    return fit_sessions(
        [{int(part): how(item, int(part)) for part in set(item.parts)} for item in samples]
    ).estimates


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("journals", nargs="+", type=Path)
    parser.add_argument("--json", action="store_true", help="print one object as the last line")
    arguments = parser.parse_args()
    read_all = {path.name.partition(".")[0]: read(path) for path in arguments.journals}
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name, how in ESTIMATORS.items():
        logs = {key: estimate(samples, how) for key, (_, samples) in read_all.items()}
        result[name] = {}
        for one, two in itertools.combinations(logs, 2):
            change = logs[two] - logs[one]
            shift = float(np.median(change))
            own = np.abs(change - shift)
            result[name][f"{one} to {two}"] = {
                "together": round(shift, 4),
                "median": round(float(np.median(own)), 4),
                "p95": round(float(np.quantile(own, 0.95)), 4),
            }
    for name, pairs in result.items():
        for pair, row in pairs.items():
            print(
                f"{name:6} {pair:28} together {row['together']:+.2%}, beyond that median "
                f"{row['median']:.2%}, 95% within {row['p95']:.2%}"
            )
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
