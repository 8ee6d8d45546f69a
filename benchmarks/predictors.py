"""How well each regression predicts ops that a table lacks.

Two tables, two questions:

- Pixel 1 (shipped): the mbconv rows, one whole shape (every column but kernel and expand) held out
  at a time.
- CPU (benchmarks/data/cpu_widths.csv): several widths and resolutions; every row of one width and
  every row of one resolution are held out together, for each pair that lies inside the table's
  range (the ends would be extrapolation, which predictions flag).

Whatever is fitted or chosen, is fitted or chosen on the rows that are left.

    python benchmarks/predictors.py [--json] [--table CSV] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from proxyless_hw.predictors.regression import CostModel, cross_validate, fit_regression
from proxyless_hw.predictors.residuals import LEARNERS
from proxyless_hw.predictors.scores import score
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

CPU_TABLE = Path(__file__).parent / "data" / "cpu_widths.csv"
WIDTHS = ("0.5", "0.75", "1.0", "1.25", "1.4")


def pixel1(learner: str, seed: int) -> dict[str, float]:
    """Leave-one-shape-out on the 69 mbconv rows of the published Pixel 1 table."""
    table = LatencyTable.load("pixel1")
    ops = [op for op in table.entries if op.op == "mbconv"]
    values = np.array([table.entries[op].value for op in ops])
    held_out = cross_validate(ops, values, learner, seed)
    return score(np.exp(held_out.log_cost), values, held_out.folds).to_dict()


def memberships(table: LatencyTable) -> tuple[dict[str, set[OpSpec]], dict[int, set[OpSpec]]]:
    """Which rows belong to each width that is there whole, and which to each resolution."""
    resolutions = table.resolutions
    of_width: dict[str, set[OpSpec]] = {}
    of_resolution: dict[int, set[OpSpec]] = {resolution: set() for resolution in resolutions}
    for width in WIDTHS:
        space = SearchSpace.load(f"imagenet-w{width}")
        needed = {op for resolution in resolutions for op in space.ops(resolution)}
        if not table.missing(needed):
            of_width[width] = needed
        for resolution in resolutions:
            of_resolution[resolution] |= {op for op in space.ops(resolution) if op in table}
    return of_width, of_resolution


def widths_and_resolutions(table: LatencyTable, learner: str, seed: int) -> dict[str, object]:
    """One width and one resolution held out whole, for each inner pair."""
    of_width, of_resolution = memberships(table)
    pairs = [(w, r) for w in list(of_width)[1:-1] for r in list(of_resolution)[1:-1]]
    parts = {}
    predicted, measured = [], []
    for width, resolution in pairs:
        held_out = of_width[width] | of_resolution[resolution]
        train = [op for op in table.entries if op not in held_out]
        test = [op for op in table.entries if op in held_out]
        model = CostModel(learner, seed).fit(train, _values(table, train))
        estimate = np.exp(model.predict_log(test)[0])
        parts[f"w{width} r{resolution}"] = score(estimate, _values(table, test), 1).to_dict()
        predicted.append(estimate)
        measured.append(_values(table, test))
    overall = score(np.concatenate(predicted), np.concatenate(measured), len(pairs))
    return {"all": overall.to_dict(), "pairs": parts}


def interval_coverage(table: LatencyTable, seed: int) -> dict[str, float]:
    """Share of held-out rows within the default regression's 90% interval, and its half-width."""
    of_width, of_resolution = memberships(table)
    width, resolution = list(of_width)[len(of_width) // 2], list(of_resolution)[1]
    held_out = of_width[width] | of_resolution[resolution]
    train = {op: entry for op, entry in table.entries.items() if op not in held_out}
    test = [op for op in table.entries if op in held_out]
    regression = fit_regression(LatencyTable(train, table.metadata, "training part"), seed)
    regressed = regression.predict(test, 0.9)
    truth = _values(table, test)
    inside = (regressed.low_ms <= truth) & (truth <= regressed.high_ms)
    half_width = (regressed.high_ms - regressed.low_ms) / 2 / regressed.ms
    return {
        "coverage": float(inside.mean()),
        "median_half_width": float(np.median(half_width)),
        "extrapolated": float(regressed.extrapolated.mean()),
    }


def _values(table: LatencyTable, ops: list[OpSpec]) -> np.ndarray:
    return np.array([table.entries[op].value for op in ops])


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--table", default=str(CPU_TABLE), help="table of widths and resolutions")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = LatencyTable.load(arguments.table)
    result: dict[str, object] = {"cpu_table": {"rows": len(table), **table.setting}}
    print(f"{'learner':20s} {'table':8s}   MAPE  in 5%  in 10%  Spearman")
    for learner in LEARNERS:
        started = time.perf_counter()
        phone = pixel1(learner, arguments.seed)
        cpu = widths_and_resolutions(table, learner, arguments.seed)
        for name, scores in (("pixel1", phone), ("cpu", cpu["all"])):
            print(
                f"{learner:20s} {name:8s} {scores['mape']:6.1%} {scores['within_5']:6.1%} "
                f"{scores['within_10']:7.1%} {scores['spearman']:9.4f}"
            )
        seconds = round(time.perf_counter() - started, 1)
        result[learner] = {"pixel1": phone, "cpu": cpu, "seconds": seconds}
        if learner == "gaussian-process":
            for pair, scores in cpu["pairs"].items():
                print(
                    f"    {pair:14s} n {scores['n']:4.0f} {scores['mape']:10.1%} "
                    f"{scores['within_5']:6.1%} {scores['within_10']:7.1%}"
                )
    result["interval"] = interval_coverage(table, arguments.seed)
    print("90% intervals of the default:", result["interval"])
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
