"""How well a known table and a few probes tell a new device's table: a curve over probes.

The target was measured whole, so that every prediction can be checked; only the probes are shown
to the transfer. Compared with the unadapted source and with the probes alone: `regression` is the
package's regression fitted to them (over the ops it can tell, of which `n` is the count).
Figures marked * are over the ops that were not probed.

    python benchmarks/transfer.py [--source pixel1 ...] [--target CSV] [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from proxyless_hw.predictors.device_map import log_values
from proxyless_hw.predictors.probes import choose_probes
from proxyless_hw.predictors.regression import CostModel
from proxyless_hw.predictors.scores import score, spearman
from proxyless_hw.predictors.transfer import transfer
from proxyless_hw.space.specs import OpSpec
from proxyless_hw.tables.table import LatencyTable

DATA = Path(__file__).parent / "data"
COUNTS = (3, 5, 10, 15, 30)


def curve(source: LatencyTable, target: LatencyTable) -> list[dict[str, object]]:
    """One line per number of probes."""
    ops = [op for op in source.entries if op in target]
    known = LatencyTable({op: source.entries[op] for op in ops}, source.metadata, source.name)
    truth = log_values([target.entries[op].value for op in ops])
    chosen = [ops.index(op) for op in choose_probes(known, max(COUNTS))]
    lines = []
    for count in COUNTS:
        at = np.array(chosen[:count], dtype=np.intp)
        probes = LatencyTable(
            {ops[i]: target.entries[ops[i]] for i in at}, target.metadata, "probes"
        )
        result = transfer([known], probes)
        predicted = log_values([result.table.entries[op].value for op in ops])
        rest = np.setdiff1d(np.arange(len(ops)), at)
        entries = [result.table.entries[ops[i]] for i in rest]
        inside = [
            entry.ci_low <= np.exp(truth[i]) <= entry.ci_high
            for i, entry in zip(rest, entries, strict=True)
        ]
        unprobed = score(np.exp(predicted[rest]), np.exp(truth[rest]))
        lines.append(
            {
                "probes": count,
                "transferred": spearman(predicted, truth),
                "transferred_unprobed": unprobed.spearman,
                "mape_unprobed": unprobed.mape,
                "within_10_unprobed": unprobed.within_10,
                "interval_95_coverage": float(np.mean(inside)),
                "held_out_mape": result.held_out_mape,
                **_regression(ops, truth, at, rest),
            }
        )
    return lines


def _regression(
    ops: list[OpSpec], truth: np.ndarray, at: np.ndarray, rest: np.ndarray
) -> dict[str, object]:
    model = CostModel().fit([ops[i] for i in at], np.exp(truth[at]))
    able = np.array([i for i in rest if model.can_tell(ops[i])], dtype=np.intp)
    predicted = truth.copy()
    predicted[able] = model.predict_log([ops[i] for i in able])[0]
    told = np.concatenate([at, able])
    return {
        "regression": spearman(predicted[told], truth[told]),
        "regression_n": len(told),
        "regression_mape_unprobed": score(np.exp(predicted[able]), np.exp(truth[able])).mape,
    }


def main() -> None:
    """Prints the curve of each source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--source", action="append", metavar="TABLE", help="default: pixel1, then the CPU table"
    )
    parser.add_argument("--target", default=str(DATA / "litert_224.csv"))
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    arguments = parser.parse_args()
    target = LatencyTable.load(arguments.target)
    document: dict[str, object] = {"target": target.setting}
    for name in arguments.source or ["pixel1", str(DATA / "cpu_widths.csv")]:
        source = LatencyTable.load(name)
        shared = [op for op in source.entries if op in target]
        unadapted = spearman(
            [source.entries[op].value for op in shared],
            [target.entries[op].value for op in shared],
        )
        lines = curve(source, target)
        print(f"{source.metadata['device']} -> {target.metadata['device']}")
        print(f"{len(shared)} ops; unadapted source: Spearman {unadapted:.3f}")
        print("probes  transfer  *transfer  *MAPE  *in 10%  *in 95% CI  regression (n)")
        for line in lines:
            print(
                f"{line['probes']:6d} {line['transferred']:9.3f} "
                f"{line['transferred_unprobed']:10.3f} {line['mape_unprobed']:6.1%} "
                f"{line['within_10_unprobed']:8.0%} {line['interval_95_coverage']:11.0%} "
                f"{line['regression']:11.3f} ({line['regression_n']})"
            )
        document[Path(name).stem] = {
            "ops": len(shared), "unadapted": unadapted, "curve": lines
        }  # fmt: skip
    if arguments.json:
        print(json.dumps(document))


if __name__ == "__main__":
    main()
